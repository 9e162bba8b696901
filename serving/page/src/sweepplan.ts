/** From the sweep's form to the rows it asks about. */

import type { Problem } from "./api";
import { MOST_POINTS, points } from "./grid";
import { Unasked } from "./runner";
import type { Input, Task } from "./schema";
import type { Controls } from "./sweep";

export interface Plan {
  readonly over: Input;
  readonly x: readonly number[];
  /** The compared values, one curve each; a single empty name where nothing is compared. */
  readonly names: readonly string[];
  /** Curve by curve, point by point: names.length x x.length. */
  readonly rows: readonly Record<string, unknown>[];
  readonly show: readonly string[];
}

const MOST_ROWS = 4_000;

/** Raises `Unasked` naming the fields from which no rows can be made. */
export function sweepPlan(task: Task, fields: Controls): Plan {
  const problems: Problem[] = [];
  const no = (field: string, reason: string): void =>
    void problems.push({ row: null, field, reason });
  const from = fields.from.read();
  const to = fields.to.read();
  const wanted = fields.points.read();
  if (typeof from !== "number") no(fields.from.name, "must be a number");
  if (typeof to !== "number") no(fields.to.name, "must be a number");
  else if (typeof from === "number" && to <= from) no(fields.to.name, `must be more than ${from}`);
  const many =
    typeof wanted === "number" && Number.isInteger(wanted) && wanted >= 2 && wanted <= MOST_POINTS;
  if (!many) no(fields.points.name, `must be a whole number from 2 to ${MOST_POINTS}`);
  const names = fields.compare ? (fields.compare.read() as string[]) : [""];
  if (names.length === 0) no(fields.compare?.name ?? "", "tick at least one");
  const show = fields.show.read() as string[];
  if (show.length === 0) no(fields.show.name, "tick at least one");
  if (many && wanted * names.length > MOST_ROWS) {
    no(
      fields.points.name,
      `${names.length} curves of ${wanted} points are more than ${MOST_ROWS} answers`,
    );
  }
  if (problems.length > 0 || typeof from !== "number" || typeof to !== "number" || !many)
    throw new Unasked(problems);

  const x = points(from, to, wanted, fields.over.kind === "integer");
  const fixed = fields.fixed.map((each) => [each.name, each.read()] as const);
  const needed = new Set(task.inputs.filter((input) => input.required).map((input) => input.name));
  const base = Object.fromEntries(
    fixed.filter(([name, value]) => value !== null || needed.has(name)),
  );
  const rows = names.flatMap((name) =>
    x.map((value) => ({
      ...base,
      ...(fields.by ? { [fields.by.name]: name } : {}),
      [fields.over.name]: value,
    })),
  );
  return { over: fields.over, x, names, rows, show };
}
