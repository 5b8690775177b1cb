// News from the server while the page is visible, and from other tabs of this browser.
import { api, session } from "../lib/api.js";
import { place } from "../lib/router.js";
import { createStore, remembered } from "../lib/store.js";

const OFTEN_MS = 3_000;
const SELDOM_MS = 15_000;
/** After so long without news, it is asked seldom. */
const QUIET_MS = 5 * 60_000;
const LONGEST_MS = 60_000;
/** Changes that were told at about the same time are fetched together. */
const TOGETHER_MS = 200;
const UNREAD_KEPT = 200;
/** What of a conversation is shown; a difference in these is a change. */
const SHOWN = ["title", "platform", "updated_at", "turns", "state"];

/** How many approvals wait for somebody like the reader. */
export const waiting = createStore(0);
/** The conversations that are known here, as the API tells them, newest first. */
export const conversations = createStore([]);
/** Ids of conversations with news that nobody has looked at in this browser. */
export const unread = createStore(new Set(rememberedUnread()));
/** Ids of conversations that were deleted while the page was open. */
export const deleted = createStore(new Set());
/** Grows when it is time to load the list: what changes from then on is told here. 0: not yet. */
export const round = createStore(0);

const handlers = new Map();
const channel = "BroadcastChannel" in globalThis ? new BroadcastChannel("it0") : null;
let begun = false;
let reader = null; // whose news these are
let stop = null; // ends the request that is under way
let hurry = false; // something happened while a request was under way
let timer = 0;
let cursor = null;
let failures = 0;
let lastNews = Date.now();

/** Begin to ask for news; asking again does nothing. It ends and begins with the session by itself. */
export function startChanges() {
  if (begun) return;
  begun = true;
  session.watch(follow);
  document.addEventListener("visibilitychange", soon);
  addEventListener("online", soon);
  addEventListener("pageshow", (event) => event.persisted && soon());
  channel?.addEventListener("message", (event) => hear(event.data));
  place.watch(looked);
  follow(session.get());
}

/** Somebody was signed in or out: nothing of the one before stays. */
function follow(me) {
  const id = me?.user?.id ?? null;
  if (id === reader) return;
  reader = id;
  quiet();
  cursor = null;
  failures = 0;
  conversations.set([]);
  deleted.set(new Set());
  waiting.set(0);
  round.set(0);
  if (id) soon();
}

function quiet() {
  clearTimeout(timer);
  stop?.abort();
  stop = null;
}

/** Ask at once where somebody looks; else not at all. */
function soon() {
  if (!reader || document.visibilityState !== "visible") return quiet();
  lastNews = Date.now();
  looked();
  if (!stop) later(0);
  return undefined;
}

function later(ms) {
  clearTimeout(timer);
  timer = setTimeout(ask, ms);
}

async function ask() {
  const asking = new AbortController();
  stop = asking;
  hurry = false;
  let wait = 0;
  try {
    const path = cursor === null ? "/changes" : `/changes?after=${encodeURIComponent(cursor)}`;
    const news = await api.get(path, { signal: asking.signal });
    if (asking.signal.aborted) return;
    if (cursor === null) round.set((n) => n + 1);
    take(news);
    failures = 0;
  } catch (problem) {
    if (asking.signal.aborted) return;
    // A cursor that the server does not know any more: what is here is asked for anew.
    if (problem.status === 400 || problem.status === 422) cursor = null;
    if (round.get() === 0) round.set(1);
    failures += 1;
    wait = Math.max((problem.retryAfter ?? 0) * 1000, backoff(failures));
  }
  if (stop !== asking) return;
  stop = null;
  if (reader && document.visibilityState === "visible") {
    const usual = Date.now() - lastNews > QUIET_MS ? SELDOM_MS : OFTEN_MS;
    later(wait || (hurry ? TOGETHER_MS : usual));
  }
}

/** 3 s, 6 s, 12 s ... a minute; spread, so that many pages do not come back at the same moment. */
const backoff = (times) => Math.min(LONGEST_MS, OFTEN_MS * 2 ** (times - 1)) * (0.75 + Math.random() / 2);

/** The server tells busy conversations each time, and late changes twice: what is known is no news. */
function take(news) {
  const changed = (news.conversations ?? []).filter((one) => (one.deleted ? !deleted.get().has(one.id) : differs(one, known(one.id))));
  if (changed.length || news.approvals !== waiting.get()) lastNews = Date.now();
  waiting.set(news.approvals);
  for (const one of changed) if (!one.deleted && isNews(one)) mark(one.id);
  for (const one of changed.filter((each) => each.deleted)) forget(one.id);
  merge(changed.filter((each) => !each.deleted));
  cursor = news.cursor;
  for (const one of changed) call(one.id, one);
}

const known = (id) => conversations.get().find((one) => one.id === id);

const differs = (one, before) => !before || SHOWN.some((name) => one[name] !== before[name]);

/** Whether something was said in a conversation that nobody has before them. */
function isNews(one) {
  if (one.id === openOne() || one.state === "running" || one.state === "queued") return false;
  const before = known(one.id);
  return !before || before.turns !== one.turns || before.state !== one.state;
}

/** The conversation that is before the reader's eyes. */
const openOne = () =>
  document.visibilityState === "visible" ? (/^\/c\/([\w-]+)$/.exec(place.get())?.[1] ?? null) : null;

/** Keep conversations, by their id. Pages of the list add what is unknown alone (`over` false):
 * what is known here is kept up to date by the news, and a page may be older than they are. */
export function merge(told, { over = true } = {}) {
  conversations.set((now) => {
    const all = new Map(now.map((one) => [one.id, one]));
    const fresh = told.filter((one) => !deleted.get().has(one.id) && (over ? differs(one, all.get(one.id)) : !all.has(one.id)));
    if (!fresh.length) return now;
    for (const one of fresh) all.set(one.id, one);
    return newestFirst([...all.values()]);
  });
}

/** By their last use, as the server orders them; times are compared as numbers, since a whole second
 * has no fraction in its text. */
function newestFirst(all) {
  const at = new Map(all.map((one) => [one, Date.parse(one.updated_at)]));
  return all.sort((a, b) => at.get(b) - at.get(a) || (a.id < b.id ? 1 : -1));
}

/** Take a conversation out of everything that is shown here. */
export function forget(id) {
  if (deleted.get().has(id)) return;
  deleted.set((now) => new Set(now).add(id));
  conversations.set((now) => now.filter((one) => one.id !== id));
  seen(id);
}

/** Call `handler` with what is told of a conversation: as the API tells it, `{id, deleted: true}`,
 * or `{id}` alone when another tab of this browser said that something happens there.
 * Returns what ends that. */
export function onChange(id, handler) {
  const called = handlers.get(id) ?? new Set();
  handlers.set(id, called.add(handler));
  return () => {
    called.delete(handler);
    if (!called.size && handlers.get(id) === called) handlers.delete(id);
  };
}

const call = (id, change) => {
  for (const handler of [...(handlers.get(id) ?? [])]) handler(change);
};

/** Tell the other tabs of this browser that something happens in a conversation, and look oneself.
 * `change` says more: `{deleted: true}`, or `{title}`. */
export function tell(id, change = {}) {
  channel?.postMessage({ reader, told: { ...change, id } });
  refresh();
}

/** Look for news now, not at the next tick. */
function refresh() {
  lastNews = Date.now();
  hurry = true;
  if (reader && document.visibilityState === "visible" && !stop) later(TOGETHER_MS);
}

function hear(message) {
  if (!reader || message?.reader !== reader) return;
  if (message.seen) return forgetUnread(message.seen);
  const { told } = message;
  if (told.deleted) forget(told.id);
  else if (told.title && known(told.id)) merge([{ ...known(told.id), title: told.title }]);
  refresh();
  return call(told.id, told);
}

/** The conversation before the reader's eyes has no news any more, in any tab. */
function looked() {
  const id = openOne();
  if (id) seen(id);
}

function seen(id) {
  if (!unread.get().has(id)) return;
  forgetUnread(id);
  channel?.postMessage({ reader, seen: id });
}

function forgetUnread(id) {
  if (unread.get().has(id)) keepUnread([...unread.get()].filter((one) => one !== id));
}

const mark = (id) => keepUnread([...unread.get(), id].slice(-UNREAD_KEPT));

function keepUnread(ids) {
  unread.set(new Set(ids));
  remembered.set("unread", ids.length ? JSON.stringify(ids) : null);
}

function rememberedUnread() {
  try {
    const kept = JSON.parse(remembered.get("unread") ?? "[]");
    return Array.isArray(kept) ? kept.filter((id) => typeof id === "string") : [];
  } catch {
    return [];
  }
}
