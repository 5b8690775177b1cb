// The pages of the list of conversations, and of what a search finds.
import { useEffect, useMemo, useRef, useState } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { useStore } from "../lib/store.js";
import { conversations, deleted, merge, round } from "./changes.js";

const PAGE = 50;
const TYPING_MS = 250;
const FRESH = { items: null, next: null, problem: null, loading: true };

/** What was typed, once the typing rests; nothing typed counts at once. */
export function useRested(text) {
  const [rested, setRested] = useState(text);
  useEffect(() => {
    if (!text) {
      setRested("");
      return undefined;
    }
    const timer = setTimeout(() => setRested(text), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]);
  return text ? rested : "";
}

/**
 * The conversations that fit a query, "" for all: {items, next, problem, loading, more, again}.
 * `items` is null until the first page is there. Titles and states are as the news tell them.
 */
export function useListing(query) {
  const start = useStore(round);
  const known = useStore(conversations);
  const gone = useStore(deleted);
  const [state, setState] = useState(FRESH);
  const under = useRef(null);
  const load = async (before, count = 0) => {
    under.current?.abort();
    const asking = new AbortController();
    under.current = asking;
    setState((now) => (before ? { ...now, problem: null, loading: true } : { ...FRESH, items: query ? null : now.items }));
    try {
      const page = await api.get(pathOf(query, before), { signal: asking.signal });
      if (asking.signal.aborted) return;
      if (!query) merge(page.conversations, { over: !before });
      // A search looks for a moment at a time: what was found is shown, and it goes on.
      const onward = query && page.next && count + page.conversations.length < PAGE;
      setState((now) => ({ items: [...(before ? now.items : []), ...page.conversations], next: page.next ?? null, problem: null, loading: Boolean(onward) }));
      if (onward) load(page.next, count + page.conversations.length);
    } catch (problem) {
      if (!asking.signal.aborted) setState((now) => ({ ...now, problem, loading: false }));
    }
  };
  useEffect(() => {
    if (start) load(null);
    return () => under.current?.abort();
  }, [query, start]);
  const items = useMemo(() => (query ? found(state.items, known, gone) : state.items && known), [query, state.items, known, gone]);
  return {
    ...state,
    items: items ?? (query || !known.length ? null : known),
    more: () => !state.loading && state.next && load(state.next),
    again: () => load(state.items ? state.next : null),
  };
}

function pathOf(query, before) {
  const asked = new URLSearchParams({ limit: PAGE });
  if (query) asked.set("query", query);
  if (before) asked.set("before", before);
  return `/conversations?${asked}`;
}

/** What was found, with the newest that is known of each, without those deleted since. */
function found(items, known, gone) {
  if (!items) return null;
  const newest = new Map(known.map((one) => [one.id, one]));
  return items.filter((one) => !gone.has(one.id)).map((one) => {
    const now = newest.get(one.id);
    return now ? { ...now, excerpt: one.excerpt } : one;
  });
}
