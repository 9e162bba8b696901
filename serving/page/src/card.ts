/** A model card as the service hands it out; every part may be absent. */

export interface MetricRow {
  readonly group: Readonly<Record<string, string>>;
  readonly numbers: Readonly<Record<string, number>>;
}

export interface Metric {
  readonly title: string;
  readonly quantity: string;
  readonly rows: readonly MetricRow[];
}

type Table = Readonly<Record<string, unknown>>;

export function isTable(value: unknown): value is Table {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function tables(value: unknown): readonly Table[] {
  return Array.isArray(value) ? value.filter(isTable) : [];
}

/** The accuracy reports in a card: lists of groups, or tables from a group's name to its figures. */
export function metrics(card: Table): readonly Metric[] {
  const found = isTable(card["metrics"]) ? Object.entries(card["metrics"]) : [];
  return found
    .filter((entry): entry is [string, Table] => isTable(entry[1]))
    .map(([name, report]) => {
      const listed = Array.isArray(report["rows"]);
      const rows = listed
        ? tables(report["rows"]).map((row) => ({
            group: strings(row["group"]),
            numbers: numbersOf(row),
          }))
        : Object.entries(report)
            .filter((entry): entry is [string, Table] => isTable(entry[1]))
            .map(([group, row]) => ({
              group: { [lastWord(name)]: group },
              numbers: numbersOf(row),
            }));
      return {
        title:
          listed && typeof report["title"] === "string"
            ? report["title"]
            : name.replaceAll("_", " "),
        quantity: typeof report["quantity"] === "string" ? report["quantity"] : "",
        rows,
      };
    })
    .filter(({ rows }) => rows.length > 0);
}

/** The ways in which reports are grouped, such as "gpu, dtype"; "" is everything together. */
export function groupings(reports: readonly Metric[]): readonly string[] {
  return [...new Set(reports.flatMap(({ rows }) => rows.map(({ group }) => grouping(group))))];
}

export function grouping(group: Readonly<Record<string, string>>): string {
  return Object.keys(group).join(", ");
}

/** What a figure's name means and its unit: `median_ape_percent` is "median error" in "%". */
export function figure(name: string): readonly [string, string] {
  const percent = name.endsWith("_percent");
  const stem = percent ? name.slice(0, -"_percent".length) : name;
  const words = stem
    .replace(/(^|_)ape(?=_|$)/, "$1error")
    .replace(/(^|_)r2(?=_|$)/, "$1R\u00b2")
    .replaceAll("_", " ");
  return [words, percent ? "%" : ""];
}

/** Deployments as a grid: rows and columns by two of their keys, the rest in the cells. */
export interface Grid {
  readonly across: readonly string[];
  readonly lines: readonly {
    readonly name: string;
    readonly cells: readonly (readonly string[])[];
  }[];
}

export function grid(
  deployments: readonly Table[],
  down: string,
  along: string,
  inside: string | null,
): Grid {
  const text = (deployment: Table, key: string): string => String(deployment[key] ?? "");
  const across = [...new Set(deployments.map((each) => text(each, along)))].sort();
  const names = [...new Set(deployments.map((each) => text(each, down)))].sort();
  const lines = names.map((name) => ({
    name,
    cells: across.map((column) => [
      ...new Set(
        deployments
          .filter((each) => text(each, down) === name && text(each, along) === column)
          .map((each) => (inside ? text(each, inside) : "yes")),
      ),
    ]),
  }));
  return { across, lines };
}

function strings(value: unknown): Readonly<Record<string, string>> {
  return isTable(value)
    ? Object.fromEntries(Object.entries(value).map(([key, each]) => [key, String(each)]))
    : {};
}

function numbersOf(row: Table): Readonly<Record<string, number>> {
  return Object.fromEntries(
    Object.entries(row).filter((entry): entry is [string, number] => typeof entry[1] === "number"),
  );
}

function lastWord(name: string): string {
  return name.split("_").at(-1) ?? name;
}
