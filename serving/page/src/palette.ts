/** Colours for charts, read from the style sheet so that light and dark are decided there. */

const LINES = 10;

export interface Ink {
  readonly text: string;
  readonly muted: string;
  readonly grid: string;
  readonly surface: string;
  readonly accent: string;
  readonly line: (at: number) => string;
}

export function ink(): Ink {
  const styles = getComputedStyle(document.documentElement);
  const read = (name: string): string => styles.getPropertyValue(`--${name}`).trim();
  return {
    text: read("text"),
    muted: read("muted"),
    grid: read("grid"),
    surface: read("surface"),
    accent: read("accent"),
    line: (at) => read(`line-${at % LINES}`),
  };
}

/** `colour` (#rrggbb) with an opacity. */
export function faded(colour: string, opacity: number): string {
  const byte = Math.round(opacity * 255)
    .toString(16)
    .padStart(2, "0");
  return `${colour}${byte}`;
}

/** Gives each name a colour that it keeps while it stays, whatever joins or leaves. */
export class Colours {
  private readonly taken = new Map<string, number>();

  assign(names: readonly string[]): ReadonlyMap<string, number> {
    for (const name of [...this.taken.keys()]) if (!names.includes(name)) this.taken.delete(name);
    for (const name of names) {
      if (this.taken.has(name)) continue;
      const used = new Set(this.taken.values());
      let free = 0;
      while (used.has(free)) free += 1;
      this.taken.set(name, free);
    }
    return this.taken;
  }
}

/** Calls `redraw` whenever the device turns light or dark; gives back how to stop. */
export function onThemeChange(redraw: () => void): () => void {
  const query = matchMedia("(prefers-color-scheme: dark)");
  query.addEventListener("change", redraw);
  return () => query.removeEventListener("change", redraw);
}
