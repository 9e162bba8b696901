/** The shapes of a recommendation: a list of rows of numbers that grows and shrinks. */

import { h } from "./dom";
import { field, type Field } from "./form";
import { label } from "./format";
import type { Input } from "./schema";

export interface Shapes {
  readonly root: HTMLElement;
  fields(): readonly Field[];
  /** What the request carries. */
  read(): readonly Record<string, unknown>[];
  /** What the address carries: `4096x4096x8192x1,...`. */
  text(): string;
}

export function shapesEditor(
  inputs: readonly Input[],
  start: string | null,
  onChange: () => void,
): Shapes {
  const example = inputs.map((input) => String(input.example));
  const given = (start ?? "")
    .split(",")
    .filter(Boolean)
    .map((shape) => shape.split("x"));
  let texts = given.length > 0 ? given : [example];
  let rows: Field[][] = [];
  const body = h("div", { class: "shapes" });
  const error = h("p", { class: "error", hidden: true });
  const add = h("button", { type: "button", class: "quiet" }, "Add a shape");

  const current = (): string[][] => rows.map((cells) => cells.map((cell) => cell.text()));
  const remove = (at: number): void => {
    texts = current().toSpliced(at, 1);
    build();
    onChange();
    rows[Math.min(at, rows.length - 1)]?.[0]?.focus();
  };
  function build(): void {
    rows = texts.map((shape, row) =>
      inputs.map((input, at) => ({ ...field(input, shape[at] ?? example[at] ?? "", ""), row })),
    );
    body.replaceChildren(
      ...rows.map((cells, at) => {
        const drop = h(
          "button",
          { type: "button", class: "quiet drop", "aria-label": `Remove shape ${at + 1}` },
          "\u00d7",
        );
        drop.addEventListener("click", () => remove(at));
        drop.hidden = rows.length === 1;
        return h(
          "div",
          { class: "shape", role: "group", "aria-label": `Shape ${at + 1}` },
          ...cells.map((cell) => cell.root),
          drop,
        );
      }),
    );
  }
  add.addEventListener("click", () => {
    texts = [...current(), current().at(-1) ?? example];
    build();
    onChange();
    rows.at(-1)?.[0]?.focus();
  });
  build();

  const whole: Field = {
    name: "shapes",
    root: body,
    read: () => null,
    text: () => "",
    fail: (reasons) => {
      error.replaceChildren(...reasons.map((reason) => h("span", {}, reason)));
      error.hidden = reasons.length === 0;
    },
    focus: () => rows[0]?.[0]?.focus(),
  };
  const about = inputs.map((input) => `${label(input.name)}: ${input.description}`).join("; ");
  return {
    root: h(
      "fieldset",
      { class: "field" },
      h("legend", {}, "shapes"),
      h("p", { class: "hint" }, about),
      body,
      error,
      add,
    ),
    fields: () => [...rows.flat(), whole],
    read: () =>
      rows.map((cells) => Object.fromEntries(cells.map((cell) => [cell.name, cell.read()]))),
    text: () =>
      current()
        .map((shape) => shape.join("x"))
        .join(","),
  };
}
