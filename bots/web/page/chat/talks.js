// The conversations that are in use on this page, each once.
import { session } from "../lib/api.js";
import { newKey } from "./outbox.js";
import { Talk } from "./talk.js";

/** So many stay in memory, to be there at once when somebody comes back to them. */
const KEPT = 8;

let talks = new Map();
let fresh = null;
let owner = null;

/** The conversation with this id, or the one that is begun now. The same object as long as it is in use. */
export function talkOf(id) {
  forgetOthers();
  if (!id) {
    fresh ??= new Talk(null, newKey(), begun);
    return fresh;
  }
  const talk = talks.get(id) ?? new Talk(id, id, begun);
  talks.delete(id);
  talks.set(id, talk);
  for (const [old, one] of talks) if (talks.size > KEPT && one.idle) talks.delete(old);
  return talk;
}

/** A new conversation has its id; the next new one is another. */
function begun(talk) {
  if (fresh === talk) fresh = null;
  talks.set(talk.id, talk);
}

/** Whoever signs in after somebody else begins with nothing. */
function forgetOthers() {
  const me = session.get()?.user?.id ?? null;
  if (me === owner) return;
  for (const talk of [...talks.values(), fresh]) talk?.end();
  [talks, fresh, owner] = [new Map(), null, me];
}

/** Whether files are on their way that a reload would lose. */
export const losesFiles = () =>
  [...talks.values(), fresh].some((talk) => talk?.delivery.waiting.some((one) => one.body.attachments.length > 0));
