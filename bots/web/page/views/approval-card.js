// The card of an approval: exactly what will run, why, until when, and the two answers to it.
//
// Drawn in the chat and in the list of approvals. Everything in it came from a model, a tool or a
// person, so it is text, and characters that are not drawn or turn the order round are written out.
import { classes, html, useEffect, useLayoutEffect, useRef, useState } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { moment } from "../lib/format.js";
import { t, tag, tn } from "../lib/i18n.js";
import { Button, useAlive } from "../lib/parts.js";
import { announce } from "../lib/say.js";
import { visible } from "../markdown/code.js";

const MOST_COMMENT = 1_000;
/** How often, and after which pause, a card past its time asks what became of it. */
const ASKS = 5;
const PAUSE_MS = 2_000;

const STATUS_KIND = { pending: "warn", approved: "good", denied: "bad", expired: "", void: "" };

export const statusNames = () => ({
  pending: t("Waiting"),
  approved: t("Approved"),
  denied: t("Denied"),
  expired: t("Expired"),
  void: t("No longer needed"),
});

export const StatusTag = ({ status }) =>
  html`<span class=${classes("tag", STATUS_KIND[status])}>${statusNames()[status] ?? status}</span>`;

/** What is asked, in a few words: the tool, and where. */
export function whatOf(approval) {
  const { tool, servers } = approval;
  if (servers.length === 0) return tool;
  if (servers.length === 1) return t("{tool} on {server}", { tool, server: servers[0] });
  return tn("{tool} on 1 server", "{tool} on {n} servers", servers.length, { tool });
}

/** Who decided, and how. */
export function outcomeOf(approval) {
  const values = { who: approval.decided_by, when: approval.decided_at ? moment(approval.decided_at) : "" };
  switch (approval.status) {
    case "approved":
      return approval.decided_where === "timeout"
        ? t("Approved because nobody decided in time, {when}", values)
        : t("Approved by {who}, {when}", values);
    case "denied":
      return t("Denied by {who}, {when}", values);
    case "expired":
      return t("Not approved: nobody decided in time");
    case "void":
      return t("No longer needed: the turn ended, or what would run changed");
    default:
      return t("Waiting for a decision");
  }
}

/**
 * `approval` is an answer of GET /approvals/{id}; `onDecided` is told what became of it.
 * Who may not decide (`may` false) sees the same card without the answers to it.
 */
export function ApprovalCard({ approval, onDecided, may = true }) {
  const [own, setOwn] = useState(null);
  const shown = approval.status === "pending" && own ? own : approval;
  const here = useRef(false);
  const outcome = useRef(null);
  const settle = (known, byReader = false) => {
    here.current = byReader;
    setOwn(known);
    if (known.status === "pending") return;
    announce(outcomeOf(known));
    onDecided?.(known);
  };
  // The buttons are gone after a decision; the focus goes to what it led to.
  useLayoutEffect(() => { if (here.current) outcome.current?.focus(); }, [shown.status]);
  const waits = shown.status === "pending";
  const heading = `approval-${shown.id}`;
  return html`<article class=${classes("approval", shown.status)} aria-labelledby=${heading}>
    <header><h3 id=${heading}>${whatOf(shown)}</h3>
      <span class="tag" title=${levelText(shown.level)}>${shown.level}<span class="unseen">: ${levelText(shown.level)}</span></span>
      ${waits ? html`<${Deadline} approval=${shown} over=${may ? settle : null} />` : html`<${StatusTag} status=${shown.status} />`}</header>
    <${Exact} text=${shown.action} label=${t("Exactly this will run")} />
    ${shown.steps.length > 0 && html`<${Steps} steps=${shown.steps} />`}
    <${Facts} approval=${shown} />
    ${shown.change && html`<${Change} text=${shown.change} />`}
    ${waits && !may && html`<p class="outcome">${t("An operator or admin of your team decides.")}</p>`}
    ${waits && may && html`<${Decide} approval=${shown} settle=${settle} />`}
    ${!waits && html`<${Outcome} approval=${shown} place=${outcome} />`}
  </article>`;
}

const levelText = (level) =>
  ({
    L0: t("only reads"),
    L1: t("changes little and is undone easily"),
    L2: t("disruptive, or hard to undo"),
    L3: t("forbidden"),
  })[level] ?? level;

/** Text as it is, in the order in which it is stored. */
const Exact = ({ text, label }) =>
  html`<figure class="exact"><figcaption>${label}</figcaption><pre dir="ltr"><code>${visible(text)}</code></pre></figure>`;

const Steps = ({ steps }) => html`<div class="plan-steps"><p class="quiet">${t("Its steps, each of which is checked again before it runs")}</p>
  <ol>${steps.map((step, n) => html`<li key=${n}><pre class="exact-text" dir="ltr"><code>${visible(step)}</code></pre></li>`)}</ol></div>`;

function Facts({ approval }) {
  const asked = approval.unattended
    ? t("A standing order of {who}", { who: approval.asked_by })
    : approval.asked_by;
  const rows = [
    [t("Servers"), approval.servers.join(", ")],
    [t("Risk"), approval.risks.join("; ")],
    [t("Reason given"), approval.why],
    [t("To undo it"), approval.undo],
    [t("Asked by"), html`${asked}${approval.asked && html`: <q>${visible(approval.asked)}</q>`}`],
    [t("Who decides"), approval.four_eyes ? t("Four eyes: an operator or admin other than {who}", { who: approval.asked_by }) : ""],
  ].filter(([, value]) => value);
  return html`<dl class="facts">${rows.map(([name, value]) => html`<dt key=${name}>${name}</dt>
    <dd>${typeof value === "string" ? visible(value) : value}</dd>`)}</dl>`;
}

function Change({ text }) {
  const lines = text.replace(/\n$/, "").split("\n");
  return html`<details class="change" open>
    <summary>${tn("What would change, 1 line", "What would change, {n} lines", lines.length)}</summary>
    <div class="diff" role="region" tabindex="0" aria-label=${t("What would change")}><pre dir="ltr">${lines.map((line, n) =>
      html`<span key=${n} class=${classes("diff-line", sideOf(line))}>${visible(line)}${"\n"}</span>`)}</pre></div></details>`;
}

function sideOf(line) {
  if (/^(?:\+\+\+|---) /.test(line)) return "file";
  if (line.startsWith("+")) return "added";
  if (line.startsWith("-")) return "removed";
  return line.startsWith("@@") ? "place" : "";
}

/** How long is left; at the end it asks what the missing answer meant. */
function Deadline({ approval, over }) {
  const left = useSeconds(approval.expires_at);
  const alive = useAlive();
  const ask = async () => {
    for (let n = 0; n < ASKS && alive.current; n += 1) {
      const known = await api.get(`/approvals/${approval.id}`).catch(() => approval);
      if (known.status !== "pending") return alive.current && over(known);
      await new Promise((done) => setTimeout(done, PAUSE_MS));
    }
    return undefined;
  };
  useEffect(() => { if (left === 0 && over) ask(); }, [left === 0]);
  const then = approval.on_timeout === "approve" ? t("then it counts as approved") : t("then it is not run");
  return html`<span class=${classes("deadline", left < 30 && "short")} role="timer">
    <time datetime=${approval.expires_at} title=${moment(approval.expires_at)}>${left > 0 ? t("{time} left", { time: duration(left) }) : t("Time is over")}</time>, ${then}</span>`;
}

/** Whole seconds until then, counted down; never below 0. */
function useSeconds(iso) {
  const end = new Date(iso).getTime();
  const count = () => Math.max(0, Math.ceil((end - Date.now()) / 1000));
  const [left, setLeft] = useState(count);
  useEffect(() => {
    const tick = setInterval(() => setLeft(count()), 1_000);
    return () => clearInterval(tick);
  }, [iso]);
  return left;
}

export function duration(seconds) {
  const [unit, length] = seconds < 120 ? ["second", 1] : seconds < 7_200 ? ["minute", 60] : ["hour", 3_600];
  return new Intl.NumberFormat(tag(), { style: "unit", unit, unitDisplay: "long" }).format(Math.floor(seconds / length));
}

function Decide({ approval, settle }) {
  const [comment, setComment] = useState("");
  const [sending, setSending] = useState("");
  const [problem, setProblem] = useState("");
  const alive = useAlive();
  const decide = async (decision) => {
    setSending(decision);
    setProblem("");
    try {
      settle(await api.post(`/approvals/${approval.id}/decision`, { decision, comment: comment.trim() }), true);
    } catch (refused) {
      if (!alive.current) return;
      setProblem(refused.detail);
      // Somebody was faster, or the time is over: the card says what counts.
      if ([409, 410].includes(refused.status)) {
        await api.get(`/approvals/${approval.id}`).then((known) => settle(known, true), () => {});
      }
    } finally {
      if (alive.current) setSending("");
    }
  };
  return html`<div class="decide">
    ${problem && html`<p class="notice bad" role="alert">${problem}</p>`}
    <label><span>${t("Comment; the agent reads it when you deny")}</span>
      <input type="text" maxlength=${MOST_COMMENT} value=${comment} autocomplete="off" onInput=${(event) => setComment(event.currentTarget.value)} /></label>
    ${!approval.may_approve && html`<p class="quiet">${t("You asked for it, so somebody else approves it. You may deny it.")}</p>`}
    <div class="answers">${approval.may_approve && html`<${Button} kind="main" icon="check" disabled=${sending === "deny"} run=${() => decide("approve")}>${t("Approve")}<//>`}
      <${Button} kind="deny" icon="close" disabled=${sending === "approve"} run=${() => decide("deny")}>${t("Deny")}<//></div></div>`;
}

const Outcome = ({ approval, place }) => html`<p class="outcome" tabindex="-1" ref=${place}><strong>${outcomeOf(approval)}</strong>
  ${approval.comment && html`<q>${visible(approval.comment)}</q>`}</p>`;
