// The audit log: who did what, filtered, in pages, each row with its details; export and head.
import { html, useState } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { Button, useLoaded } from "../lib/parts.js";
import { ViewHead } from "../shell/sidebar.js";
import { AuditRows } from "./audit-rows.js";
import { Empty, More, Shown, coded } from "./parts.js";

const NOTHING = { actor: "", action: "", since: "", until: "", server: "", level: "", turn: "" };
const DAY_MS = 86_400_000;

const kinds = () => ({
  "": t("Everything"),
  "tool.*": t("Tools"),
  "approval.*": t("Approvals"),
  "order.*": t("Standing orders"),
  "server.*": t("Servers"),
  "skill.*": t("Skills"),
  "user.*": t("People"),
  "identity.*": t("Chat accounts"),
  "session.*": t("Browsers"),
  "token.*": t("API tokens"),
  "agent_config.*": t("Engines and keys"),
  "tenant.*": t("The team"),
  "conversation.*": t("Shared conversations"),
  "handover.*": t("Handovers"),
  "subscription.*": t("Plan"),
  "invoice.*": t("Invoices"),
  "payment.*": t("Payments"),
});

/** The query of a filter. Days are the reader's own, both included. */
function queryOf(filter) {
  const query = new URLSearchParams();
  for (const name of ["actor", "action", "server", "level", "turn"]) {
    if (filter[name].trim()) query.set(name, filter[name].trim());
  }
  if (filter.since) query.set("since", new Date(`${filter.since}T00:00`).toISOString());
  if (filter.until) query.set("until", nextDay(filter.until));
  return query.toString();
}

/** The beginning of the day that follows; by the calendar, for days of 23 and 25 hours. */
function nextDay(day) {
  const at = new Date(`${day}T12:00`);
  const next = new Date(at.getTime() + DAY_MS);
  return new Date(next.getFullYear(), next.getMonth(), next.getDate()).toISOString();
}

export default function Audit() {
  const [filter, setFilter] = useState(NOTHING);
  const people = useLoaded((signal) => api.get("/users", { signal }).catch(() => ({ users: [] })), []);
  const users = people.value?.users ?? [];
  const query = queryOf(filter);
  const first = useLoaded((signal) => api.get(`/audit?${query}`, { signal }), [query]);
  if (first.problem?.status === 403) return html`<div class="view"><${ViewHead} title=${t("Audit log")} /><${Shown} of=${first} /></div>`;
  return html`<div class="view wide-view"><${ViewHead} title=${t("Audit log")}>
      <a class="button" href=${`/api/v1/audit/export?${query}`} download="it0-audit.jsonl">${t("Export")}<span class="unseen"> (${t("JSON lines")})</span></a><//>
    <${Filter} filter=${filter} set=${setFilter} users=${users} />
    <${Log} query=${query} first=${first} users=${users} narrow=${(wanted) => setFilter({ ...NOTHING, ...wanted })} />
    <${Head} /></div>`;
}

function Filter({ filter, set, users }) {
  const field = (name) => (event) => set({ ...filter, [name]: event.currentTarget.value });
  const options = (entries, chosen) => entries.map(([value, name]) => html`<option value=${value} selected=${value === chosen}>${name}</option>`);
  const known = kinds();
  const actions = Object.entries(known);
  if (!(filter.action in known)) actions.push([filter.action, filter.action]);
  const people = [["", t("Everybody")], ["system", t("IT0 itself")], ...users.map((user) => [user.id, user.name || user.email])];
  if (!people.some(([id]) => id === filter.actor)) people.push([filter.actor, filter.actor]);
  return html`<form class="filters" role="search" aria-label=${t("Filter")} onSubmit=${(event) => event.preventDefault()}>
    <label><span>${t("Who")}</span><select onChange=${field("actor")}>${options(people, filter.actor)}</select></label>
    <label><span>${t("What")}</span><select onChange=${field("action")}>${options(actions, filter.action)}</select></label>
    <label><span>${t("From day")}</span><input type="date" value=${filter.since} max=${filter.until} onInput=${field("since")} /></label>
    <label><span>${t("To day")}</span><input type="date" value=${filter.until} min=${filter.since} onInput=${field("until")} /></label>
    <label><span>${t("Server")}</span><input type="text" maxlength="200" autocomplete="off" value=${filter.server} onChange=${field("server")} /></label>
    <label><span>${t("Level")}</span><select onChange=${field("level")}>${options([["", t("All")], ...["L0", "L1", "L2", "L3"].map((one) => [one, one])], filter.level)}</select></label>
    ${filter.turn && html`<p class="quiet">${t("Only the turn {id}", { id: filter.turn })}</p>`}
    ${queryOf(filter) && html`<${Button} kind="plain" run=${() => set(NOTHING)}>${t("Show everything")}<//>`}</form>`;
}

function Log({ query, first, users, narrow }) {
  const [further, setFurther] = useState({ of: null, entries: [], next: null });
  // Pages that follow belong to the first one they were asked after.
  const mine = further.of === first.value ? further : null;
  const more = async (cursor) => {
    const of = first.value;
    const page = await api.get(`/audit?${query}${query && "&"}cursor=${cursor}`);
    setFurther({ of, entries: [...(mine?.entries ?? []), ...page.entries], next: page.next_cursor });
  };
  return html`<section aria-label=${t("Audit log")} aria-busy=${first.loading ? "true" : undefined}><${Shown} of=${first}>${(value) => {
    const entries = [...value.entries, ...(mine?.entries ?? [])];
    const next = mine ? mine.next : value.next_cursor;
    return entries.length === 0
      ? html`<${Empty}>${t("Nothing in the log fits.")}<//>`
      : html`<${AuditRows} entries=${entries} users=${users} narrow=${narrow} />${next && html`<${More} run=${() => more(next)} />`}`;
  }}<//></section>`;
}

/** The end of the chain: kept elsewhere, it shows later whether rows were cut off. */
function Head() {
  const [head, setHead] = useState(null);
  const show = async () => setHead(JSON.stringify(await api.get("/audit/head")));
  return html`<section class="panel"><h2>${t("Head of the chain")}</h2>
    <p class="quiet">${coded(t("Each row is sealed with the one before it. Keep the head where the operator of IT0 cannot change it: `it0 audit verify --head` then shows whether rows were cut off."))}</p>
    ${head && html`<${HeadText} text=${head} />`}
    <footer><${Button} run=${show}>${head ? t("Show the newest") : t("Show the head")}<//>
      <a class="button" href="/api/v1/audit/head" download="it0-audit-head.json">${t("Download it")}</a></footer></section>`;
}

const HeadText = ({ text }) => html`<pre class="exact-text"><code>${text}</code></pre>`;
