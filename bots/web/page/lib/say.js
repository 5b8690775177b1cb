// What is said beside the content: to screen readers, and in short notes at the edge.
import { createStore } from "./store.js";

/** Let a screen reader say a sentence when it is done with what it reads. */
export function announce(sentence) {
  const region = document.getElementById("announcer");
  if (!region) return;
  region.textContent = "";
  // The same sentence twice is said twice only when the region was empty in between.
  setTimeout(() => { region.textContent = sentence; }, 50);
}

const NOTE_MS = 6_000;
let last = 0;

/** Notes that are shown now: {id, text, bad, action}. */
export const notes = createStore([]);

/** Show a note for some seconds. `action`: {label, run}. Bad news stays until it is closed. */
export function note(text, { bad = false, action = null } = {}) {
  last += 1;
  const id = last;
  notes.set((now) => [...now.filter((one) => one.text !== text), { id, text, bad, action }]);
  if (!bad) setTimeout(() => dismiss(id), NOTE_MS);
  return id;
}

export const dismiss = (id) => notes.set((now) => now.filter((one) => one.id !== id));

/** Show why something failed. */
export const failed = (problem) => {
  if (problem.name === "AbortError" || problem.status === 401) return;
  note(problem.detail ?? String(problem), { bad: true });
};
