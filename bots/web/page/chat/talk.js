// One conversation on this page: its turns, what is on its way to the server, and the stream being read.
//
// Each turn is a store of its own, so a word that arrives draws its answer again and nothing else.
import { api, session } from "../lib/api.js";
import { navigate } from "../lib/router.js";
import { createStore } from "../lib/store.js";
import { conversations, merge, onChange, tell } from "./changes.js";
import { draft, newKey, outbox } from "./outbox.js";
import { connection, follow, withFrame } from "./stream.js";
import { after, isOpen, refused, stored, updated, written } from "./turns.js";

const PAGE = 30;
const KEPT_TALKS = 8;

let talks = new Map();
let fresh = null;
let owner = null;

/** The conversation with this id, or the one that is begun now. The same object as long as it is in use. */
export function talkOf(id) {
  const me = session.get()?.user?.id ?? null;
  if (me !== owner) {
    for (const talk of [...talks.values(), fresh]) talk?.hide();
    [talks, fresh, owner] = [new Map(), null, me];
  }
  if (!id) {
    fresh ??= new Talk(null);
    return fresh;
  }
  const talk = talks.get(id) ?? new Talk(id);
  talks.delete(id);
  talks.set(id, talk);
  for (const [old, one] of talks) if (talks.size > KEPT_TALKS && one.idle) talks.delete(old);
  return talk;
}

/** Whether files are on their way that a reload would lose. */
export const losesFiles = () =>
  [...talks.values(), fresh].some((talk) => talk?.outgoing.some((one) => one.body.attachments.length > 0));

class Talk {
  constructor(id) {
    this.id = id;
    this.key = id ?? newKey();
    /** Stores of turns, oldest first. */
    this.turns = createStore([]);
    this.page = createStore({ loading: Boolean(id), problem: null, next: null });
    /** Whether something of it is unfinished. */
    this.busy = createStore(false);
    /** What goes back to where it was written: {text, files, problem}. */
    this.returned = createStore(null);
    this.outgoing = [];
    this.shown = false;
    this.reading = null;
    this.sources = new WeakMap();
    this.stopWanted = false;
  }

  get idle() {
    return !this.shown && this.outgoing.length === 0;
  }

  /** Somebody looks at it now. */
  show() {
    this.shown = true;
    if (this.id) {
      this.listen();
      this.refresh();
    }
    this.restore();
    this.pump();
  }

  /** Nobody looks any more: its stream is given back; what is unsent is still sent. */
  hide() {
    this.shown = false;
    this.unlisten?.();
    this.unlisten = null;
    if (this.reading && this.id && this.sources.get(this.reading.store)?.accepted) this.leave();
  }

  leave() {
    this.reading?.stop.abort();
    this.reading = null;
  }

  listen() {
    this.unlisten?.();
    this.unlisten = onChange(this.id, (change) => {
      if (change.deleted) this.page.set((now) => ({ ...now, problem: { gone: true } }));
      else this.refresh();
    });
  }

  /** Messages that a reload interrupted, in their order. */
  restore() {
    const known = new Set(this.turns.get().map((one) => one.get().key));
    for (const one of outbox.of(this.id)) {
      if (known.has(one.key)) continue;
      if (one.files > 0) {
        outbox.take(one.key);
        this.returned.set({ text: one.text, files: [], lost: one.files });
      } else {
        this.enqueue(one, []);
      }
    }
  }

  // -- what is sent ---------------------------------------------------------------------------

  /** Send a message. `files`: [{name, media_type, data}], `engine`: one that was named, or "". */
  send({ text, files = [], engine = "" }) {
    this.drop((turn) => turn.status === "unsent");
    const message = { key: newKey(), conversation: this.id, text, engine, at: new Date().toISOString(), files: files.length };
    outbox.put(message);
    this.enqueue(message, files);
    if (this.id) tell(this.id);
  }

  enqueue({ key, text, engine, at }, attachments) {
    const store = createStore(written({ key, text, engine, at, files: attachments }));
    this.turns.set((now) => [...now, store]);
    const body = { text, attachments, ...(engine && { engine }) };
    this.outgoing.push({ key, body, store, stop: new AbortController() });
    this.settle();
    this.deliver();
  }

  /** One message after the other, so that they arrive in the order in which they were written. */
  async deliver() {
    if (this.delivering) return;
    this.delivering = true;
    while (this.outgoing.length > 0) {
      const one = this.outgoing[0];
      await this.post(one);
      this.outgoing = this.outgoing.filter((other) => other !== one);
    }
    this.delivering = false;
    this.pump();
  }

  /** Resolves when the server has the message (and, for a new conversation, told which it is), or never will. */
  post(one) {
    const source = { turn: null, last: null, key: one.key, body: { ...one.body, ...(this.id && { conversation_id: this.id }) } };
    this.sources.set(one.store, source);
    return new Promise((resolve) => {
      const heard = {
        accepted: () => {
          if (!this.id) return;
          resolve();
          this.accepted(one);
        },
        event: (told) => withFrame(() => {
          this.take(one.store, told);
          if (this.id) resolve();
        }),
      };
      if (!this.reading) this.reading = one;
      follow(source, heard, one.stop.signal)
        .catch((problem) => this.refuse(one, problem))
        .finally(() => this.over(one, resolve));
    });
  }

  over(one, resolve) {
    withFrame(() => {
      resolve();
      if (this.reading === one) this.reading = null;
      this.settle();
    });
  }

  /** The server has it. While another answer is read, this one's turn comes later. */
  accepted(one) {
    outbox.take(one.key);
    if (one.store.get().status === "sending") this.change(one.store, (turn) => ({ ...turn, status: "queued" }));
    if (this.reading === one && this.shown) return;
    if (this.reading === one) this.reading = null;
    one.stop.abort();
    if (this.shown) this.refresh();
  }

  refuse(one, problem) {
    if (one.stop.signal.aborted || problem.status === 401) return;
    outbox.take(one.key);
    if (problem.status === 429) {
      this.change(one.store, (turn) => refused(turn, problem));
      return;
    }
    this.change(one.store, (turn) => ({ ...turn, status: "unsent", problem }));
    this.returned.set({ text: one.body.text, files: one.body.attachments });
  }

  /** Send what was not sent once more. */
  again(store) {
    const { text, files } = store.get();
    this.drop((turn) => turn.key === store.get().key);
    this.send({ text, files });
  }

  /** End what is being answered; what nobody has yet goes back to where it was written. */
  async stop() {
    if (connection.get() === "lost") this.takeBack();
    if (!this.id) {
      this.stopWanted = this.outgoing.length > 0;
      return;
    }
    this.stopWanted = false;
    const headers = { "Idempotency-Key": newKey() };
    await api.post("/agent/turns", { text: "/stop", conversation_id: this.id }, { headers });
    this.refresh();
  }

  takeBack() {
    for (const one of this.outgoing) {
      if (this.sources.get(one.store)?.accepted) continue;
      one.stop.abort();
      outbox.take(one.key);
      this.drop((turn) => turn.key === one.key);
      this.returned.set({ text: one.body.text, files: one.body.attachments });
    }
  }

  // -- what is read ---------------------------------------------------------------------------

  /** Read the first unfinished turn: one stream at a time. */
  pump() {
    if (!this.shown || this.reading || this.delivering) return;
    const store = this.turns.get().find((one) => isOpen(one.get()));
    if (!store) return;
    const turn = store.get();
    const source = this.sources.get(store) ?? { turn: turn.id, last: null, accepted: turn.id !== null };
    if (!source.accepted) return; // it is being delivered
    this.sources.set(store, source);
    source.turn ??= turn.id;
    // Read from its beginning, everything is told again.
    if (!source.last) this.change(store, (now) => ({ ...now, reply: "", thinking: "", lines: [] }));
    const one = { store, stop: new AbortController() };
    this.reading = one;
    follow(source, { event: (told) => withFrame(() => this.take(store, told)) }, one.stop.signal)
      .catch((problem) => {
        if (one.stop.signal.aborted) return;
        this.change(store, (now) => (isOpen(now) ? { ...now, status: "done", problem } : now));
      })
      .finally(() => this.over(one, () => {}));
  }

  take(store, told) {
    if (!isOpen(store.get())) return;
    this.change(store, (turn) => after(turn, told));
    const { conversation_id: id, turn_id: turnId } = told.data;
    if (turnId) this.drop((turn, other) => turn.id === turnId && other !== store);
    if (id) this.know(id, store);
    if (told.name === "completed") outbox.take(store.get().key);
  }

  /** The server told which conversation a new one is. The page stays as it is; its address changes. */
  know(id, store) {
    outbox.take(store.get().key);
    if (this.id) return;
    this.id = id;
    if (fresh === this) fresh = null;
    talks.set(id, this);
    for (const one of this.outgoing) {
      const waits = outbox.all().find((other) => other.key === one.key);
      if (waits) outbox.put({ ...waits, conversation: id });
    }
    draft.set(id, draft.get("new"));
    draft.set("new", "");
    if (this.shown) {
      this.listen();
      navigate(`/c/${id}`, { replace: true });
    } else {
      this.leave();
    }
    tell(id);
    if (this.stopWanted) this.stop().catch(() => {});
  }

  // -- what the server has --------------------------------------------------------------------

  /** Load the newest turns; the same request again as long as news come while it runs. */
  async refresh() {
    if (this.refreshing) {
      this.refreshAgain = true;
      return;
    }
    this.refreshing = true;
    try {
      do {
        this.refreshAgain = false;
        await this.load(null);
      } while (this.refreshAgain);
    } catch (problem) {
      this.page.set((now) => ({ ...now, loading: false, problem: this.turns.get().length ? now.problem : problem }));
    } finally {
      this.refreshing = false;
    }
    this.pump();
  }

  /** Load the turns before the oldest that is known. */
  async older() {
    const { next, reaching } = this.page.get();
    if (next === null || reaching) return;
    this.page.set((now) => ({ ...now, reaching: true }));
    try {
      await this.load(next);
    } finally {
      this.page.set((now) => ({ ...now, reaching: false }));
    }
  }

  async load(before) {
    const path = `/conversations/${encodeURIComponent(this.id)}`;
    const first = this.page.get().loading;
    if (first && !conversations.get().some((one) => one.id === this.id)) {
      api.get(path).then((told) => merge([told], { over: false }), () => {});
    }
    const found = await api.get(`${path}/turns?limit=${PAGE}${before === null ? "" : `&before=${before}`}`);
    const known = new Set(this.turns.get().map((one) => one.get().id));
    // So much happened meanwhile that turns are missing in between: what is older is loaded again.
    const gap = !first && before === null && found.next !== null && !found.turns.some((info) => known.has(info.id));
    if (gap) this.drop((turn) => turn.seq !== null);
    this.adopt(found.turns);
    // A newer page alone says nothing of how far back the older ones go.
    const reach = first || gap || before !== null ? { next: found.next } : {};
    this.page.set((now) => ({ ...now, ...reach, loading: false, problem: null }));
  }

  adopt(infos) {
    const list = [...this.turns.get()];
    for (const info of infos) {
      const store = list.find((one) => one.get().id === info.id) ?? list.find((one) => this.isSame(one.get(), info));
      if (!store) list.push(createStore(stored(info)));
      // What the stream told is newer than a page that still calls the turn unfinished.
      else if (isOpen(store.get()) || !isOpen(stored(info))) store.set(updated(store.get(), info));
    }
    this.turns.set(ordered(list));
    this.settle();
  }

  /** Whether a message that was sent here is this turn: its id was not told yet. */
  isSame(turn, info) {
    return turn.id === null && isOpen(turn) && info.sender.own && turn.text.trim() === info.text.trim()
      && Date.parse(info.at) > Date.parse(turn.at) - 120_000;
  }

  // -- changes --------------------------------------------------------------------------------

  change(store, to) {
    const before = store.get();
    store.set(to(before));
    if (store.get().status !== before.status) this.settle();
  }

  drop(which) {
    const left = this.turns.get().filter((one) => !which(one.get(), one));
    if (left.length !== this.turns.get().length) this.turns.set(left);
    this.settle();
  }

  settle() {
    this.busy.set(this.turns.get().some((one) => isOpen(one.get())));
    this.pump();
  }
}

/** By the server's order; what has no place in it yet stays behind what it was written after. */
function ordered(list) {
  let place = -1;
  const placed = list.map((store, n) => {
    const { seq } = store.get();
    place = seq ?? place;
    return { store, place: seq ?? place + 0.5, n };
  });
  return placed.sort((a, b) => a.place - b.place || a.n - b.n).map((one) => one.store);
}
