/** Requests to the service, and its refusals. Addresses are relative to the page. */

export interface Problem {
  readonly row: number | null;
  readonly field: string;
  readonly reason: string;
}

/** The service answered, but not with what was asked for. `status` 0: it did not answer. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly problems: readonly Problem[] = [],
  ) {
    super(message);
  }
}

const TOKEN = "perfcast.token";

/** The token is kept for this tab only, and forgotten when it closes. */
export const token = {
  get: (): string => sessionStorage.getItem(TOKEN) ?? "",
  set: (value: string): void => {
    if (value) sessionStorage.setItem(TOKEN, value);
    else sessionStorage.removeItem(TOKEN);
  },
};

/** GET `path`, or POST `body` to it. Raises `Refused`; an aborted request raises `AbortError`. */
export async function ask<T>(path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (body !== undefined) headers["content-type"] = "application/json";
  if (token.get()) headers["authorization"] = `Bearer ${token.get()}`;
  const address = new URL(path.replace(/^\//, ""), document.baseURI);
  let response: Response;
  try {
    response = await fetch(address, {
      method: body === undefined ? "GET" : "POST",
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ?? null,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refused(0, "The service cannot be reached.");
  }
  const text = await response.text();
  const content = parsed(text);
  if (response.ok && content !== undefined) return content as T;
  throw refusal(response.status, content);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The service's own words where there are some: `{"error": {"message", "problems"}}`. */
function refusal(status: number, content: unknown): Refused {
  const error = (content as { error?: { message?: unknown; problems?: unknown } } | undefined)
    ?.error;
  const message =
    typeof error?.message === "string" ? error.message : `The service answered ${status}.`;
  const problems = Array.isArray(error?.problems) ? (error.problems as Problem[]) : [];
  return new Refused(status, message, problems);
}
