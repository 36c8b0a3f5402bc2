// Requests to the operator's routes. The cookie of the sign-in goes along by itself and counts beside our header only.

export class ApiError extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The JSON answer; anything but success is an ApiError. */
export async function ask(path, { method = "GET", body, signal } = {}) {
  const headers = { "Antiphon-Console": "1", ...(body ? { "Content-Type": "application/json" } : {}) };
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(`the server does not answer: ${error.message}`, 0, null);
  }
  const said = response.status === 204 ? {} : await response.json().catch(() => ({}));
  if (response.ok) return said;
  throw new ApiError(said.error?.message ?? `status ${response.status}`, response.status, said.error?.code ?? null);
}

/** All entries of a paged list after `after`, at most `most`: { entries, last }. */
export async function pages(path, after, most, signal) {
  const entries = [];
  let last = after;
  while (entries.length < most) {
    const page = await ask(`${path}?after=${last}`, { signal });
    entries.push(...page.data);
    if (page.last <= last || !page.more) return { entries, last: Math.max(last, page.last) };
    last = page.last;
  }
  return { entries, last };
}
