import { expect, test } from "vitest";
import type { Field } from "./form";
import { Unasked } from "./runner";
import type { Input, Task } from "./schema";
import type { Controls } from "./sweep";
import { sweepPlan } from "./sweepplan";

const input = (name: string, more: Partial<Input> = {}): Input => ({
  name,
  kind: "integer",
  unit: null,
  required: true,
  description: "",
  example: 1,
  default: null,
  allowed: null,
  minimum: 1,
  maximum: 99,
  ...more,
});

const [nodes, depth] = [input("nodes"), input("depth")];
const chip = input("chip", { kind: "category", allowed: ["a", "b"], example: "a" });
const note = input("note", { kind: "text", required: false });
const task: Task = {
  name: "other",
  title: "",
  inputs: [chip, nodes, depth, note],
  outputs: [{ name: "time_s", unit: "s", description: "", interval: true, derived_from: [] }],
  predict: "/v1/other/predict",
  roofline: null,
  recommend: null,
};

const holding = (name: string, value: unknown): Field => ({
  name,
  root: {} as HTMLElement,
  read: () => value,
  text: () => String(value),
  fail: () => {},
  focus: () => {},
});

function controls(
  more: Partial<Record<"from" | "to" | "points" | "chips" | "show", unknown>> = {},
): Controls {
  const given = { from: 10, to: 20, points: 3, chips: ["a", "b"], show: ["time_s"], ...more };
  const made = {
    from: holding("sweep.from", given.from),
    to: holding("sweep.to", given.to),
    points: holding("sweep.points", given.points),
    compare: holding("chip", given.chips),
    show: holding("sweep.show", given.show),
    fixed: [holding("depth", 4), holding("note", null)],
    range: holding("nodes", null),
    overField: holding("sweep.over", "nodes"),
    byField: holding("sweep.by", "chip"),
  };
  return { ...made, over: nodes, by: chip, all: [] };
}

const faults = (given: Controls): string[] => {
  try {
    sweepPlan(task, given);
  } catch (error) {
    if (error instanceof Unasked) return error.problems.map(({ field }) => field);
    throw error;
  }
  return [];
};

test("any task is swept: curve by curve, absent values left out", () => {
  const plan = sweepPlan(task, controls());
  expect(plan.x).toEqual([10, 15, 20]);
  expect(plan.names).toEqual(["a", "b"]);
  expect(plan.rows).toHaveLength(6);
  expect(plan.rows[4]).toEqual({ chip: "b", nodes: 15, depth: 4 });
});

test("without a category there is one curve", () => {
  const plan = sweepPlan(task, { ...controls(), by: null, byField: null, compare: null });
  expect(plan.names).toEqual([""]);
  expect(plan.rows[0]).toEqual({ nodes: 10, depth: 4 });
});

test("what cannot be asked is said beside its field", () => {
  expect(faults(controls({ from: "x" }))).toEqual(["sweep.from"]);
  expect(faults(controls({ to: 10 }))).toEqual(["sweep.to"]);
  expect(faults(controls({ points: 1 }))).toEqual(["sweep.points"]);
  expect(faults(controls({ points: 2.5 }))).toEqual(["sweep.points"]);
  expect(faults(controls({ chips: [], show: [] }))).toEqual(["chip", "sweep.show"]);
  expect(faults(controls({ points: 400, chips: Array.from({ length: 11 }, String) }))).toEqual([
    "sweep.points",
  ]);
});
