// One conversation on this page: its turns, and the one stream that is read.
//
// Each turn is a store of its own, so a word that arrives draws its answer again and nothing else.
import { api } from "../lib/api.js";
import { navigate } from "../lib/router.js";
import { createStore } from "../lib/store.js";
import { conversations, merge, onChange, tell } from "./changes.js";
import { Delivery } from "./delivery.js";
import { draft, newKey, outbox } from "./outbox.js";
import { follow, withFrame } from "./stream.js";
import { after, isOpen, ordered, stored, updated } from "./turns.js";

const PAGE = 30;
/** A clock of this machine may differ so much from the server's. */
const CLOCKS_MS = 120_000;

export class Talk {
  /** `id`: null for one that is begun now; `begun` is told when the server gave it one. */
  constructor(id, key, begun) {
    this.id = id;
    this.key = key;
    this.begun = begun;
    /** Stores of turns, oldest first. */
    this.turns = createStore([]);
    this.page = createStore({ loading: Boolean(id), reaching: false, problem: null, next: null });
    /** Whether something of it is unfinished. */
    this.busy = createStore(false);
    this.delivery = new Delivery(this);
    this.shown = false;
    /** What is read now: {store, stop}. */
    this.reading = null;
    /** How the stream of a turn goes on, by the turn's store. */
    this.sources = new WeakMap();
    this.stopWanted = false;
  }

  get idle() {
    return !this.shown && this.delivery.waiting.length === 0;
  }

  /** Somebody looks at it now. */
  show() {
    this.shown = true;
    if (this.id) {
      this.listen();
      this.refresh();
    }
    this.delivery.restore();
    this.pump();
  }

  /** Nobody looks any more: its stream is given back; what is unsent is still sent. */
  hide() {
    this.shown = false;
    this.unlisten?.();
    this.unlisten = null;
    if (this.reading && this.id && this.sources.get(this.reading.store)?.accepted) this.leave();
  }

  /** Everything ends, as somebody else is here now. */
  end() {
    this.hide();
    this.leave();
    for (const one of this.delivery.waiting) one.stop.abort();
  }

  leave() {
    this.reading?.stop.abort();
    this.reading = null;
  }

  listen() {
    this.unlisten?.();
    this.unlisten = onChange(this.id, (change) => {
      if (change.deleted) this.page.set((now) => ({ ...now, problem: { gone: true } }));
      else if (!this.isNoNews(change)) this.refresh();
    });
  }

  /** Whether the stream that is read tells all of it already: no turn came to those that are known. */
  isNoNews({ state, turns }) {
    const same = turns !== undefined && turns === this.told;
    this.told = turns;
    return same && state === "running" && this.reading !== null;
  }

  send(message) {
    this.delivery.send(message);
  }

  /** End what is being answered. */
  async stop() {
    this.delivery.takeBack();
    this.stopWanted = !this.id && this.busy.get();
    if (!this.id || !this.busy.get()) return;
    const headers = { "Idempotency-Key": newKey() };
    await api.post("/agent/turns", { text: "/stop", conversation_id: this.id }, { headers });
    this.refresh();
  }

  // -- what is read ---------------------------------------------------------------------------

  /** Read the first unfinished turn: one stream at a time. */
  pump() {
    if (!this.shown || this.reading || this.delivery.going) return;
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
      .finally(() => withFrame(() => this.release(one)));
  }

  /** A stream is over, however it ended. */
  release(one) {
    if (this.reading === one) this.reading = null;
    this.settle();
  }

  take(store, told) {
    if (!isOpen(store.get())) return;
    this.change(store, (turn) => after(turn, told));
    const { conversation_id: id, turn_id: turnId } = told.data;
    if (turnId) this.drop((turn, other) => turn.id === turnId && other !== store);
    if (id) this.know(id, store);
    if (told.name !== "completed") return;
    outbox.take(store.get().key);
    if (this.id) tell(this.id);
  }

  /** The server told which conversation a new one is. The page stays as it is; its address changes. */
  know(id, store) {
    outbox.take(store.get().key);
    if (this.id) return;
    this.id = id;
    this.begun(this);
    this.delivery.moved(id);
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
      && Date.parse(info.at) > Date.parse(turn.at) - CLOCKS_MS;
  }

  // -- changes --------------------------------------------------------------------------------

  change(store, to) {
    const before = store.get();
    store.set(to(before));
    if (store.get().status !== before.status) this.settle();
  }

  add(store) {
    this.turns.set((now) => [...now, store]);
    this.settle();
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
