// A value that can be watched. State that several parts of the page share lives in one of these.
import { useEffect, useRef, useState } from "./dom.js";

/**
 * @template T
 * @param {T} initial
 * @returns {{get: () => T, set: (next: T | ((now: T) => T)) => void, watch: (seen: (now: T) => void) => () => void}}
 */
export function createStore(initial) {
  let value = initial;
  const watchers = new Set();
  return {
    get: () => value,
    set(next) {
      const changed = typeof next === "function" ? next(value) : next;
      if (Object.is(changed, value)) return;
      value = changed;
      for (const seen of [...watchers]) seen(value);
    },
    watch(seen) {
      watchers.add(seen);
      return () => watchers.delete(seen);
    },
  };
}

const whole = (value) => value;

/** The store's value, or what `pick` takes of it; draws again only when that changes. */
export function useStore(store, pick = whole) {
  const [, draw] = useState(0);
  const picked = pick(store.get());
  const shown = useRef();
  shown.current = { pick, picked };
  useEffect(() => {
    const look = () => {
      const { pick: latest, picked: drawn } = shown.current;
      if (!Object.is(latest(store.get()), drawn)) draw((n) => n + 1);
    };
    look(); // it may have changed between the drawing and now
    return store.watch(look);
  }, [store]);
  return picked;
}

/** What is remembered in this browser; where storage is switched off, for this visit alone. */
export const remembered = {
  get(key) {
    try {
      return localStorage.getItem(`it0.${key}`);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      if (value === null) localStorage.removeItem(`it0.${key}`);
      else localStorage.setItem(`it0.${key}`, value);
    } catch {
      // Switched off or full: nothing that the server does not know is lost.
    }
  },
};
