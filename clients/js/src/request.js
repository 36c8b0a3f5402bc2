// Requests to an Antiphon server, and the errors that callers of this package see. No DOM.

/**
 * The server did not take a request, or the call can't be made. `kind` is for programs: "unreachable", "unauthorized",
 * "busy", "refused", "ended", "no_media", "lost", "aborted"; "invalid" for an option that can't be. `status` is that of HTTP, 0
 * without an answer.
 */
export class AntiphonError extends Error {
  constructor(message, { kind = null, status = 0, code = null, retryAfter = null, cause } = {}) {
    super(message, { cause });
    this.name = "AntiphonError";
    this.kind = kind ?? kindOf(status, code);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter; // seconds, as text
  }
}

/** The microphone can't be had. `kind`: "refused", "missing", "held", "insecure" (the page is not from https) or "microphone". */
export class MicrophoneError extends AntiphonError {
  constructor(kind, message, cause) {
    super(message, { kind, cause });
    this.name = "MicrophoneError";
  }
}

/** fetch with a key; anything but success is an AntiphonError. */
export async function request(url, options = {}, key = null) {
  const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  let response;
  try {
    response = await fetch(url, { ...options, headers });
  } catch (error) {
    throw new AntiphonError(`the server does not answer: ${error.message}`, { cause: error });
  }
  if (response.ok) return response;
  const error = (await response.json().catch(() => null))?.error ?? {};
  const { status } = response;
  throw new AntiphonError(error.message ?? `status ${status}`, { status, code: error.code ?? null, retryAfter: response.headers.get("Retry-After") });
}

function kindOf(status, code) {
  if (status === 0) return "unreachable";
  if (status === 401) return "unauthorized";
  if (code === "agent_ended") return "ended";
  return status === 429 || status === 503 ? "busy" : "refused";
}
