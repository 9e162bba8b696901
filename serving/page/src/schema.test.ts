import { expect, test } from "vitest";
import { statusOf, type Output, type Row } from "./schema";

const output = (name: string, from: readonly string[] = []): Output => ({
  name,
  unit: "",
  description: "",
  interval: from.length === 0,
  derived_from: from,
});

const row: Row = {
  status: "extrapolated",
  reasons: [],
  time_s_status: "in_domain",
  power_w_status: "extrapolated",
};

test("a quantity has its own status", () => {
  expect(statusOf(row, output("time_s"))).toBe("in_domain");
  expect(statusOf(row, output("power_w"))).toBe("extrapolated");
});

test("a derived quantity is worth the worst that it comes from", () => {
  expect(statusOf(row, output("rate", ["time_s"]))).toBe("in_domain");
  expect(statusOf(row, output("energy", ["time_s", "power_w"]))).toBe("extrapolated");
});

test("without statuses of its own a quantity has the row's", () => {
  expect(statusOf({ status: "out_of_domain", reasons: [] }, output("time_s"))).toBe(
    "out_of_domain",
  );
});
