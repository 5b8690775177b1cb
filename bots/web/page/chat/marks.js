// Words that were searched for, marked where they are found.
import { html } from "../lib/dom.js";

/** The text as nodes: the whole query is marked where it stands, else each of its words. */
export function marked(text, query) {
  const words = [query, ...query.split(/\s+/u)].filter(Boolean).sort((a, b) => b.length - a.length);
  const pattern = new RegExp(`(${words.map(escaped).join("|")})`, "giu");
  return text.split(pattern).map((part, at) => (at % 2 ? html`<mark>${part}</mark>` : part));
}

const escaped = (word) => word.replace(/[.*+?^${}()|[\]\\/]/gu, "\\$&");
