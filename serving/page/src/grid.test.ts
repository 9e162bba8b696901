import { expect, test } from "vitest";
import { decades, isWide, MOST_POINTS, points, powersOfTwo } from "./grid";

test("a wide range is swept in equal ratios and meets the powers of two", () => {
  const x = points(1, 32768, 61, true);
  expect(x[0]).toBe(1);
  expect(x.at(-1)).toBe(32768);
  for (let power = 0; power <= 15; power += 1) expect(x).toContain(2 ** power);
  expect(new Set(x).size).toBe(x.length);
  expect(x).toEqual([...x].sort((a, b) => a - b));
  expect(x.every(Number.isInteger)).toBe(true);
});

test("a narrow range is swept in equal steps", () => {
  expect(isWide(10, 20)).toBe(false);
  expect(points(10, 20, 6, false)).toEqual([10, 12, 14, 16, 18, 20]);
});

test("ends are asked as they were typed, for the service to judge", () => {
  expect(points(0.5, 3, 4, true)).toEqual([0.5, 1, 2, 3]);
  expect(points(0, 100, 3, true)).toEqual([0, 50, 100]);
});

test("no sweep is longer than the limit", () => {
  expect(points(1, 1e6, 10_000, true).length).toBeLessThanOrEqual(MOST_POINTS);
});

test("ticks at powers of two are thinned evenly from the top", () => {
  expect(powersOfTwo(1, 32768, 16)).toHaveLength(16);
  expect(powersOfTwo(1, 32768, 8)).toEqual([2, 8, 32, 128, 512, 2048, 8192, 32768]);
  expect(powersOfTwo(3, 20, 9)).toEqual([4, 8, 16]);
});

test("ticks of a logarithmic axis lie inside it and are few enough", () => {
  expect(decades(0.01, 10, 5)).toEqual([0.01, 0.1, 1, 10]);
  expect(decades(0.02, 0.9, 8)).toEqual([0.02, 0.05, 0.1, 0.2, 0.5]);
  for (const most of [2, 3, 5, 9]) {
    const ticks = decades(1e-4, 1e9, most);
    expect(ticks.length).toBeLessThanOrEqual(most);
    expect(ticks.every((tick) => tick >= 1e-4 && tick <= 1e9)).toBe(true);
  }
});
