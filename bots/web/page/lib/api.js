// Requests to IT0's own API. Every failure is a `Problem` with a sentence for the reader.
import { createStore } from "./store.js";
import { tag, t } from "./i18n.js";

/** A refusal or a fault, as in RFC 9457; `detail` says what happened and what to do. */
export class Problem extends Error {
  constructor({ status, code, detail, retryAfter = null }) {
    super(detail);
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may well succeed a little later. */
  get passing() {
    return this.code === "offline" || this.status === 503 || this.status === 502 || this.status === 504;
  }
}

/** "unknown" until the server was asked; then who is signed in, or null. */
export const session = createStore("unknown");

const ROOT = "/api/v1";

/** Ask who is signed in: what the server says of them, or null. */
export async function whoIsIn() {
  const me = await api.get("/session");
  return me.user ? me : null;
}

/** The answer of a fetch, or a `Problem`. `signal` ends it early (`AbortError` passes through). */
export async function request(method, path, { body, headers = {}, signal, keepalive } = {}) {
  const sent = { "Accept-Language": tag(), Accept: "application/json", ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(ROOT + path, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal,
      keepalive,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw offline();
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (problem.status === 401 && session.get() !== "unknown") session.set(null);
  throw problem;
}

export const offline = () =>
  new Problem({ status: 0, code: "offline", detail: t("IT0 cannot be reached. Check the connection; this page tries again by itself.") });

async function problemOf(response) {
  let said = {};
  try {
    said = await response.json();
  } catch {
    // A proxy's own page; its text is not for our readers.
  }
  const detail = said.detail ?? t("IT0 answered with an error ({status}). Try again.", { status: response.status });
  const wait = Number(response.headers.get("Retry-After"));
  return new Problem({
    status: response.status,
    code: said.code ?? "error",
    detail,
    retryAfter: Number.isFinite(wait) && wait > 0 ? wait : null,
  });
}

const json = async (response) => (response.status === 204 ? null : response.json());

export const api = {
  get: async (path, options) => json(await request("GET", path, options)),
  post: async (path, body, options) => json(await request("POST", path, { body, ...options })),
  patch: async (path, body, options) => json(await request("PATCH", path, { body, ...options })),
  put: async (path, body, options) => json(await request("PUT", path, { body, ...options })),
  delete: async (path, options) => json(await request("DELETE", path, options)),
};
