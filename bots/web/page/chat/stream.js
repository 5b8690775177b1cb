// A turn's events from the server (text/event-stream), over dropped connections, sleep and restarts.
import { createParser } from "eventsource-parser";
import { offline, request } from "../lib/api.js";
import { createStore } from "../lib/store.js";

/** The server sends a comment every 15 s, so such a silence is a dead connection. */
const SILENCE_MS = 40_000;
/** A page that nobody looks at for so long gives its connection back. */
const HIDDEN_MS = 15_000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 8_000;

/** "ok", or "lost" while the server cannot be reached. */
export const connection = createStore("ok");

/** Whether the page was hidden for a while: nothing is read then. */
const asleep = createStore(false);
let falling = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(falling);
  if (document.hidden) falling = setTimeout(() => asleep.set(true), HIDDEN_MS);
  else asleep.set(false);
});

/** Ends a wait early: what just happened makes another try worth it. */
const nudges = new EventTarget();
const nudge = () => nudges.dispatchEvent(new Event("nudge"));
addEventListener("online", () => {
  connection.set("ok");
  nudge();
});
addEventListener("offline", () => connection.set("lost"));
addEventListener("pageshow", nudge);
document.addEventListener("visibilitychange", () => !document.hidden && nudge());

/**
 * Read a turn to its end. `source` says how to ask and is kept up to date: {turn, last, key, body}.
 * While `turn` is null the message is posted; its key makes a repeated post the same message.
 * `heard`: {accepted(), event({name, data})}. Throws a `Problem` that trying again cannot help.
 */
export async function follow(source, heard, signal) {
  for (let failures = 0; ; ) {
    await awake(signal);
    const connected = new AbortController();
    const end = () => connected.abort();
    signal.addEventListener("abort", end);
    // A message that nobody has yet is delivered first, whether somebody looks or not.
    const sleeps = asleep.watch((now) => now && source.accepted && end());
    try {
      const response = await ask(source, connected);
      source.accepted = true;
      connection.set("ok");
      heard.accepted?.();
      const progress = { events: 0 };
      if (await read(response, source, heard, connected, progress)) return;
      failures = progress.events > 0 ? 0 : failures + 1;
    } catch (problem) {
      if (signal.aborted) throw problem;
      if (!connected.signal.aborted && problem.code !== "offline" && !problem.passing) throw problem;
      failures += 1;
    } finally {
      signal.removeEventListener("abort", end);
      sleeps();
      end();
    }
    if (asleep.get()) failures = 0;
    else await pause(failures, signal);
  }
}

/** The answer's head. Nothing may be silent for too long, the head neither. */
async function ask(source, connected) {
  const silence = setTimeout(() => connected.abort(), SILENCE_MS);
  const headers = { Accept: "text/event-stream" };
  if (source.last) headers["Last-Event-ID"] = source.last;
  try {
    if (source.turn) {
      const path = `/agent/turns/${encodeURIComponent(source.turn)}/events`;
      return await request("GET", path, { headers, signal: connected.signal });
    }
    headers["Idempotency-Key"] = source.key;
    return await request("POST", "/agent/turns", { headers, body: source.body, signal: connected.signal });
  } finally {
    clearTimeout(silence);
  }
}

/** Whether the turn's last event came before the connection ended. */
async function read(response, source, heard, connected, progress) {
  let over = false;
  let silence = 0;
  const parser = createParser({
    onEvent({ id, event: name, data }) {
      if (id) source.last = id;
      progress.events += 1;
      const told = { name, data: parsed(data) };
      if (name === "turn") source.turn = told.data.turn_id;
      over ||= name === "completed";
      heard.event(told);
    },
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const watch = () => {
    clearTimeout(silence);
    silence = setTimeout(() => connected.abort(), SILENCE_MS);
  };
  try {
    while (!over) {
      watch();
      const { done, value } = await reader.read();
      if (done) break;
      parser.feed(value);
    }
  } catch (error) {
    if (!over) throw error.name === "AbortError" ? error : offline();
  } finally {
    clearTimeout(silence);
    reader.cancel().catch(() => {});
  }
  return over;
}

function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    return {};
  }
}

/** Wait between two tries; shorter when the network comes back or somebody looks again. */
function pause(failures, signal) {
  if (failures === 0) return Promise.resolve();
  if (failures > 1 || !navigator.onLine) connection.set("lost");
  const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));
  return waited(longest * (0.75 + Math.random() / 4), signal);
}

function waited(ms, signal) {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      nudges.removeEventListener("nudge", done);
      signal.removeEventListener("abort", done);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(done, ms);
    nudges.addEventListener("nudge", done);
    signal.addEventListener("abort", done);
  });
}

/** Wait until somebody looks at the page. */
function awake(signal) {
  if (signal.aborted) return Promise.reject(signal.reason);
  if (!asleep.get()) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const unwatch = asleep.watch((now) => {
      if (now) return;
      stop();
      resolve();
    });
    const given = () => {
      stop();
      reject(signal.reason);
    };
    const stop = () => {
      unwatch();
      signal.removeEventListener("abort", given);
    };
    signal.addEventListener("abort", given);
  });
}

let frame = 0;
let due = [];

/** Run something with the next frame; many events of one frame become one drawing. */
export function withFrame(run) {
  due.push(run);
  if (frame) return;
  const all = () => {
    frame = 0;
    const now = due;
    due = [];
    for (const one of now) one();
  };
  // A hidden page has no frames.
  frame = document.hidden ? setTimeout(all, 50) : requestAnimationFrame(all);
}
