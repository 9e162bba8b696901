/** Lines with interval bands over one axis; several charts share a cursor. */

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { axis, scale, span, type Span } from "./axes";
import { h } from "./dom";
import { faded, ink } from "./palette";

type Values = readonly (number | null)[];

export interface Line {
  readonly name: string;
  readonly colour: number;
  readonly value: Values;
  readonly low: Values | null;
  readonly high: Values | null;
  /** Where the answer is in domain: drawn solid; elsewhere dashed. */
  readonly solid: readonly boolean[];
  /** What the data sheet alone says. */
  readonly floor: Values | null;
}

export interface LineChart {
  readonly root: HTMLElement;
  /** Moves the cursor to point `at`. */
  point(at: number): void;
  redraw(): void;
  close(): void;
}

export interface LineChartOptions {
  readonly title: string;
  readonly unit: string;
  readonly x: readonly number[];
  readonly xLabel: string;
  readonly xSpan: Span;
  /** x is counted in whole numbers: ticks at powers of two. */
  readonly binary: boolean;
  readonly lines: readonly Line[];
  readonly onPoint: (at: number) => void;
}

export function lineChart(options: LineChartOptions): LineChart {
  const holder = h("div", { class: "plot" });
  const heading = h(
    "figcaption",
    {},
    options.title,
    h("span", { class: "unit" }, ` ${options.unit}`),
  );
  const root = h("figure", { class: "chart" }, heading, holder);
  let chart: uPlot | null = null;
  let last = -1;

  const draw = (): void => {
    chart?.destroy();
    const onReady = (made: uPlot): void => move(made, options.x, last);
    chart = new uPlot(describe(options, holder, onReady), columns(options), holder);
  };
  const observer = new ResizeObserver(() => {
    if (!chart && holder.clientWidth > 0) draw();
    else if (chart) resize(chart, options.x, last);
  });
  observer.observe(holder);
  return {
    root,
    point: (at) => {
      last = at;
      if (chart) move(chart, options.x, at);
    },
    redraw: () => chart && draw(),
    close: () => {
      observer.disconnect();
      chart?.destroy();
    },
  };
}

function resize(chart: uPlot, x: readonly number[], at: number): void {
  chart.setSize(size(chart.root.parentElement ?? chart.root));
  move(chart, x, at);
}

export function size(holder: HTMLElement): { width: number; height: number } {
  const width = holder.clientWidth;
  return { width, height: Math.round(Math.min(340, Math.max(220, width * 0.5))) };
}

function move(chart: uPlot, x: readonly number[], at: number): void {
  const value = x[at];
  if (value === undefined) return;
  chart.setCursor(
    { left: chart.valToPos(value, "x"), top: chart.bbox.height / devicePixelRatio / 2 },
    false,
  );
}

function columns({ x, lines }: LineChartOptions): uPlot.AlignedData {
  const all: Values[] = [x];
  for (const { value, low, high, solid, floor } of lines) {
    const absent = value.map(() => null);
    const sure = value.map((each, at) => (solid[at] ? each : null));
    // A dashed stretch begins and ends on the solid points beside it, so that the line has no gap.
    const unsure = value.map((each, at) =>
      !solid[at] || solid[at - 1] === false || solid[at + 1] === false ? each : null,
    );
    all.push(high ?? absent, low ?? absent, sure, unsure, floor ?? absent);
  }
  return all as uPlot.AlignedData;
}

function describe(
  options: LineChartOptions,
  holder: HTMLElement,
  onReady: (chart: uPlot) => void,
): uPlot.Options {
  const { onPoint } = options;
  const colours = ink();
  const ySpan = span(
    options.lines.flatMap(({ value, low, high, floor }) => [
      ...value,
      ...(low ?? []),
      ...(high ?? []),
      ...(floor ?? []),
    ]),
    { fromZero: true },
  );
  const series: uPlot.Series[] = [{}];
  const bands: uPlot.Band[] = [];
  const bare = { points: { show: false }, spanGaps: false };
  for (const line of options.lines) {
    const stroke = colours.line(line.colour);
    bands.push({ series: [series.length, series.length + 1], fill: faded(stroke, 0.15) });
    series.push(
      { ...bare, scale: "y" },
      { ...bare, scale: "y" },
      { ...bare, scale: "y", label: line.name, stroke, width: 2 },
      { ...bare, scale: "y", label: line.name, stroke, width: 2, dash: [7, 4] },
      { ...bare, scale: "y", label: `${line.name} roofline`, stroke, width: 1.25, dash: [1.5, 3] },
    );
  }
  return {
    ...size(holder),
    series,
    bands,
    legend: { show: false },
    cursor: {
      y: false,
      drag: { x: false, y: false },
      bind: { mouseleave: () => () => null }, // the cursor stays where the table reads
      points: { size: 7 },
      focus: { prox: -1 },
    },
    scales: { x: scale(options.xSpan), y: scale(ySpan) },
    axes: [
      axis("x", 2, {
        ink: colours,
        span: options.xSpan,
        binary: options.binary,
        title: options.xLabel,
      }),
      axis("y", 3, { ink: colours, span: ySpan }),
    ],
    padding: [10, 26, 0, 0],
    hooks: {
      ready: [onReady],
      setCursor: [
        (chart) => {
          const at = chart.cursor.idx;
          // only the reader's own hand: charts that follow along move without an event
          if (chart.cursor.event && at !== null && at !== undefined) onPoint(at);
        },
      ],
    },
  };
}
