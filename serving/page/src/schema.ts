/** What the service says of itself and of its answers; see /docs. */

export interface Input {
  readonly name: string;
  readonly kind: string; // category, text, integer; anything else is typed in as text
  readonly unit: string | null;
  readonly required: boolean;
  readonly description: string;
  readonly example: string | number;
  readonly default: string | null;
  readonly allowed: readonly string[] | null;
  readonly minimum: number | null;
  readonly maximum: number | null;
}

export interface Output {
  readonly name: string;
  readonly unit: string;
  readonly description: string;
  readonly interval: boolean;
  readonly derived_from: readonly string[];
}

export interface Recommend {
  readonly path: string;
  readonly shape: readonly Input[];
  readonly choices: readonly { readonly name: string; readonly input: string }[];
  readonly limits: readonly { readonly name: string; readonly output: string }[];
  readonly objectives: readonly string[];
}

export interface Task {
  readonly name: string;
  readonly title: string;
  readonly inputs: readonly Input[];
  readonly outputs: readonly Output[];
  readonly predict: string;
  readonly roofline: { readonly path: string; readonly output: string } | null;
  readonly recommend: Recommend | null;
}

/** One answer: quantities, their ends and statuses by column name. */
export interface Row {
  readonly [column: string]: unknown;
  readonly status: string;
  readonly reasons: readonly string[];
}

export interface Answers {
  readonly model: string;
  readonly coverage: number;
  readonly rows: readonly Row[];
}

export interface Rooflines {
  readonly roofline_ms: readonly (number | null)[];
}

export interface Choice extends Row {
  readonly measured: boolean;
  readonly pareto: boolean;
}

export interface Recommendation {
  readonly model: string;
  readonly coverage: number;
  readonly objective: string;
  readonly considered: number;
  readonly feasible: number;
  readonly choices: readonly Choice[];
  readonly pareto_front: readonly Choice[];
  readonly excluded: readonly {
    readonly constraint: string;
    readonly limit: number | null;
    readonly count: number;
    readonly closest: number | null;
  }[];
  readonly withheld: readonly { readonly count: number; readonly reasons: readonly string[] }[];
  readonly closest_miss: Choice | null;
  readonly note: string;
}

export function isNumeric(input: Input): boolean {
  return input.kind === "integer" || input.kind === "number";
}

/** A quantity of a row, or null where it is absent or withheld. */
export function quantity(row: Row, column: string): number | null {
  const value = row[column];
  return typeof value === "number" ? value : null;
}

const STATUSES = ["in_domain", "extrapolated", "out_of_domain", "invalid"];

/** The status of one quantity: its own, or the worst of those that it is derived from. */
export function statusOf(row: Row, { name, interval, derived_from: from }: Output): string {
  const found = (interval ? [name] : from).map((each) => row[`${each}_status`]);
  const known = found.filter((each) => typeof each === "string");
  if (known.length === 0) return row.status;
  return known.reduce((worst, each) =>
    STATUSES.indexOf(each) > STATUSES.indexOf(worst) ? each : worst,
  );
}
