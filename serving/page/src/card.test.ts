import { expect, test } from "vitest";
import { figure, grid, groupings, metrics } from "./card";

test("reports are read from lists of groups and from tables", () => {
  const found = metrics({
    metrics: {
      site: {
        title: "sites left out",
        quantity: "latency_ms",
        rows: [
          { group: {}, rows: 9 },
          { group: { gpu: "a" }, median_ape_percent: 2 },
        ],
      },
      power_gpu: { a: { coverage_percent: 88 } },
      odd: "text",
      empty: { rows: [] },
    },
  });
  expect(found.map(({ title }) => title)).toEqual(["sites left out", "power gpu"]);
  expect(found[0]?.rows[1]).toEqual({ group: { gpu: "a" }, numbers: { median_ape_percent: 2 } });
  expect(found[1]?.rows[0]).toEqual({ group: { gpu: "a" }, numbers: { coverage_percent: 88 } });
  expect(groupings(found)).toEqual(["", "gpu"]);
});

test("a card without reports has none", () => {
  expect(metrics({})).toEqual([]);
  expect(metrics({ metrics: 3 })).toEqual([]);
});

test("figures are named as people read them", () => {
  expect(figure("median_ape_percent")).toEqual(["median error", "%"]);
  expect(figure("latency_median_error_percent")).toEqual(["latency median error", "%"]);
  expect(figure("power_r2")).toEqual(["power R\u00b2", ""]);
  expect(figure("r2_log")).toEqual(["R\u00b2 log", ""]);
  expect(figure("shape")).toEqual(["shape", ""]);
});

test("deployments become a grid", () => {
  const rows = [
    { gpu: "b", framework: "x", dtype: "fp8" },
    { gpu: "a", framework: "x", dtype: "bf16" },
    { gpu: "a", framework: "y", dtype: "bf16" },
    { gpu: "a", framework: "y", dtype: "bf16" },
  ];
  expect(grid(rows, "gpu", "dtype", "framework")).toEqual({
    across: ["bf16", "fp8"],
    lines: [
      { name: "a", cells: [["x", "y"], []] },
      { name: "b", cells: [[], ["x"]] },
    ],
  });
});
