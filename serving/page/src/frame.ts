/** What stays on the page: the task's name, the tabs, the request for a token, the links. */

import { token } from "./api";
import { frame, freshId, h } from "./dom";
import { write, type Place } from "./link";
import type { Task } from "./schema";

export const VIEWS = {
  predict: "Predict",
  sweep: "Sweep",
  recommend: "Recommend",
  models: "Model",
} as const;
export type ViewName = keyof typeof VIEWS;

export function viewsOf(task: Task): readonly ViewName[] {
  const numeric = task.inputs.some(({ kind }) => kind === "integer" || kind === "number");
  const has = { predict: true, sweep: numeric, recommend: task.recommend !== null, models: true };
  return (Object.keys(VIEWS) as ViewName[]).filter((name) => has[name]);
}

/** Shows the task and the tabs, or brings them up to date: what has the focus keeps it. */
export function header(tasks: readonly Task[], task: Task, place: Place): void {
  const holder = frame("header");
  if (holder.dataset["task"] !== task.name) build(holder, tasks, task, place.view);
  for (const link of holder.querySelectorAll<HTMLAnchorElement>("nav a")) {
    const view = link.dataset["view"] ?? "";
    link.href = write({ ...place, view });
    if (view === place.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function build(holder: HTMLElement, tasks: readonly Task[], task: Task, view: string): void {
  const id = freshId("task");
  const pick = h("select", { id }, ...tasks.map(({ name }) => h("option", { value: name }, name)));
  pick.value = task.name;
  pick.addEventListener("change", () => {
    location.hash = write({ task: pick.value, view, params: new URLSearchParams() });
  });
  const links = viewsOf(task).map((name) => h("a", { "data-view": name }, VIEWS[name]));
  holder.dataset["task"] = task.name;
  holder.replaceChildren(
    h(
      "div",
      { class: "brand" },
      h("a", { href: "./", class: "name" }, "perfcast"),
      h("div", { class: "task" }, h("label", { for: id }, "task"), pick),
    ),
    h("nav", { "aria-label": "Views" }, ...links),
  );
}

export function footer(): void {
  const link = (href: string, words: string): HTMLElement => h("a", { href }, words);
  frame("footer").replaceChildren(
    h(
      "p",
      {},
      "Medians with intervals, from models trained on measurements. The same answers over ",
      link("docs", "REST"),
      ", described in ",
      link("openapi.json", "OpenAPI"),
      ".",
    ),
  );
}

/** Asks for the service's token beside the reason; `again` repeats what was refused. */
export function askForToken(message: string, again: () => void): void {
  const id = freshId("token");
  const field = h("input", { id, type: "password", autocomplete: "off", spellcheck: "false" });
  const form = h(
    "form",
    { class: "notice token", "aria-label": "Token" },
    h(
      "p",
      { role: "alert" },
      `${token.get() ? "The token was refused" : "This service asks for a token"}: ${message}`,
    ),
    h(
      "div",
      { class: "inline" },
      h("label", { for: id }, "token"),
      field,
      h("button", { type: "submit" }, "Use it"),
    ),
    h("p", { class: "hint" }, "Kept in this tab until it closes."),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    token.set(field.value.trim());
    frame("notices").replaceChildren();
    again();
  });
  frame("notices").replaceChildren(form);
  field.focus();
}
