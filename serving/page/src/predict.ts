/** One question, and its answer with intervals, statuses and reasons. */

import { h } from "./dom";
import { field } from "./form";
import { interval, label, number, percent, statusMeaning, statusWord, withUnit } from "./format";
import { put } from "./link";
import { snippet, status } from "./parts";
import { intervalBar } from "./interval";
import { Runner, type Context, type View } from "./runner";
import {
  isNumeric,
  quantity,
  statusOf,
  type Answers,
  type Output,
  type Rooflines,
  type Row,
  type Task,
} from "./schema";

interface Answered {
  readonly row: Row;
  readonly answers: Answers;
  readonly rooflineMs: number | null;
}

export function predictView(context: Context): View {
  const { task, params } = context;
  const fields = task.inputs.map((input) => {
    const start = params.get(input.name) ?? (input.required ? String(input.example) : "");
    return field(input, start);
  });
  const results = h("section", { class: "results", "aria-label": "Answer" });
  const runner = new Runner(context, results, () => fields);
  const question = (): Record<string, unknown> => {
    const asked = fields.map((each) => [each.name, each.read()] as const);
    const needed = new Set(
      task.inputs.filter((input) => input.required).map((input) => input.name),
    );
    return Object.fromEntries(asked.filter(([name, value]) => value !== null || needed.has(name)));
  };

  async function run(focus = false): Promise<void> {
    for (const each of fields) put(params, each.name, each.text());
    context.save();
    const rows = [question()];
    await runner.run<Answered>(
      async (ask) => {
        const [answers, floor] = await Promise.all([
          ask<Answers>(task.predict, { rows }),
          task.roofline ? ask<Rooflines>(task.roofline.path, { rows }) : null,
        ]);
        const row = answers.rows[0];
        if (!row) throw new Error("the service answered no row");
        return { row, answers, rooflineMs: floor?.roofline_ms[0] ?? null };
      },
      (answered) => {
        results.replaceChildren(
          ...shown(task, answered),
          elsewhere(task.name, task.predict, question()),
        );
        return summary(task.outputs, answered.row);
      },
      focus,
    );
  }

  const numbers = fields.filter((_, at) => isNumeric(task.inputs[at]!));
  const others = fields.filter((each) => !numbers.includes(each));
  const form = h(
    "form",
    { class: "question", novalidate: true, "aria-label": "Question" },
    ...others.map((each) => each.root),
    h("div", { class: "numbers" }, ...numbers.map((each) => each.root)),
    h("button", { type: "submit" }, "Predict"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void run(true);
  });
  form.addEventListener("change", () => void run());

  const root = h(
    "div",
    { class: "split" },
    form,
    h("div", {}, runner.alert, runner.spoken, results),
  );
  return { root, run, close: () => runner.close() };
}

function shown({ outputs, roofline }: Task, answered: Answered): HTMLElement[] {
  const { row, answers, rooflineMs } = answered;
  const reach = percent(answers.coverage);
  const main = outputs.filter((output) => output.interval);
  const derived = outputs.filter((output) => !output.interval);
  const blocks = main.map((output) => {
    const value = quantity(row, output.name);
    const low = quantity(row, `${output.name}_low`);
    const high = quantity(row, `${output.name}_high`);
    const floor = output.name === roofline?.output ? rooflineMs : null;
    const ends = interval(low, high);
    return h(
      "article",
      { class: "quantity" },
      h("h2", {}, label(output.name, output.unit), status(statusOf(row, output))),
      h("p", { class: "value" }, number(value), h("span", { class: "unit" }, ` ${output.unit}`)),
      value !== null &&
        low !== null &&
        high !== null &&
        h("p", { class: "interval" }, `${reach} interval: ${ends} ${output.unit}`),
      value !== null && low !== null && high !== null
        ? intervalBar({
            value,
            low,
            high,
            floor,
            unit: output.unit,
            name: label(output.name, output.unit),
          })
        : null,
      h("p", { class: "hint" }, output.description),
    );
  });
  const drawn = main.some((output) => quantity(row, output.name) !== null);
  const facts = derived.map((output) =>
    fact(
      label(output.name, output.unit),
      withUnit(quantity(row, output.name), output.unit),
      output.description,
    ),
  );
  if (rooflineMs !== null && roofline) {
    const latency = quantity(row, roofline.output);
    const times =
      latency === null ? "" : `; the answer is ${number(latency / rooflineMs, 3)} times that`;
    facts.push(fact("roofline", withUnit(rooflineMs, "ms"), `the data sheet\u2019s limit${times}`));
  }
  return [
    h("div", { class: "quantities" }, ...blocks),
    drawn ? key(reach, rooflineMs !== null) : h("div"),
    facts.length > 0 ? h("dl", { class: "facts" }, ...facts) : h("div"),
    why(row),
    h("p", { class: "origin" }, `Answered by ${answers.model}.`),
  ];
}

function key(reach: string, roofline: boolean): HTMLElement {
  const item = (kind: string, words: string): HTMLElement =>
    h("li", {}, h("span", { class: `mark ${kind}` }), words);
  return h(
    "ul",
    { class: "key", "aria-label": "How to read the bars" },
    item("upright", "median"),
    item("band tinted", `${reach} interval`),
    roofline && item("upright dotted", "roofline"),
    h("li", {}, "scale from zero"),
  );
}

function fact(name: string, value: string, about: string): HTMLElement {
  return h(
    "div",
    {},
    h("dt", {}, name),
    h("dd", {}, h("span", { class: "value" }, value), h("span", { class: "hint" }, about)),
  );
}

function why(row: Row): HTMLElement {
  const meaning = statusMeaning(row.status);
  return h(
    "div",
    { class: "why" },
    h("p", {}, status(row.status), meaning && ` ${meaning}`),
    row.reasons.length > 0 &&
      h("ul", { class: "reasons" }, ...row.reasons.map((reason) => h("li", {}, reason))),
  );
}

function summary(outputs: readonly Output[], row: Row): string {
  const said = outputs
    .filter((output) => output.interval)
    .map(
      (output) =>
        `${label(output.name, output.unit)} ${withUnit(quantity(row, output.name), output.unit)}, ${statusWord(statusOf(row, output))}`,
    );
  return [...said, ...row.reasons].join(". ");
}

function elsewhere(task: string, path: string, row: Record<string, unknown>): HTMLElement {
  const address = new URL(path.replace(/^\//, ""), document.baseURI);
  const body = JSON.stringify({ rows: [row] }).replaceAll("'", "'\\''");
  const curl = `curl -s ${address.href} \\\n  -H 'content-type: application/json' \\\n  -d '${body}'`;
  const options = Object.entries(row).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  const python = `import perfcast\n\nperfcast.load("${task}").predict(${options.join(", ")})`;
  return h(
    "details",
    { class: "elsewhere" },
    h("summary", {}, "The same question from a terminal or from Python"),
    snippet("shell", curl),
    snippet("Python", python),
  );
}
