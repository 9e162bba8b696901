/** Scales and axes that the charts share. */

import type uPlot from "uplot";
import { number } from "./format";
import { decades, isWide, powersOfTwo } from "./grid";
import type { Ink } from "./palette";

const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";

export interface Span {
  readonly low: number;
  readonly high: number;
  readonly log: boolean;
}

/** What an axis must span to show `values`; logarithmic where they differ by large factors. */
export function span(
  values: Iterable<number | null>,
  { margin = 0.06, fromZero = false } = {},
): Span {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value === null || !Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return { low: 0, high: 1, log: false };
  if (isWide(low, high)) {
    const stretch = (high / low) ** margin;
    return { low: low / stretch, high: high * stretch, log: true };
  }
  const room = (high - low || Math.abs(high) || 1) * margin;
  return {
    low: fromZero ? 0 : Math.max(low >= 0 ? 0 : -Infinity, low - room),
    high: high + room,
    log: false,
  };
}

export function scale({ low, high, log }: Span): uPlot.Scale {
  return { time: false, auto: false, distr: log ? 3 : 1, range: () => [low, high] };
}

export interface AxisOptions {
  readonly ink: Ink;
  readonly span: Span;
  /** Ticks at powers of two, as sizes are counted. */
  readonly binary?: boolean;
  readonly title?: string;
}

export function axis(
  scaleKey: string,
  side: 2 | 3,
  { ink, span: spanned, binary, title }: AxisOptions,
): uPlot.Axis {
  const space = side === 2 ? 56 : 34;
  const base: uPlot.Axis = {
    scale: scaleKey,
    side,
    stroke: ink.muted,
    font: FONT,
    labelFont: FONT,
    space,
    grid: { stroke: ink.grid, width: 1 },
    ticks: { stroke: ink.grid, width: 1, size: 4 },
    size: side === 2 ? 30 : 58,
    gap: 6,
    values: (_, ticks) => ticks.map((tick) => tickLabel(tick, binary ?? false)),
    ...(title ? { label: title, labelSize: 20, labelGap: 0 } : {}),
  };
  if (!spanned.log) return base;
  return {
    ...base,
    filter: (_, ticks) => ticks,
    splits: (chart) => {
      const length = (side === 2 ? chart.bbox.width : chart.bbox.height) / devicePixelRatio;
      const most = Math.max(2, Math.floor(length / space));
      return (binary ? powersOfTwo : decades)(spanned.low, spanned.high, most);
    },
  };
}

/** Short and exact: 0.002, 50, 4096, 10,000. */
function tickLabel(tick: number, plain: boolean): string {
  if (plain) return String(tick);
  if (tick !== 0 && (Math.abs(tick) < 1e-3 || Math.abs(tick) >= 1e6)) {
    return tick.toExponential().replace("e+", "e");
  }
  return Number.isInteger(tick)
    ? number(tick, 6).replace(/\.0+$/, "")
    : String(Number(tick.toPrecision(6)));
}
