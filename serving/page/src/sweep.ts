/** A quantity against one of the task's numbers, for several values of a category. */

import { h } from "./dom";
import { anyOf, field, oneOf, plain, type Field } from "./form";
import { label } from "./format";
import { isWide } from "./grid";
import { list, put } from "./link";
import { Colours, onThemeChange } from "./palette";
import { Runner, type Context, type View } from "./runner";
import { isNumeric, type Answers, type Input, type Rooflines, type Task } from "./schema";
import { sweepPlan, type Plan } from "./sweepplan";
import { sweepResult, type SweepResult } from "./sweepresult";

const POINTS = 61;

export function sweepView(context: Context): View {
  const { task, params } = context;
  const colours = new Colours();
  let fields: Controls;
  let result: SweepResult | null = null;
  const form = h("form", { class: "question", novalidate: true, "aria-label": "Sweep" });
  const results = h("section", { class: "results", "aria-label": "Sweep" });
  const runner = new Runner(context, results, () => fields.all);

  const build = (): void => {
    fields = controls(task, params);
    form.replaceChildren(...layout(fields));
  };
  build();

  async function run(focus = false): Promise<void> {
    for (const each of fields.all)
      if (each.name !== fields.range.name) put(params, key(fields, each), each.text());
    context.save();
    await runner.run<{ plan: Plan; answers: Answers; floor: Rooflines | null }>(
      async (ask) => {
        const plan = sweepPlan(task, fields);
        const [answers, floor] = await Promise.all([
          ask<Answers>(task.predict, { rows: plan.rows }),
          task.roofline ? ask<Rooflines>(task.roofline.path, { rows: plan.rows }) : null,
        ]);
        return { plan, answers, floor };
      },
      ({ plan, answers, floor }) => {
        const at = result?.at() ?? null;
        result?.close();
        result = sweepResult(task, plan, answers, floor, colours.assign(plan.names), at);
        results.replaceChildren(result.root);
        return `${plan.names.length} curves of ${plan.x.length} points drawn against ${label(plan.over.name)}.`;
      },
      focus,
    );
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void run(true);
  });
  form.addEventListener("change", (event) => {
    const changed = (event.target as HTMLElement).getAttribute("name");
    if (changed === "sweep.over" || changed === "sweep.by") {
      for (const each of fields.all)
        if (each.name !== fields.range.name) put(params, key(fields, each), each.text());
      for (const name of ["sweep.from", "sweep.to", "sweep.points"])
        if (changed === "sweep.over") params.delete(name);
      build();
      form.querySelector<HTMLElement>(`[name="${changed}"]`)?.focus();
    }
    void run();
  });
  const stopTheme = onThemeChange(() => result?.redraw());
  const root = h(
    "div",
    { class: "split" },
    form,
    h("div", {}, runner.alert, runner.spoken, results),
  );
  return {
    root,
    run,
    close: () => {
      runner.close();
      result?.close();
      stopTheme();
    },
  };
}

export interface Controls {
  readonly over: Input;
  readonly by: Input | null;
  readonly overField: Field;
  readonly byField: Field | null;
  /** Stands for the swept input: what the service says of it is said beside the range. */
  readonly range: Field;
  readonly from: Field;
  readonly to: Field;
  readonly points: Field;
  readonly compare: Field | null;
  readonly fixed: readonly Field[];
  readonly show: Field;
  readonly all: readonly Field[];
}

/** A compared input shares its name with its field, for refusals; the address keeps them apart. */
function key({ compare }: Controls, each: Field): string {
  return each === compare ? "sweep.values" : each.name;
}

function controls(task: Task, params: URLSearchParams): Controls {
  const numbers = task.inputs.filter(isNumeric);
  const categories = task.inputs.filter((input) => input.allowed);
  const chosen = (name: string, among: readonly Input[]): Input | null =>
    among.find((input) => input.name === params.get(name)) ?? among[0] ?? null;
  const over = chosen("sweep.over", numbers);
  if (!over) throw new Error(`${task.name} has no number to sweep over`);
  const by = chosen("sweep.by", categories);
  const names = (inputs: readonly Input[]): (readonly [string, string])[] =>
    inputs.map(({ name }) => [name, label(name)]);
  const overField = oneOf("sweep.over", "sweep over", names(numbers), over.name);
  const byField = by && oneOf("sweep.by", "compare", names(categories), by.name);
  const [low, high] = usualRange(over);
  const from = plain("sweep.from", "from", params.get("sweep.from") ?? String(low), over);
  const to = plain("sweep.to", "to", params.get("sweep.to") ?? String(high), over);
  const points = plain("sweep.points", "points", params.get("sweep.points") ?? String(POINTS));
  const wasBy = params.get("sweep.by") ?? by?.name;
  const values =
    by &&
    ((wasBy === by.name &&
      list(params, "sweep.values")?.filter((value) => by.allowed?.includes(value))) ||
      []);
  const compare =
    by &&
    anyOf(
      by.name,
      label(by.name),
      by.allowed ?? [],
      values && values.length > 0 ? values : usualValues(by),
    );
  const rest = task.inputs.filter((input) => input !== over && input !== by);
  const fixed = rest.map((input) =>
    field(input, params.get(input.name) ?? (input.required ? String(input.example) : ""), ""),
  );
  const wanted = list(params, "sweep.show");
  const usual = task.outputs.filter((output) => output.interval).map((output) => output.name);
  const show = anyOf(
    "sweep.show",
    "show",
    task.outputs.map(({ name }) => name),
    wanted && wanted.length > 0 ? wanted : usual,
    {
      words: (name) => label(name, task.outputs.find((output) => output.name === name)?.unit),
    },
  );
  const range = rangeField(over.name, [overField, from, to, points]);
  const all = [overField, byField, compare, ...fixed, from, to, points, range, show].filter(
    (each) => each !== null,
  );
  return { over, by, overField, byField, range, from, to, points, compare, fixed, show, all };
}

/** The fields of the range in one group, whose error is what is said of the swept input. */
function rangeField(name: string, parts: readonly Field[]): Field {
  const error = h("p", { class: "error", hidden: true });
  const root = h("div", { class: "range" }, ...parts.map((part) => part.root), error);
  return {
    name,
    root,
    read: () => null,
    text: () => "",
    fail: (reasons) => {
      error.replaceChildren(
        ...[...new Set(reasons)].map((reason) => h("span", {}, `${label(name)} ${reason}`)),
      );
      error.hidden = reasons.length === 0;
      if (reasons.length === 0) return; // the ends clear their own marks
      for (const end of parts.slice(1, 3))
        end.root.querySelector("input")?.setAttribute("aria-invalid", "true");
    },
    focus: () => parts[1]?.focus(),
  };
}

function layout({ range, byField, compare, fixed, show }: Controls): HTMLElement[] {
  return [
    ...(byField && compare ? [byField.root, compare.root] : []),
    range.root,
    h("div", { class: "pairs" }, ...fixed.map((each) => each.root)),
    show.root,
    h("button", { type: "submit" }, "Draw"),
  ];
}

/** From the smallest value to eight times the example, where that is allowed. */
function usualRange(input: Input): readonly [number, number] {
  const example = typeof input.example === "number" ? input.example : 1;
  const low = input.minimum ?? 1;
  const high = Math.max(low + 1, Math.min(input.maximum ?? Infinity, example * 8));
  return [
    isWide(low, high) && low < example / 2 ** 12
      ? 2 ** Math.floor(Math.log2(Math.max(1, example / 2 ** 12)))
      : low,
    high,
  ];
}

/** The example, and two others from the middle of the list. */
function usualValues(input: Input): readonly string[] {
  const allowed = input.allowed ?? [];
  const spread = [allowed.length >> 2, allowed.length >> 1].map((at) => allowed[at] ?? "");
  return allowed.filter((value) => value === input.example || spread.includes(value));
}
