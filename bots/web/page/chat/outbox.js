// What was written and is not the server's yet: drafts and unsent messages, kept over a reload of the tab.
import { session } from "../lib/api.js";

/** Whoever signs in after somebody else in the same tab sees nothing of theirs. */
const mine = (name) => `it0.${session.get()?.user?.id}.${name}`;

/** A key under which the server carries a request out once. */
export const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

function kept(name) {
  try {
    return sessionStorage.getItem(mine(name));
  } catch {
    return null;
  }
}

function keep(name, value) {
  try {
    if (value) sessionStorage.setItem(mine(name), value);
    else sessionStorage.removeItem(mine(name));
  } catch {
    // Switched off or full: what is written is kept as long as the page is open.
  }
}

/** What somebody began to write; `where` is a conversation's id, or "new". */
export const draft = {
  get: (where) => kept(`draft.${where}`) ?? "",
  set: (where, text) => keep(`draft.${where}`, text),
};

/** Messages that the server has not confirmed: {key, conversation, text, engine, at, files: how many}. */
export const outbox = {
  all() {
    try {
      const found = JSON.parse(kept("outbox") ?? "[]");
      return Array.isArray(found) ? found : [];
    } catch {
      return [];
    }
  },
  put(message) {
    keep("outbox", JSON.stringify([...outbox.all().filter((one) => one.key !== message.key), message]));
  },
  take(key) {
    const left = outbox.all().filter((one) => one.key !== key);
    keep("outbox", left.length ? JSON.stringify(left) : null);
  },
  of: (conversation) => outbox.all().filter((one) => one.conversation === conversation),
};
