/** Form fields built from a task's inputs. Values are judged by the service alone. */

import type { Problem } from "./api";
import { freshId, h } from "./dom";
import { label } from "./format";
import { isNumeric, type Input } from "./schema";

export interface Field {
  readonly name: string;
  /** The row of the request that the field is part of, where there are several. */
  readonly row?: number;
  readonly root: HTMLElement;
  /** The value as the request carries it; null for nothing. */
  read(): unknown;
  /** The value as the address carries it. */
  text(): string;
  /** Shows `reasons` beside the field; none clears. */
  fail(reasons: readonly string[]): void;
  focus(): void;
}

interface Tied {
  readonly hint: HTMLElement | null;
  readonly error: HTMLElement;
  /** For aria-describedby. */
  readonly ids: string;
}

function tied(stem: string, hintText: string): Tied {
  const hint = hintText ? h("p", { class: "hint", id: freshId(`${stem}-hint`) }, hintText) : null;
  const error = h("p", { class: "error", id: freshId(`${stem}-error`), hidden: true });
  return { hint, error, ids: hint ? `${hint.id} ${error.id}` : error.id };
}

function failer(error: HTMLElement, controls: readonly HTMLElement[]): Field["fail"] {
  return (reasons) => {
    error.replaceChildren(...[...new Set(reasons)].map((reason) => h("span", {}, reason)));
    error.hidden = reasons.length === 0;
    for (const control of controls) {
      if (reasons.length > 0) control.setAttribute("aria-invalid", "true");
      else control.removeAttribute("aria-invalid");
    }
  };
}

function captioned(input: Input): string {
  return input.unit ? `${label(input.name)} [${input.unit}]` : label(input.name);
}

/** A field for one value of `input`, starting with `start`. */
export function field(input: Input, start: string, hint = hintOf(input)): Field {
  const id = freshId(input.name);
  const tie = tied(id, hint);
  const common = { id, name: input.name, "aria-describedby": tie.ids };
  const control = input.allowed
    ? select(input, start, common)
    : h("input", {
        ...common,
        type: "text",
        value: start,
        autocomplete: "off",
        autocapitalize: "none",
        spellcheck: "false",
        inputmode: isNumeric(input) ? (input.kind === "integer" ? "numeric" : "decimal") : null,
        placeholder: input.required ? null : input.default === null ? "none" : "default",
      });
  control.value = start;
  const caption = h("label", { for: id }, captioned(input));
  if (!input.required && input.default !== null)
    caption.append(h("span", { class: "optional" }, " optional"));
  const kind = isNumeric(input) ? "field numeric" : "field";
  return {
    name: input.name,
    root: h("div", { class: kind }, caption, control, tie.hint, tie.error),
    read: () => parse(input, control.value),
    text: () => control.value.trim(),
    fail: failer(tie.error, [control]),
    focus: () => control.focus(),
  };
}

export function hintOf(input: Input): string {
  return input.default ? `${input.description}; default: ${input.default}` : input.description;
}

function select(input: Input, start: string, common: Record<string, string>): HTMLSelectElement {
  const options = (input.allowed ?? []).map((value) => h("option", { value }, value));
  if (!input.required) options.unshift(h("option", { value: "" }, "default"));
  // A link may carry a value that is no longer known: it is shown, and the service says what is.
  if (start && !input.allowed?.includes(start)) {
    options.push(h("option", { value: start }, start));
  }
  return h("select", common, ...options);
}

/** What was typed as a number where it reads as one; as it is where not, for the service to judge. */
export function parse(input: Input, typed: string): string | number | null {
  const text = typed.trim();
  if (text === "") return null;
  if (!isNumeric(input)) return text;
  const bare = text.replace(/(?<=\d)[\s_,\u202f](?=\d)/g, "");
  const value = Number(bare);
  return Number.isFinite(value) && /\d/.test(bare) ? value : text;
}

/** A field for a number that no input of the task describes, such as a range's end. */
export function plain(
  name: string,
  caption: string,
  start: string,
  { unit = null, required = true }: { unit?: string | null; required?: boolean } = {},
): Field {
  const bare: Input = {
    name,
    kind: "number",
    unit,
    required,
    description: "",
    example: "",
    default: null,
    allowed: null,
    minimum: null,
    maximum: null,
  };
  const made = field(bare, start, "");
  made.root.querySelector("label")?.replaceChildren(unit ? `${caption} [${unit}]` : caption);
  return made;
}

/** One of `options`, each `[value, words]`. */
export function oneOf(
  name: string,
  caption: string,
  options: readonly (readonly [string, string])[],
  start: string,
): Field {
  const id = freshId(name);
  const tie = tied(id, "");
  const known = options.some(([value]) => value === start);
  const control = h(
    "select",
    { id, name, "aria-describedby": tie.ids },
    ...options.map(([value, words]) => h("option", { value }, words)),
  );
  if (!known && start) control.append(h("option", { value: start }, start));
  if (start) control.value = start;
  return {
    name,
    root: h("div", { class: "field" }, h("label", { for: id }, caption), control, tie.error),
    read: () => control.value,
    text: () => control.value,
    fail: failer(tie.error, [control]),
    focus: () => control.focus(),
  };
}

/** Any of `allowed`, as boxes to tick. `read` gives the ticked ones in order. */
export function anyOf(
  name: string,
  caption: string,
  allowed: readonly string[],
  start: readonly string[],
  { hint = "", words = (value: string): string => value } = {},
): Field {
  const tie = tied(name, hint);
  const unknown = start.filter((value) => !allowed.includes(value));
  const boxes = [...allowed, ...unknown].map((value) => {
    const box = h("input", { type: "checkbox", name, value });
    box.checked = start.includes(value);
    return box;
  });
  const ticked = (): string[] => boxes.filter((box) => box.checked).map((box) => box.value);
  const root = h(
    "fieldset",
    { class: "field chips", "aria-describedby": tie.ids },
    h("legend", {}, caption),
    tie.hint,
    h(
      "div",
      { class: "row" },
      ...boxes.map((box) => h("label", {}, box, h("span", {}, words(box.value)))),
    ),
    tie.error,
  );
  return {
    name,
    root,
    read: ticked,
    text: () => ticked().join(","),
    fail: failer(tie.error, [root]),
    focus: () => boxes[0]?.focus(),
  };
}

/** Whether `problem` is about `field`. */
export function concerns(problem: Problem, field: Field): boolean {
  if (problem.field !== field.name) return false;
  return field.row === undefined || problem.row === null || problem.row === field.row;
}

/** Shows each problem beside the field it names; gives back those that no field stands for. */
export function placeProblems(
  problems: readonly Problem[],
  fields: readonly Field[],
): readonly Problem[] {
  for (const each of fields) {
    each.fail(problems.filter((problem) => concerns(problem, each)).map(({ reason }) => reason));
  }
  return problems.filter((problem) => !fields.some((each) => concerns(problem, each)));
}
