/** Runs one request at a time for a view: the newest wins, refusals go where they belong. */

import { ask, Refused, type Problem } from "./api";
import { h } from "./dom";
import { label } from "./format";
import { concerns, placeProblems, type Field } from "./form";
import type { Task } from "./schema";

/** What a view is given: its task, the parameters it shares with the address, and two calls. */
export interface Context {
  readonly task: Task;
  readonly params: URLSearchParams;
  /** Writes the parameters into the address. */
  save(): void;
  /** Asks for a token, then calls `again`. */
  unauthorised(message: string, again: () => void): void;
}

export interface View {
  readonly root: HTMLElement;
  /** Asks and shows, from what the form holds. */
  run(): Promise<void>;
  close(): void;
}

export type Ask = <T>(path: string, body?: unknown) => Promise<T>;

/** Something wrong with the form itself, found before anything was asked. */
export class Unasked extends Refused {
  constructor(problems: readonly Problem[]) {
    super(422, "", problems);
  }
}

const SLOW_MS = 250;

export class Runner {
  readonly alert = h("div", { class: "notice bad", role: "alert", hidden: true });
  /** One sentence for those who listen rather than look. */
  readonly spoken = h("p", { class: "unseen", role: "status" });
  private current: AbortController | null = null;

  constructor(
    private readonly context: Context,
    private readonly results: HTMLElement,
    private readonly fields: () => readonly Field[],
  ) {}

  /** Calls `work`, then `show` unless a newer run began meanwhile. `focus`: go to the first fault. */
  async run<T>(
    work: (ask: Ask) => Promise<T>,
    show: (answer: T) => string,
    focus: boolean,
  ): Promise<void> {
    this.current?.abort();
    const mine = (this.current = new AbortController());
    const slow = setTimeout(() => this.results.setAttribute("aria-busy", "true"), SLOW_MS);
    try {
      const answer = await work((path, body) => ask(path, body, mine.signal));
      if (mine.signal.aborted) return;
      this.clear();
      this.results.classList.remove("stale");
      this.spoken.textContent = show(answer);
    } catch (error) {
      if (mine.signal.aborted) return;
      const known = error instanceof Refused;
      const told = known ? error : new Refused(0, "The page cannot show this answer.");
      this.refuse(told, focus, () => void this.run(work, show, focus));
      if (!known) throw error;
    } finally {
      clearTimeout(slow);
      if (this.current === mine) this.results.removeAttribute("aria-busy");
    }
  }

  close(): void {
    this.current?.abort();
  }

  private clear(): void {
    this.alert.hidden = true;
    this.alert.replaceChildren();
    for (const each of this.fields()) each.fail([]);
  }

  private refuse(error: Refused, focus: boolean, again: () => void): void {
    this.clear();
    this.results.classList.add("stale");
    this.spoken.textContent = "";
    if (error.status === 401) {
      this.context.unauthorised(error.message, again);
      return;
    }
    const left = placeProblems(error.problems, this.fields());
    const faulty = this.fields().find((each) =>
      error.problems.some((problem) => concerns(problem, each)),
    );
    if (focus) faulty?.focus();
    const marked = [
      ...new Set(error.problems.filter((each) => !left.includes(each)).map(({ field }) => field)),
    ];
    const lines = left.map(sentence);
    if (marked.length > 0)
      lines.unshift(`Not answered: see what is said beside ${marked.map(words).join(", ")}.`);
    if (lines.length === 0) lines.push(error.message);
    this.alert.replaceChildren(...[...new Set(lines)].map((line) => h("p", {}, line)));
    this.alert.hidden = false;
  }
}

/** A field's name as its label has it: the page's own are "view.name". */
function words(field: string): string {
  return label(field.slice(field.lastIndexOf(".") + 1));
}

function sentence({ row, field, reason }: Problem): string {
  return row === null ? `${field}: ${reason}` : `${field} (row ${row}): ${reason}`;
}
