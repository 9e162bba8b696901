/** A recommendation shown: what fits, the Pareto plot, the ranked table, and what was left out. */

import { h, type Child } from "./dom";
import { count, exact, interval, label, number, percent, withUnit } from "./format";
import { Footnotes, numeric, status, table } from "./parts";
import { paretoPlot } from "./pareto";
import { unitOf } from "./recommend";
import { quantity, type Choice, type Recommend, type Recommendation, type Task } from "./schema";

export interface RecommendResult {
  readonly root: HTMLElement;
  redraw(): void;
  close(): void;
}

const FIRST = 10;

export function recommendResult(
  task: Task,
  recommend: Recommend,
  answer: Recommendation,
  bounds: Readonly<Record<string, unknown>>,
): RecommendResult {
  const axes = recommend.choices.map(({ input }) => input);
  const choices = merged(answer, axes);
  const words = (choice: Choice): string =>
    axes.map((axis) => String(choice[axis])).join(" \u00b7 ");
  const limitOf = (output: string): number | null => {
    const limit = recommend.limits.find((each) => each.output === output);
    const bound = limit && bounds[limit.name];
    return typeof bound === "number" ? bound : null;
  };
  const rows = new Map<Choice, HTMLTableRowElement>();
  const caption = h("p", { class: "picked" });
  const select = (choice: Choice): void => {
    for (const [each, row] of rows) row.classList.toggle("chosen", each === choice);
    plot.select(choice);
    const [x, y] = plot.axes();
    const of = (name: string): string =>
      `${withUnit(quantity(choice, name), unitOf(task, name))} (${interval(quantity(choice, `${name}_low`), quantity(choice, `${name}_high`))})`;
    caption.replaceChildren(
      h("strong", {}, `${choices.indexOf(choice) + 1}. ${words(choice)}`),
      ` ${of(x)}, ${of(y)} `,
      status(choice.status),
    );
  };
  const plot = paretoPlot({
    task,
    objectives: recommend.objectives,
    choices,
    limitOf,
    onSelect: select,
  });

  const notes = new Footnotes();
  const [first = "", ...others] = axes;
  const head = [
    "#",
    axes.map((axis) => label(axis)).join(", "),
    ...recommend.objectives.map((name) =>
      numeric(`${label(name, unitOf(task, name))} [${unitOf(task, name)}]`),
    ),
    "status",
  ];
  choices.forEach((choice, at) => {
    const pick = h(
      "button",
      { type: "button", class: "rank", "aria-label": `Show number ${at + 1} in the plot` },
      String(at + 1),
    );
    const cells = recommend.objectives.map((name) =>
      h(
        "td",
        { class: "num" },
        h("span", { class: "main" }, number(quantity(choice, name))),
        h(
          "span",
          { class: "sub" },
          interval(quantity(choice, `${name}_low`), quantity(choice, `${name}_high`)),
        ),
      ),
    );
    const row = h(
      "tr",
      { class: choice.pareto ? "front" : null },
      h("td", {}, pick),
      h(
        "td",
        {},
        h("span", { class: "main" }, String(choice[first])),
        h("span", { class: "sub" }, others.map((axis) => String(choice[axis])).join(" \u00b7 ")),
      ),
      ...cells,
      h("td", {}, status(choice.status), notes.mark(choice.reasons)),
    );
    row.addEventListener("click", () => select(choice));
    pick.addEventListener("focus", () => select(choice));
    rows.set(choice, row);
  });
  const best = choices[0];
  const ranked = rankedTable(choices, rows, head);
  const footnotes = notes.list();
  const root = h(
    "div",
    {},
    h("p", { class: "verdict" }, verdict(answer)),
    ...(best ? [plot.root, caption, ranked] : [miss(answer, task, recommend, words)]),
    best && footnotes && h("div", { class: "why" }, footnotes),
    leftOut(answer, task),
    h(
      "p",
      { class: "origin" },
      `Answered by ${answer.model}. Intervals at ${percent(answer.coverage)}; ${answer.note}.`,
    ),
  );
  if (best) select(best);
  return { root, redraw: () => plot.redraw(), close: () => plot.close() };
}

/** The ranked choices, and those of the front that the ranking was cut before. */
function merged(answer: Recommendation, axes: readonly string[]): readonly Choice[] {
  const name = (choice: Choice): string => axes.map((axis) => choice[axis]).join("\n");
  const listed = new Set(answer.choices.map(name));
  return [...answer.choices, ...answer.pareto_front.filter((choice) => !listed.has(name(choice)))];
}

function rankedTable(
  choices: readonly Choice[],
  rows: ReadonlyMap<Choice, HTMLTableRowElement>,
  head: readonly Child[],
): HTMLElement {
  const shown = table("Deployments, best first", head, [...rows.values()]);
  const frontOnly = h("input", { type: "checkbox" });
  const more = h("button", { type: "button", class: "quiet" }, `Show all ${choices.length}`);
  let all = choices.length <= FIRST;
  const refresh = (): void => {
    let visible = 0;
    for (const choice of choices) {
      const row = rows.get(choice);
      if (!row) continue;
      const wanted =
        (!frontOnly.checked || choice.pareto) && (all || frontOnly.checked || visible < FIRST);
      row.hidden = !wanted;
      if (wanted) visible += 1;
    }
    more.hidden = all || frontOnly.checked;
  };
  frontOnly.addEventListener("change", (event) => {
    event.stopPropagation();
    refresh();
  });
  more.addEventListener("click", () => {
    all = true;
    refresh();
  });
  refresh();
  return h(
    "div",
    {},
    h("label", { class: "toggle" }, frontOnly, " only the Pareto front"),
    shown,
    more,
  );
}

function verdict({ considered, feasible, pareto_front: front }: Recommendation): string {
  if (feasible === 0) return `None of ${count(considered)} deployments fits.`;
  return `${count(feasible)} of ${count(considered)} deployments fit; ${count(front.length)} of them are beaten by no other in every respect (the Pareto front).`;
}

function miss(
  answer: Recommendation,
  task: Task,
  { objectives }: Recommend,
  words: (choice: Choice) => string,
): HTMLElement {
  const near = answer.closest_miss;
  if (!near) return h("p", {}, "No deployment comes near: see below what was left out.");
  const values = objectives.map(
    (name) =>
      `${label(name, unitOf(task, name))} ${withUnit(quantity(near, name), unitOf(task, name))}`,
  );
  return h(
    "div",
    { class: "notice" },
    h("p", {}, "Closest miss: ", h("strong", {}, words(near))),
    h("p", {}, values.join(", ")),
  );
}

function leftOut({ excluded, withheld }: Recommendation, task: Task): HTMLElement | null {
  const items = excluded.map(({ constraint, limit, count: many, closest }) => {
    const output = task.outputs.find(
      ({ name }) => constraint === name || constraint === `max_${name}`,
    );
    const unit = output?.unit ?? null;
    const what = output ? label(output.name, unit) : label(constraint);
    return limit === null
      ? `${count(many)}: their ${what} is not known`
      : `${count(many)}: ${what} above ${exact(limit, unit)}; the closest has ${withUnit(closest, unit)}`;
  });
  items.push(
    ...withheld.map(({ count: many, reasons }) => `${count(many)}: ${reasons.join("; ")}`),
  );
  if (items.length === 0) return null;
  return h(
    "details",
    { class: "left" },
    h("summary", {}, "What was left out, and why"),
    h("ul", {}, ...items.map((item) => h("li", {}, item))),
  );
}
