/** A sweep's charts, and a table that reads them at one point: by pointer, touch or keyboard. */

import { span } from "./axes";
import { freshId, h } from "./dom";
import { exact, interval, label, number, percent } from "./format";
import { lineChart, type Line } from "./linechart";
import { download, Footnotes, numeric, status, table } from "./parts";
import {
  quantity,
  statusOf,
  type Answers,
  type Output,
  type Rooflines,
  type Row,
  type Task,
} from "./schema";
import type { Plan } from "./sweepplan";

export interface SweepResult {
  readonly root: HTMLElement;
  /** The swept value that the table shows. */
  at(): number;
  redraw(): void;
  close(): void;
}

export function sweepResult(
  task: Task,
  plan: Plan,
  answers: Answers,
  floors: Rooflines | null,
  colours: ReadonlyMap<string, number>,
  start: number | null,
): SweepResult {
  const { over, x, names } = plan;
  const outputs = task.outputs.filter((output) => plan.show.includes(output.name));
  const rowsOf = (curve: number): readonly Row[] =>
    answers.rows.slice(curve * x.length, (curve + 1) * x.length);
  const floorOf = (curve: number, output: Output): readonly (number | null)[] | null =>
    floors && task.roofline?.output === output.name
      ? floors.roofline_ms.slice(curve * x.length, (curve + 1) * x.length)
      : null;
  const lines = (output: Output): Line[] =>
    names.map((name, curve) => {
      const rows = rowsOf(curve);
      const ends = (end: string) =>
        output.interval ? rows.map((row) => quantity(row, `${output.name}_${end}`)) : null;
      return {
        name,
        colour: colours.get(name) ?? 0,
        value: rows.map((row) => quantity(row, output.name)),
        low: ends("low"),
        high: ends("high"),
        solid: rows.map((row) => statusOf(row, output) === "in_domain"),
        floor: floorOf(curve, output),
      };
    });

  let now = start === null ? Math.round((x.length - 1) * 0.6) : nearest(x, start);
  const xLabel = over.unit ? `${label(over.name)} [${over.unit}]` : label(over.name);
  const charts = outputs.map((output) =>
    lineChart({
      title: label(output.name, output.unit),
      unit: output.unit,
      x,
      xLabel,
      xSpan: span(x, { margin: 0 }),
      binary: over.kind === "integer",
      lines: lines(output),
      onPoint: (at) => go(at),
    }),
  );

  const id = freshId("point");
  const slider = h("input", { type: "range", id, min: 0, max: x.length - 1, step: 1 });
  const reading = h("span");
  const readout = h("div");
  slider.addEventListener("input", () => go(Number(slider.value)));

  const show = (): void => {
    slider.value = String(now);
    const words = exact(x[now] ?? null, over.unit);
    slider.setAttribute("aria-valuetext", `${label(over.name)} ${words}`);
    reading.textContent = words;
    const head = [
      label(plan.names[0] === "" ? "" : "curve"),
      ...outputs.map((output) => numeric(`${label(output.name, output.unit)} [${output.unit}]`)),
    ];
    const body = names.map((name, curve) => {
      const row = rowsOf(curve)[now];
      const cells = outputs.map((output) =>
        h(
          "td",
          { class: "num" },
          ...(row ? cell(row, output, floorOf(curve, output)?.[now] ?? null) : []),
        ),
      );
      const swatch = h("span", { class: `swatch line-${(colours.get(name) ?? 0) % 10}` });
      return h("tr", {}, h("th", { scope: "row" }, swatch, name || task.name), ...cells);
    });
    readout.replaceChildren(table("Values at the cursor", head, body));
  };
  function go(at: number): void {
    if (at === now) return;
    now = at;
    for (const chart of charts) chart.point(at);
    show();
  }
  show();
  for (const chart of charts) chart.point(now);

  const notes = new Footnotes();
  const why = names.map((name, curve) => {
    const reasons = [...new Set(rowsOf(curve).flatMap((row) => row.reasons))];
    return reasons.length > 0 ? h("li", {}, name || task.name, notes.mark(reasons)) : null;
  });
  const list = notes.list();
  const root = h(
    "div",
    {},
    key(
      percent(answers.coverage),
      floors !== null && outputs.some((output) => output.name === task.roofline?.output),
    ),
    h("div", { class: "charts" }, ...charts.map((chart) => chart.root)),
    h(
      "div",
      { class: "cursor" },
      h("label", { for: id }, `${label(over.name)} = `, reading),
      slider,
    ),
    readout,
    list &&
      h(
        "div",
        { class: "why" },
        h("p", {}, "Beyond what was measured, at least in part:"),
        h("ul", { class: "marked" }, ...why),
        list,
      ),
    h(
      "p",
      { class: "origin" },
      `Answered by ${answers.model}. `,
      download("Save as CSV", `${task.name}-sweep.csv`, () => csv(plan, answers)),
    ),
  );
  return {
    root,
    at: () => x[now] ?? 0,
    redraw: () => charts.forEach((chart) => chart.redraw()),
    close: () => charts.forEach((chart) => chart.close()),
  };
}

function cell(row: Row, output: Output, floor: number | null): (HTMLElement | null)[] {
  const value = quantity(row, output.name);
  const state = statusOf(row, output);
  const ends = interval(quantity(row, `${output.name}_low`), quantity(row, `${output.name}_high`));
  return [
    h("span", { class: "main" }, number(value)),
    output.interval && value !== null ? h("span", { class: "sub" }, ends) : null,
    floor === null ? null : h("span", { class: "sub" }, `roofline ${number(floor, 3)}`),
    state === "in_domain" || !output.interval ? null : status(state),
  ];
}

function key(reach: string, roofline: boolean): HTMLElement {
  const item = (kind: string, words: string): HTMLElement =>
    h("li", {}, h("span", { class: `mark ${kind}` }), words);
  return h(
    "ul",
    { class: "key", "aria-label": "How to read the lines" },
    item("solid", "in domain"),
    item("dashed", "extrapolated"),
    item("band", `${reach} interval`),
    roofline && item("dotted", "roofline (data sheet)"),
  );
}

function nearest(x: readonly number[], value: number): number {
  let best = 0;
  x.forEach((each, at) => {
    if (Math.abs(each - value) < Math.abs((x[best] ?? Infinity) - value)) best = at;
  });
  return best;
}

function csv({ rows }: Plan, answers: Answers): string {
  const records = rows.map((row, at) => ({ ...row, ...answers.rows[at] }));
  const columns = Object.keys(records[0] ?? {});
  const quoted = (value: unknown): string => {
    const text = Array.isArray(value)
      ? value.join("; ")
      : value === null || value === undefined
        ? ""
        : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = records.map((record) =>
    columns.map((column) => quoted((record as Record<string, unknown>)[column])).join(","),
  );
  return [columns.join(","), ...lines, ""].join("\n");
}
