/** Pieces that several views show: statuses, reasons, tables, code to copy. */

import { h, type Child } from "./dom";
import { statusMeaning, statusWord } from "./format";

/** A status as a word and a colour. */
export function status(name: string): HTMLElement {
  return h("span", { class: `status ${name}`, title: statusMeaning(name) }, statusWord(name));
}

/** Reasons collected over many rows, each shown once and referred to by a letter. */
export class Footnotes {
  private readonly letters = new Map<string, string>();

  /** The mark for a row's reasons. */
  mark(reasons: readonly string[]): HTMLElement | null {
    if (reasons.length === 0) return null;
    const letters = reasons.map((reason) => {
      const letter = this.letters.get(reason) ?? String.fromCharCode(97 + (this.letters.size % 26));
      this.letters.set(reason, letter);
      return letter;
    });
    return h("sup", {}, letters.join(" "));
  }

  /** The reasons in full. */
  list(): HTMLElement | null {
    if (this.letters.size === 0) return null;
    const items = [...this.letters].map(([reason, letter]) =>
      h("li", {}, h("sup", {}, letter), ` ${reason}`),
    );
    return h("ul", { class: "footnotes" }, ...items);
  }
}

/** A column's head above numbers. */
export function numeric(words: string): HTMLElement {
  return h("span", { class: "num" }, words);
}

/** A table that scrolls by itself where it is wider than the page. */
export function table(
  caption: string,
  head: readonly Child[],
  rows: readonly HTMLTableRowElement[],
): HTMLElement {
  const cells = head.map((cell) => h("th", { scope: "col" }, cell));
  return h(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    h(
      "table",
      {},
      h("caption", {}, caption),
      h("thead", {}, h("tr", {}, ...cells)),
      h("tbody", {}, ...rows),
    ),
  );
}

/** Text to copy, with a button that does. */
export function snippet(title: string, text: string): HTMLElement {
  const button = h("button", { type: "button", class: "quiet" }, "Copy");
  button.addEventListener("click", () => {
    void navigator.clipboard?.writeText(text).then(() => {
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
  });
  return h(
    "div",
    { class: "snippet" },
    h("div", { class: "bar" }, h("span", {}, title), button),
    h("pre", {}, text),
  );
}

/** A link that saves `text` as a file; the address is made only when it is followed. */
export function download(words: string, name: string, text: () => string): HTMLElement {
  const button = h("button", { type: "button", class: "quiet" }, words);
  button.addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([text()], { type: "text/csv" }));
    h("a", { href: address, download: name }).click();
    URL.revokeObjectURL(address);
  });
  return button;
}
