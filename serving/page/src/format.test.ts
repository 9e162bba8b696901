import { expect, test } from "vitest";
import { exact, interval, label, number, percent, statusWord, withUnit } from "./format";

test("numbers carry four significant digits and grouped thousands", () => {
  expect(number(0.257018)).toBe("0.2570");
  expect(number(651.9104)).toBe("651.9");
  expect(number(1069.489)).toBe("1,069");
  expect(number(12345678)).toBe("12,345,678");
  expect(number(0)).toBe("0");
  expect(number(-2.5, 2)).toBe("\u22122.5");
});

test("very small and very large numbers get an exponent", () => {
  expect(number(0.00001234)).toBe("1.234e\u22125");
  expect(number(1.5e12, 2)).toBe("1.5e12");
});

test("what is withheld is a dash, without a unit", () => {
  expect(number(null)).toBe("\u2013");
  expect(number(Number.NaN)).toBe("\u2013");
  expect(withUnit(null, "ms")).toBe("\u2013");
  expect(withUnit(1.5, "ms")).toBe("1.500\u202fms");
  expect(interval(null, 3)).toBe("\u2013");
  expect(interval(0.2474717, 0.2682346)).toBe("0.247 to 0.268");
});

test("chosen numbers are shown as they were chosen", () => {
  expect(exact(0.001, "ms")).toBe("0.001\u202fms");
  expect(exact(32768, null)).toBe("32,768");
  expect(exact(null, "ms")).toBe("\u2013");
});

test("percentages lose idle zeros", () => {
  expect(percent(0.9)).toBe("90\u202f%");
  expect(percent(0.955)).toBe("95.5\u202f%");
});

test("a name drops the unit that stands beside the number", () => {
  expect(label("latency_ms", "ms")).toBe("latency");
  expect(label("energy_mj", "mJ")).toBe("energy");
  expect(label("tflops", "TFLOP/s")).toBe("tflops");
  expect(label("framework_version")).toBe("framework version");
});

test("an unknown status is still legible", () => {
  expect(statusWord("in_domain")).toBe("in domain");
  expect(statusWord("brand_new")).toBe("brand new");
});
