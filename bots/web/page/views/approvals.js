// What waits for a human, the oldest first, and what became of earlier requests.
import { html, useEffect, useState } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { t, tn } from "../lib/i18n.js";
import { Icon } from "../lib/icons.js";
import { useLoaded } from "../lib/parts.js";
import { useStore } from "../lib/store.js";
import { waiting } from "../chat/changes.js";
import { visible } from "../markdown/code.js";
import { ViewHead } from "../shell/sidebar.js";
import { ApprovalCard, outcomeOf, statusNames } from "./approval-card.js";
import { Empty, More, Shown, useEvery } from "./parts.js";

const LOOK_MS = 5_000;
const FIRST = 20;
const MOST = 100;

export default function Approvals() {
  const [round, setRound] = useState(0);
  return html`<div class="view"><${ViewHead} title=${t("Approvals")} />
    <${Waiting} decided=${() => setRound((n) => n + 1)} />
    <${Earlier} round=${round} /></div>`;
}

/**
 * Cards that are settled meanwhile stay in their place until one leaves: a card that moved away
 * would put another one's buttons under the pointer.
 */
function Waiting({ decided }) {
  const [cards, setCards] = useState(null);
  const pending = useStore(waiting);
  const loaded = useLoaded(async (signal) => {
    const { approvals } = await api.get("/approvals?limit=100", { signal });
    const now = new Map(approvals.map((one) => [one.id, one]));
    const gone = (cards ?? []).filter((one) => one.status === "pending" && !now.has(one.id));
    const settled = await Promise.all(gone.map((one) => api.get(`/approvals/${one.id}`, { signal }).catch(() => one)));
    return { now, settled };
  }, [pending]);
  useEffect(() => {
    if (!loaded.value) return;
    const { now, settled } = loaded.value;
    const known = new Map([...now, ...settled.map((one) => [one.id, one])]);
    setCards((before) => {
      const kept = (before ?? []).map((one) => (one.status === "pending" ? known.get(one.id) ?? one : one));
      const there = new Set(kept.map((one) => one.id));
      return [...kept, ...[...now.values()].filter((one) => !there.has(one.id))];
    });
    if (settled.length > 0) decided();
  }, [loaded.value]);
  useEvery(LOOK_MS, loaded.again);
  const settle = (known) => {
    setCards((before) => before.map((one) => (one.id === known.id ? known : one)));
    decided();
  };
  return html`<section class="approvals" aria-labelledby="waiting-title"><h2 id="waiting-title">${t("Waiting for a decision")}</h2>
    <${Shown} of=${{ ...loaded, value: cards }}>${(list) => (list.length === 0
      ? html`<${Empty}>${t("Nothing waits. When the agent wants to do something risky, it asks here and in the chat.")}<//>`
      : list.map((one) => html`<${ApprovalCard} key=${one.id} approval=${one} onDecided=${settle} />`))}<//></section>`;
}

function Earlier({ round }) {
  const [status, setStatus] = useState("all");
  const [limit, setLimit] = useState(FIRST);
  const loaded = useLoaded((signal) => api.get(`/approvals?status=${status}&limit=${limit}`, { signal }), [status, limit, round]);
  if (loaded.problem?.status === 403) return null; // said above already
  const names = { ...statusNames(), all: t("All") };
  const choose = (event) => {
    setStatus(event.currentTarget.value);
    setLimit(FIRST);
  };
  return html`<section class="approvals"><div class="section-head"><h2>${t("Decided")}</h2>
      <label class="inline"><span>${t("Show")}</span><select value=${status} onChange=${choose}>
        ${["all", "approved", "denied", "expired", "void"].map((one) => html`<option value=${one} selected=${one === status}>${names[one]}</option>`)}</select></label></div>
    <${Shown} of=${loaded}>${({ approvals }) => {
      const settled = approvals.filter((one) => one.status !== "pending");
      return html`${settled.length === 0 ? html`<${Empty}>${t("There is nothing to show here yet.")}<//>` : html`<ul class="folded">${settled.map((one) => html`<${Settled} key=${one.id} approval=${one} />`)}</ul>`}
        ${approvals.length === limit && limit < MOST && html`<${More} run=${() => setLimit(Math.min(MOST, limit * 2))} />`}
        ${approvals.length === MOST && html`<p class="quiet">${t("Older ones are in the audit log.")}</p>`}`;
    }}<//></section>`;
}

/** The servers, where there are any, before what became of it. */
const whereOf = ({ servers }) => servers.length > 0 && html`<span>${servers.length === 1 ? servers[0] : tn("1 server", "{n} servers", servers.length)}</span>`;

/** Two lines; the whole card is drawn when it is opened. */
function Settled({ approval }) {
  const [open, setOpen] = useState(false);
  return html`<li class=${approval.status}><details onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary><code class="what">${visible(approval.action.split("\n", 1)[0])}</code>
      <span class="quiet outcome-line">${whereOf(approval)}${outcomeOf(approval)}</span><${Icon} name="down" size=${16} /></summary>
    ${open && html`<${ApprovalCard} approval=${approval} />`}</details></li>`;
}
