/** The page: from the address to a view, and back. */

import { ask, Refused } from "./api";
import { frame, h } from "./dom";
import { askForToken, footer, header, viewsOf, VIEWS, type ViewName } from "./frame";
import { read, write } from "./link";
import { modelsView } from "./models";
import { predictView } from "./predict";
import { recommendView } from "./recommend";
import type { Context, View } from "./runner";
import type { Task } from "./schema";
import { sweepView } from "./sweep";

/** What was asked of each task, kept while the page is open: tabs share their inputs. */
const remembered = new Map<string, URLSearchParams>();
let open: View | null = null;
let written = "";

function show(tasks: readonly Task[]): void {
  const place = read(location.hash);
  const task = tasks.find(({ name }) => name === place.task) ?? tasks[0];
  if (!task) return;
  const views = viewsOf(task);
  const view = views.find((name) => name === place.view) ?? views[0] ?? "predict";
  const params = remembered.get(task.name) ?? new URLSearchParams();
  adopt(params, place.params, task, view);
  remembered.set(task.name, params);

  const context: Context = {
    task,
    params,
    save: () => {
      written = write({ task: task.name, view, params: relevant(task, view, params) });
      if (location.hash !== written) history.replaceState(null, "", written);
      header(tasks, task, { task: task.name, view, params: shared(task, params) });
    },
    unauthorised: askForToken,
  };
  open?.close();
  open = build(view, context);
  frame("main").replaceChildren(h("h1", { class: "title" }, task.title), open.root);
  document.title = `${VIEWS[view]} \u00b7 ${task.name} \u00b7 perfcast`;
  header(tasks, task, { task: task.name, view, params: shared(task, params) });
  void open.run();
}

function build(view: ViewName, context: Context): View {
  if (view === "sweep") return sweepView(context);
  if (view === "recommend" && context.task.recommend)
    return recommendView(context, context.task.recommend);
  return view === "models" ? modelsView(context) : predictView(context);
}

/** Takes over what an address says; what it leaves out of a part that it speaks of is gone. */
function adopt(params: URLSearchParams, said: URLSearchParams, task: Task, view: ViewName): void {
  const inputs = new Set(task.inputs.map(({ name }) => name));
  const parts = [(key: string) => inputs.has(key), (key: string) => key.startsWith(`${view}.`)];
  for (const part of parts.filter((each) => [...said.keys()].some(each))) {
    for (const key of [...params.keys()].filter(part)) params.delete(key);
  }
  for (const [key, value] of said) params.set(key, value);
}

/** The parameters that a link to `view` needs: the task's inputs and the view's own. */
function relevant(task: Task, view: ViewName, params: URLSearchParams): URLSearchParams {
  const inputs = new Set(
    view === "models" || view === "recommend" ? [] : task.inputs.map(({ name }) => name),
  );
  return new URLSearchParams(
    [...params].filter(([key]) => inputs.has(key) || key.startsWith(`${view}.`)),
  );
}

function shared(task: Task, params: URLSearchParams): URLSearchParams {
  return new URLSearchParams(
    [...params].filter(([key]) => task.inputs.some(({ name }) => name === key)),
  );
}

async function start(): Promise<void> {
  footer();
  try {
    const tasks = await ask<Task[]>("/v1/tasks");
    addEventListener("hashchange", () => {
      if (location.hash !== written) show(tasks);
    });
    show(tasks);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401) return askForToken(error.message, () => void start());
    const again = h("button", { type: "button" }, "Try again");
    again.addEventListener("click", () => void start());
    frame("main").replaceChildren(
      h("div", { class: "notice bad", role: "alert" }, h("p", {}, error.message), again),
    );
  }
}

void start();
