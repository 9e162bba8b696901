import { expect, test } from "vitest";
import { concerns, hintOf, parse, type Field } from "./form";
import type { Input } from "./schema";

const m: Input = {
  name: "m",
  kind: "integer",
  unit: null,
  required: true,
  description: "rows",
  example: 1,
  default: null,
  allowed: null,
  minimum: 1,
  maximum: 9,
};

test("numbers may be typed as people write them", () => {
  expect(parse(m, " 4096 ")).toBe(4096);
  expect(parse(m, "16,384")).toBe(16384);
  expect(parse(m, "16 384")).toBe(16384);
  expect(parse(m, "1e3")).toBe(1000);
  expect(parse(m, "-1.5")).toBe(-1.5);
});

test("what is no number goes to the service as it is", () => {
  expect(parse(m, "many")).toBe("many");
  expect(parse(m, "Infinity")).toBe("Infinity");
  expect(parse(m, "0x10g")).toBe("0x10g");
  expect(parse(m, "")).toBeNull();
});

test("text stays text", () => {
  expect(parse({ ...m, kind: "text" }, " 0.24.0 ")).toBe("0.24.0");
  expect(parse({ ...m, kind: "text" }, "24")).toBe("24");
});

test("the default is told with the description", () => {
  expect(hintOf(m)).toBe("rows");
  expect(hintOf({ ...m, default: "the newest" })).toBe("rows; default: the newest");
});

test("a problem belongs to the field of its row", () => {
  const field = { name: "m", row: 1 } as Field;
  expect(concerns({ field: "m", row: 1, reason: "" }, field)).toBe(true);
  expect(concerns({ field: "m", row: 0, reason: "" }, field)).toBe(false);
  expect(concerns({ field: "m", row: null, reason: "" }, field)).toBe(true);
  expect(concerns({ field: "m", row: 7, reason: "" }, { name: "m" } as Field)).toBe(true);
  expect(concerns({ field: "n", row: 1, reason: "" }, field)).toBe(false);
});
