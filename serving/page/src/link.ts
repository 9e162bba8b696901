/** The page's state in its address: `#task/view?key=value`, so that a link shows the same thing. */

export interface Place {
  readonly task: string;
  readonly view: string;
  readonly params: URLSearchParams;
}

/** What a hash says; empty strings where it says nothing. */
export function read(hash: string): Place {
  const text = hash.replace(/^#\/?/, "");
  const cut = text.indexOf("?");
  const path = cut < 0 ? text : text.slice(0, cut);
  const [task = "", view = ""] = path.split("/").map(decode);
  return { task, view, params: new URLSearchParams(cut < 0 ? "" : text.slice(cut + 1)) };
}

/** The hash for a place, legible: commas and colons stay as they are. */
export function write(place: Place): string {
  const query = place.params.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
  const path = `#${encodeURIComponent(place.task)}/${encodeURIComponent(place.view)}`;
  return query ? `${path}?${query}` : path;
}

/** The values of a list such as `a,b`; null where it is absent. */
export function list(params: URLSearchParams, key: string): string[] | null {
  const text = params.get(key);
  return text === null ? null : text.split(",").filter((item) => item !== "");
}

/** Sets `key`, or removes it where there is nothing to say. */
export function put(params: URLSearchParams, key: string, value: string | null): void {
  if (value === null || value === "") params.delete(key);
  else params.set(key, value);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a mangled link is a place that does not exist
  }
}
