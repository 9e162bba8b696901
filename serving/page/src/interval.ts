/** One interval drawn to scale: its band, the median, and the data sheet's limit beside it. */

import { svg } from "./dom";
import { withUnit } from "./format";

interface Drawn {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly floor: number | null;
}

const WIDTH = 400;

export function intervalBar({ name, unit, value, low, high, floor }: Drawn): SVGElement {
  const top = Math.max(high, value) * 1.08;
  const at = (quantity: number): number => (Math.max(0, quantity) / top) * WIDTH;
  const words = [
    `${name} ${withUnit(value, unit)}`,
    `from ${withUnit(low, unit)} to ${withUnit(high, unit)}`,
  ];
  if (floor !== null) words.push(`data sheet limit ${withUnit(floor, unit)}`);
  return svg(
    "svg",
    {
      class: "bar",
      viewBox: `0 0 ${WIDTH} 22`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": words.join(", "),
    },
    svg("rect", { class: "track", x: 0, y: 9, width: WIDTH, height: 4, rx: 2 }),
    svg("rect", {
      class: "band",
      x: at(low),
      y: 5,
      width: Math.max(2, at(high) - at(low)),
      height: 12,
      rx: 2,
    }),
    floor !== null && svg("line", { class: "floor", x1: at(floor), x2: at(floor), y1: 0, y2: 22 }),
    svg("line", { class: "median", x1: at(value), x2: at(value), y1: 2, y2: 20 }),
  );
}
