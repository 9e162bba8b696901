/** Deployments as points between two objectives; the chosen one with its intervals. */

import uPlot from "uplot";
import { axis, scale, span } from "./axes";
import { h } from "./dom";
import { oneOf } from "./form";
import { label } from "./format";
import { size } from "./linechart";
import { paint } from "./paretopaint";
import { ink } from "./palette";
import { quantity, type Choice, type Task } from "./schema";

export interface ParetoPlot {
  readonly root: HTMLElement;
  axes(): readonly [string, string];
  select(choice: Choice): void;
  redraw(): void;
  close(): void;
}

export interface ParetoOptions {
  readonly task: Task;
  readonly objectives: readonly string[];
  readonly choices: readonly Choice[];
  readonly limitOf: (output: string) => number | null;
  readonly onSelect: (choice: Choice) => void;
}

const NEAR = 24; // CSS pixels within which a pointer finds a point

export function paretoPlot({
  task,
  objectives,
  choices,
  limitOf,
  onSelect,
}: ParetoOptions): ParetoPlot {
  const named = objectives.map((name) => {
    const unit = task.outputs.find((output) => output.name === name)?.unit ?? "";
    return [name, `${label(name, unit)} [${unit}]`] as const;
  });
  const across = oneOf("pareto.x", "across", named, objectives[0] ?? "");
  const upward = oneOf("pareto.y", "upward", named, objectives[1] ?? objectives[0] ?? "");
  const holder = h("div", { class: "plot" });
  const key = h(
    "ul",
    { class: "key", "aria-label": "How to read the points" },
    h("li", {}, h("span", { class: "mark front" }), "Pareto front"),
    h("li", {}, h("span", { class: "mark hollow" }), "extrapolated"),
    h("li", {}, h("span", { class: "mark other" }), "beaten by another"),
  );
  const root = h(
    "figure",
    { class: "chart pareto" },
    h("figcaption", {}, h("div", { class: "axes" }, across.root, upward.root)),
    key,
    holder,
  );
  let chart: uPlot | null = null;
  let chosen: Choice | null = null;

  const draw = (): void => {
    chart?.destroy();
    const [x, y] = [across.text(), upward.text()];
    const values = (name: string): (number | null)[] => [
      ...choices.map((choice) => quantity(choice, name)),
      limitOf(name),
    ];
    const spans = { x: span(values(x), { margin: 0.08 }), y: span(values(y), { margin: 0.08 }) };
    const colours = ink();
    const known = choices.filter(
      (choice) => quantity(choice, x) !== null && quantity(choice, y) !== null,
    );
    const none: uPlot.Series = {
      scale: "y",
      show: true,
      paths: () => null,
      points: { show: false },
    };
    const options: uPlot.Options = {
      ...size(holder),
      series: [{}, none],
      legend: { show: false },
      cursor: { show: false },
      scales: { x: scale(spans.x), y: scale(spans.y) },
      axes: [
        axis("x", 2, {
          ink: colours,
          span: spans.x,
          title: named.find(([name]) => name === x)?.[1] ?? x,
        }),
        axis("y", 3, { ink: colours, span: spans.y }),
      ],
      padding: [12, 16, 0, 0],
      hooks: {
        draw: [
          (made) => paint(made, colours, known, [x, y], [limitOf(x), limitOf(y)], chosen, choices),
        ],
      },
    };
    chart = new uPlot(
      options,
      [
        [spans.x.low, spans.x.high],
        [spans.y.low, spans.y.high],
      ],
      holder,
    );
    chart.over.addEventListener("mousemove", (event) => found(event, known, x, y));
    chart.over.addEventListener("click", (event) => found(event, known, x, y));
  };
  const found = (event: MouseEvent, known: readonly Choice[], x: string, y: string): void => {
    if (!chart) return;
    const box = chart.over.getBoundingClientRect();
    const distance = (choice: Choice): number =>
      Math.hypot(
        (chart?.valToPos(quantity(choice, x) ?? NaN, "x") ?? NaN) - (event.clientX - box.left),
        (chart?.valToPos(quantity(choice, y) ?? NaN, "y") ?? NaN) - (event.clientY - box.top),
      );
    const near = known
      .map((choice) => [distance(choice), choice] as const)
      .filter(([far]) => far < NEAR);
    const closest = near.sort(([a], [b]) => a - b)[0]?.[1];
    if (closest && closest !== chosen) onSelect(closest);
  };
  const rebuild = (event: Event): void => {
    event.stopPropagation();
    draw();
    if (chosen) onSelect(chosen);
  };
  across.root.addEventListener("change", rebuild);
  upward.root.addEventListener("change", rebuild);
  const observer = new ResizeObserver(() =>
    chart ? chart.setSize(size(holder)) : holder.clientWidth > 0 && draw(),
  );
  observer.observe(holder);
  return {
    root,
    axes: () => [across.text(), upward.text()],
    select: (choice) => {
      chosen = choice;
      chart?.redraw(false);
    },
    redraw: () => chart && draw(),
    close: () => {
      observer.disconnect();
      chart?.destroy();
    },
  };
}
