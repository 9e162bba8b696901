/** Which deployment to run some shapes on: constraints in, Pareto plot and ranked table out. */

import { h } from "./dom";
import { anyOf, oneOf, plain, type Field } from "./form";
import { label } from "./format";
import { list, put } from "./link";
import { onThemeChange } from "./palette";
import { recommendResult, type RecommendResult } from "./recommendresult";
import { Runner, type Context, type View } from "./runner";
import type { Recommend, Recommendation, Task } from "./schema";
import { shapesEditor } from "./shapes";

const PREFIX = "recommend.";
const MOST_CHOICES = 1_000;

export function recommendView(context: Context, recommend: Recommend): View {
  const { task, params } = context;
  const form = h("form", { class: "question", novalidate: true, "aria-label": "Recommendation" });
  const results = h("section", { class: "results", "aria-label": "Recommendation" });
  const shapes = shapesEditor(recommend.shape, params.get(`${PREFIX}shapes`), () => void run());
  const choices = recommend.choices.map(({ name, input }) => {
    const allowed = task.inputs.find((each) => each.name === input)?.allowed ?? [];
    return anyOf(name, label(name), allowed, list(params, PREFIX + name) ?? [], {
      hint: "none ticked: all",
    });
  });
  const limits = recommend.limits.map(({ name, output }) => {
    const unit = unitOf(task, output);
    return plain(name, `max ${label(output, unit)}`, params.get(PREFIX + name) ?? "", {
      unit,
      required: false,
    });
  });
  const objective = oneOf(
    "objective",
    "best by",
    recommend.objectives.map((name) => [name, label(name, unitOf(task, name))] as const),
    params.get(`${PREFIX}objective`) ?? recommend.objectives[0] ?? "",
  );
  const others: readonly Field[] = [objective, ...limits, ...choices];
  const fields = (): readonly Field[] => [...shapes.fields(), ...others];
  const runner = new Runner(context, results, fields);
  let result: RecommendResult | null = null;

  async function run(focus = false): Promise<void> {
    put(params, `${PREFIX}shapes`, shapes.text());
    for (const each of others) put(params, PREFIX + each.name, each.text());
    context.save();
    const bounds = limits
      .map((each) => [each.name, each.read()] as const)
      .filter(([, bound]) => bound !== null);
    const picked = choices
      .map((each) => [each.name, each.read() as string[]] as const)
      .filter(([, values]) => values.length > 0);
    const asked = {
      shapes: shapes.read(),
      ...Object.fromEntries(picked),
      ...Object.fromEntries(bounds),
      objective: objective.read(),
      limit: MOST_CHOICES,
    };
    await runner.run<Recommendation>(
      (ask) => ask(recommend.path, asked),
      (answer) => {
        result?.close();
        result = recommendResult(task, recommend, answer, Object.fromEntries(bounds));
        results.replaceChildren(result.root);
        return `${answer.feasible} of ${answer.considered} deployments fit, ${answer.pareto_front.length} on the Pareto front.`;
      },
      focus,
    );
  }

  form.append(
    shapes.root,
    h("div", { class: "pairs" }, objective.root, ...limits.map((each) => each.root)),
    ...choices.map((each) => each.root),
    h("button", { type: "submit" }, "Recommend"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void run(true);
  });
  form.addEventListener("change", () => void run());
  const stopTheme = onThemeChange(() => result?.redraw());
  return {
    root: h("div", { class: "split" }, form, h("div", {}, runner.alert, runner.spoken, results)),
    run,
    close: () => {
      runner.close();
      result?.close();
      stopTheme();
    },
  };
}

export function unitOf(task: Task, output: string): string {
  return task.outputs.find(({ name }) => name === output)?.unit ?? "";
}
