// Messages of one conversation on their way to the server: each arrives once, in the order they were written.
import { createStore } from "../lib/store.js";
import { tell } from "./changes.js";
import { newKey, outbox } from "./outbox.js";
import { connection, follow, withFrame } from "./stream.js";
import { refused, written } from "./turns.js";

export class Delivery {
  constructor(talk) {
    this.talk = talk;
    /** What the server has not confirmed, in order: {key, body, store, source, stop}. */
    this.waiting = [];
    this.going = false;
    /** What goes back to where it was written: {key, text, files, lost}. */
    this.returned = createStore(null);
  }

  /** Send a message. `files`: [{name, media_type, data}]; `engine`: one that is named, or "". */
  send({ text, files = [], engine = "" }) {
    const { talk } = this;
    // What was given back is sent anew by this; its failed message is in the way then.
    talk.drop((turn) => turn.status === "unsent" && turn.key === this.restored);
    const message = { key: newKey(), conversation: talk.id, text, engine, at: new Date().toISOString(), files: files.length };
    outbox.put(message);
    this.enqueue(message, files);
    if (talk.id) tell(talk.id);
  }

  /** Messages that a reload interrupted. Files do not survive it: such a message goes back. */
  restore() {
    const known = new Set(this.talk.turns.get().map((one) => one.get().key));
    for (const one of outbox.of(this.talk.id)) {
      if (known.has(one.key)) continue;
      if (one.files > 0) {
        outbox.take(one.key);
        this.returned.set({ key: one.key, text: one.text, files: [], lost: one.files });
      } else {
        this.enqueue(one, []);
      }
    }
  }

  enqueue({ key, text, engine, at }, attachments) {
    const store = createStore(written({ key, text, engine, at, files: attachments }));
    const body = { text, attachments, ...(engine && { engine }) };
    this.waiting.push({ key, body, store, stop: new AbortController() });
    this.talk.add(store);
    this.deliver();
  }

  /** One after the other; what comes behind waits until the one before has arrived. */
  async deliver() {
    if (this.going) return;
    this.going = true;
    while (this.waiting.length > 0) {
      const one = this.waiting[0];
      await this.post(one);
      this.waiting = this.waiting.filter((other) => other !== one);
    }
    this.going = false;
    this.talk.pump();
  }

  /** Resolves when the server has it, and told the id of a new conversation; or when it never will. */
  post(one) {
    const { talk } = this;
    const conversation = talk.id ? { conversation_id: talk.id } : {};
    one.source = { turn: null, last: null, key: one.key, body: { ...one.body, ...conversation }, accepted: false };
    talk.sources.set(one.store, one.source);
    talk.reading ??= one;
    return new Promise((resolve) => {
      const heard = {
        accepted: () => {
          if (!talk.id) return;
          resolve();
          this.accepted(one);
        },
        event: (told) => withFrame(() => {
          talk.take(one.store, told);
          if (talk.id) resolve();
        }),
      };
      follow(one.source, heard, one.stop.signal)
        .catch((problem) => this.refuse(one, problem))
        .finally(() => withFrame(() => {
          resolve();
          talk.release(one);
        }));
    });
  }

  /** The server has it. Where nobody looks, or another answer is read, this one's is read later. */
  accepted(one) {
    const { talk } = this;
    outbox.take(one.key);
    talk.change(one.store, (turn) => (turn.status === "sending" ? { ...turn, status: "queued" } : turn));
    if (talk.reading === one && talk.shown) return;
    one.stop.abort();
    if (talk.shown) talk.refresh();
  }

  refuse(one, problem) {
    // Who was signed out sends it when they are in again.
    if (one.stop.signal.aborted || problem.status === 401) return;
    outbox.take(one.key);
    if (problem.status === 429) {
      this.talk.change(one.store, (turn) => refused(turn, problem));
      return;
    }
    this.talk.change(one.store, (turn) => ({ ...turn, status: "unsent", problem }));
    this.returned.set({ key: one.key, text: one.body.text, files: one.body.attachments });
  }

  /** Send what was not sent once more. */
  again(store) {
    const { key, text, files, asked } = store.get();
    this.talk.drop((turn) => turn.key === key);
    this.send({ text, files, engine: asked });
  }

  /** What has not left goes back to where it was written. */
  takeBack() {
    if (connection.get() !== "lost") return;
    for (const one of this.waiting.filter((each) => !each.source?.accepted)) {
      one.stop.abort();
      outbox.take(one.key);
      this.waiting = this.waiting.filter((other) => other !== one);
      this.talk.drop((turn) => turn.key === one.key);
      this.returned.set({ key: one.key, text: one.body.text, files: one.body.attachments });
    }
  }

  /** The new conversation has its id: what waits behind its first message belongs to it. */
  moved(id) {
    const kept = new Map(outbox.all().map((one) => [one.key, one]));
    for (const { key } of this.waiting) if (kept.has(key)) outbox.put({ ...kept.get(key), conversation: id });
  }
}
