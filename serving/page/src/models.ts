/** The model card: how accurate, on what, measured how, trained on which data. */

import { figure, grid, grouping, groupings, isTable, metrics, tables, type Metric } from "./card";
import { h } from "./dom";
import { oneOf } from "./form";
import { count, label, number, percent } from "./format";
import { put } from "./link";
import { numeric, table } from "./parts";
import { Runner, type Context, type View } from "./runner";
import type { Task } from "./schema";

type Card = Readonly<Record<string, unknown>>;

export function modelsView(context: Context): View {
  const results = h("section", { class: "results card", "aria-label": "Model card" });
  const runner = new Runner(context, results, () => []);
  async function run(): Promise<void> {
    context.save();
    await runner.run<Card>(
      (ask) => ask(`/v1/models/${encodeURIComponent(context.task.name)}`),
      (card) => {
        results.replaceChildren(...sections(card, context));
        return "";
      },
      false,
    );
  }
  return {
    root: h("div", {}, runner.alert, runner.spoken, results),
    run,
    close: () => runner.close(),
  };
}

function sections(card: Card, context: Context): (HTMLElement | string)[] {
  const { task } = context;
  const created = typeof card["created"] === "string" ? new Date(card["created"]) : null;
  const born =
    created && !Number.isNaN(created.getTime())
      ? created.toLocaleDateString("en", { dateStyle: "long" })
      : "";
  const coverage =
    typeof card["coverage"] === "number" ? `intervals at ${percent(card["coverage"])}` : "";
  const parts = [
    h("h2", { class: "version" }, `${task.name}@${String(card["version"] ?? "")}`),
    h(
      "p",
      { class: "hint" },
      [born && `Trained ${born}`, coverage].filter(Boolean).join("; "),
      ".",
    ),
    summary(card["summary"]),
    accuracy(metrics(card), context),
    deployments(card, task),
    reasons(card["reasons"]),
    origin(card),
  ];
  return parts.filter((part) => part !== null);
}

function summary(value: unknown): HTMLElement | null {
  if (!isTable(value)) return null;
  const tiles = Object.entries(value).filter(
    (entry): entry is [string, number] => typeof entry[1] === "number",
  );
  if (tiles.length === 0) return null;
  return h(
    "dl",
    { class: "tiles" },
    ...tiles.map(([name, value]) => {
      const [words, unit] = figure(name);
      return h(
        "div",
        {},
        h("dt", {}, words),
        h("dd", {}, shown(value), h("span", { class: "unit" }, unit && ` ${unit}`)),
      );
    }),
  );
}

function accuracy(reports: readonly Metric[], { params, save, task }: Context): HTMLElement | null {
  if (reports.length === 0) return null;
  const ways = groupings(reports);
  const start =
    params.get("models.group") ??
    ways.find((way) => way !== "" && !way.includes(",")) ??
    ways[0] ??
    "";
  const pick = oneOf(
    "models.group",
    "by",
    ways.map((way) => [way, way || "everything together"] as const),
    start,
  );
  const holder = h("div");
  const fill = (): void => {
    const made = reports.map((report) =>
      report.rows.filter(({ group }) => grouping(group) === pick.text()),
    );
    const shownTables = reports.flatMap((report, at) =>
      made[at]?.length ? [errors({ ...report, rows: made[at] }, task)] : [],
    );
    holder.replaceChildren(...shownTables);
  };
  pick.root.addEventListener("change", () => {
    put(params, "models.group", pick.text());
    save();
    fill();
  });
  fill();
  return h(
    "section",
    {},
    h("h2", {}, "Accuracy"),
    h(
      "p",
      { class: "hint" },
      "Absolute error of predictions for what was left out of training; coverage: how often the interval held the measured value.",
    ),
    pick.root,
    holder,
  );
}

function errors({ title, quantity, rows }: Metric, task: Task): HTMLElement {
  const groups = Object.keys(rows[0]?.group ?? {});
  const names = [...new Set(rows.flatMap((row) => Object.keys(row.numbers)))];
  const order = [
    ...names.filter((name) => name.endsWith("_percent")),
    ...names.filter((name) => !name.endsWith("_percent")),
  ];
  const head = [
    ...groups.map((name) => label(name)),
    ...order.map((name) => numeric(figure(name).join(" ").trim())),
  ];
  const body = rows.map((row) =>
    h(
      "tr",
      {},
      ...groups.map((name) => h("th", { scope: "row" }, row.group[name] ?? "")),
      ...order.map((name) => h("td", { class: "num" }, aligned(name, row.numbers[name]))),
    ),
  );
  const unit = task.outputs.find(({ name }) => name === quantity)?.unit ?? null;
  return table(quantity ? `${label(quantity, unit)}: ${title}` : title, head, body);
}

function deployments(card: Card, task: Task): HTMLElement | null {
  const measured = tables(card["deployments"]);
  const keys = task.inputs
    .filter((input) => input.allowed && measured.some((each) => input.name in each))
    .map(({ name }) => name);
  const [down, inside] = keys;
  const along = keys.at(-1);
  if (!down || !along || down === along) return null;
  const { across, lines } = grid(measured, down, along, inside === along ? null : (inside ?? null));
  const body = lines.map(({ name, cells }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, name),
      ...cells.map((values) =>
        h("td", { class: values.length > 0 ? "yes" : "no" }, values.join(", ") || "\u2013"),
      ),
    ),
  );
  const estimated = tables(card["estimated_deployments"]).length;
  return h(
    "section",
    {},
    h("h2", {}, "What was measured"),
    h(
      "p",
      { class: "hint" },
      `${count(measured.length)} deployments`,
      estimated > 0 && `; ${count(estimated)} more are estimated from them`,
      ".",
    ),
    table(`${label(down)} by ${label(along)}`, [label(down), ...across], body),
  );
}

function reasons(value: unknown): HTMLElement | null {
  if (!Array.isArray(value) || value.length === 0) return null;
  return h(
    "section",
    {},
    h("h2", {}, "Reasons it may give"),
    h("ul", { class: "reasons" }, ...value.map((reason) => h("li", {}, String(reason)))),
  );
}

function origin(card: Card): HTMLElement | null {
  const facts = ["data", "method", "parity"].flatMap((part) =>
    isTable(card[part]) ? [[part, card[part]] as const] : [],
  );
  if (typeof card["model_sha256"] === "string")
    facts.push(["file", { sha256: card["model_sha256"] }]);
  if (facts.length === 0) return null;
  return h(
    "section",
    {},
    h("h2", {}, "Data and method"),
    ...facts.map(([name, values]) => h("div", {}, h("h3", {}, name), listing(values))),
  );
}

function listing(values: Card): HTMLElement {
  const items = Object.entries(values).flatMap(([name, value]) => {
    const text = isTable(value)
      ? Object.entries(value)
          .map(([key, each]) => `${key} ${String(each)}`)
          .join(", ")
      : typeof value === "number"
        ? shown(value)
        : String(value);
    return [h("dt", {}, label(name)), h("dd", {}, text)];
  });
  return h("dl", { class: "listing" }, ...items);
}

/** A figure among others of its kind: as many decimals in every row. */
function aligned(name: string, value: number | undefined): string {
  if (value === undefined) return "\u2013";
  const decimals = name.endsWith("_percent") ? 1 : Number.isInteger(value) ? 0 : 3;
  return value.toLocaleString("en", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
}

/** Counts whole, figures to four digits. */
function shown(value: number | undefined): string {
  if (value === undefined) return "\u2013";
  return Number.isInteger(value) ? count(value) : number(value, value >= 100 ? 4 : 3);
}
