// The conversations at the side: by date, with a search, and what can be done with each.
import { html, useCallback, useEffect, useRef, useState } from "../lib/dom.js";
import { dayGroup } from "../lib/format.js";
import { t, tn } from "../lib/i18n.js";
import { Icon } from "../lib/icons.js";
import { Button, Loading } from "../lib/parts.js";
import { announce } from "../lib/say.js";
import { useStore } from "../lib/store.js";
import { startChanges, unread } from "./changes.js";
import { useListing, useRested } from "./listing.js";
import { Row, RowMenu, removed, renamed } from "./row.js";

export function ConversationList({ path }) {
  const [typed, setTyped] = useState("");
  const query = useRested(typed.trim());
  const listing = useListing(query);
  const box = useRef(null);
  useEffect(startChanges, []);
  const { items, loading, problem } = listing;
  useEffect(() => {
    if (query && items && !loading) announce(tn("{n} conversation found", "{n} conversations found", items.length));
  }, [query, loading]);
  return html`<nav ref=${box} class="conversations" aria-label=${t("Conversations")} onKeyDown=${(event) => move(event, box.current)}>
    <${Search} typed=${typed} setTyped=${setTyped} />
    <div class="conversation-scroll">
      ${items && html`<${Rows} items=${items} query=${query} path=${path} box=${box} />`}
      ${items?.length === 0 && !loading && html`<p class="quiet">${query ? t("Nothing is found for “{query}”.", { query }) : t("What you ask is kept here.")}</p>`}
      <${Rest} listing=${listing} problem=${problem} />
    </div></nav>`;
}

function Search({ typed, setTyped }) {
  const clear = (event) => {
    if (event.key !== "Escape" || !typed || event.isComposing) return;
    // On a narrow screen Escape would close the whole column.
    event.stopPropagation();
    event.preventDefault();
    setTyped("");
  };
  return html`<search class="conversation-search"><label><span class="unseen">${t("Search the conversations")}</span>
    <${Icon} name="search" size=${16} />
    <input type="search" placeholder=${t("Search")} value=${typed} maxlength="200" autocomplete="off" spellcheck=${false}
      onInput=${(event) => setTyped(event.currentTarget.value)} onKeyDown=${clear} /></label></search>`;
}

/** All rows, under the dates they belong to; what was searched for has its date in the row. */
function Rows({ items, query, path, box }) {
  const news = useStore(unread);
  const [tab, setTab] = useState(null);
  const [renaming, setRenaming] = useState(null);
  const [menu, setMenu] = useState(null);
  const open = /^\/c\/([\w-]+)$/.exec(path)?.[1] ?? null;
  const inTab = [tab, open].find((id) => items.some((one) => one.id === id)) ?? items[0]?.id;
  const ask = useCallback((one, button) => setMenu({ one, button }), []);
  const end = useCallback(async (one, title) => {
    setRenaming(null);
    queueMicrotask(() => focusRow(box.current, one.id));
    if (title) await renamed(one, title);
  }, []);
  const remove = async (one) => {
    const next = neighbour(items, one.id);
    if (!(await removed(one, one.id === open))) return;
    if (one.id !== open) focusRow(box.current, next);
  };
  const row = (one) => html`<${Row} key=${one.id} one=${one} query=${query} here=${one.id === open} news=${news.has(one.id)}
    tab=${one.id === inTab} renaming=${renaming === one.id} focused=${setTab} menu=${ask} asked=${menu?.one.id === one.id} end=${end} />`;
  return html`${query
      ? html`<ul>${items.map(row)}</ul>`
      : grouped(items).map(({ name, members }) => html`<section key=${name} class="conversation-group"><h2>${name}</h2><ul>${members.map(row)}</ul></section>`)}
    ${menu && html`<${RowMenu} ...${menu} close=${() => setMenu(null)} rename=${() => setRenaming(menu.one.id)} remove=${remove} />`}`;
}

/** What is under the list: more of it, or why there is none. */
function Rest({ listing }) {
  const end = useRef(null);
  const more = useRef(null);
  more.current = listing.more;
  const { next, problem, loading, items } = listing;
  useEffect(() => {
    if (!next || problem || !end.current) return undefined;
    const near = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && more.current(),
      { root: end.current.parentElement, rootMargin: "300px" });
    near.observe(end.current);
    return () => near.disconnect();
  }, [next, problem]);
  if (problem || (loading && !items)) return html`<${Loading} of=${problem ? listing : {}} />`;
  return next && html`<div ref=${end} class="conversation-more"><${Button} kind="plain small" run=${listing.more} disabled=${loading}>${loading ? t("Loading ...") : t("Show older ones")}<//></div>`;
}

const groups = new WeakMap();

/** Items under their dates. The date of each is worked out once a day: it takes long for thousands. */
function grouped(items) {
  const now = new Date();
  const today = now.toDateString();
  const found = [];
  for (const one of items) {
    let known = groups.get(one);
    if (known?.today !== today) groups.set(one, (known = { today, name: dayGroup(one.updated_at, now) }));
    if (found.at(-1)?.name === known.name) found.at(-1).members.push(one);
    else found.push({ name: known.name, members: [one] });
  }
  return found;
}

const neighbour = (items, id) => {
  const at = items.findIndex((one) => one.id === id);
  return (items[at + 1] ?? items[at - 1])?.id;
};

function focusRow(box, id) {
  const link = id && box?.querySelector(`a[data-id="${CSS.escape(id)}"]`);
  (link || box?.querySelector("input[type=search]"))?.focus();
}

/** Arrows go from row to row, and from the search into the list and back. */
function move(event, box) {
  const step = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
  const field = event.target instanceof HTMLInputElement;
  if (!step || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (field && (event.target.type !== "search" || event.key !== "ArrowDown")) return;
  const links = [...box.querySelectorAll("a[data-id]")];
  const at = links.indexOf(event.target.closest("li")?.querySelector("a[data-id]"));
  const to = Math.min(links.length - 1, at + step);
  if (!links.length) return;
  event.preventDefault();
  if (to < 0 && step === -1) box.querySelector("input[type=search]").focus();
  else links[Math.max(0, to)].focus();
}
