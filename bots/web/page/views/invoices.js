// The team's invoices: a list, and each with its lines, what is behind them, and how to pay it.
import { html, useState } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { moment } from "../lib/format.js";
import { number, t } from "../lib/i18n.js";
import { Button, Dialog, useLoaded } from "../lib/parts.js";
import { failed } from "../lib/say.js";
import { Lines } from "./invoice-lines.js";
import { Pay, methodName, paymentName, pdfOf } from "./invoice-pay.js";
import { dayUtc, money, span } from "./money.js";
import { Empty, More, Shown, Table } from "./parts.js";

const statuses = () => ({
  draft: [t("Draft"), ""],
  open: [t("Open"), "warn"],
  paid: [t("Paid"), "good"],
  void: [t("Void"), ""],
  uncollectible: [t("Written off"), ""],
});

function InvoiceStatus({ invoice }) {
  const [word, kind] = statuses()[invoice.status] ?? [invoice.status, ""];
  return html`<span class=${`tag ${kind}`}>${word}</span>`;
}

const nameOf = (invoice) => invoice.number ?? t("Draft");

export function Invoices({ round, changed }) {
  const [opened, setOpened] = useState(null);
  const [further, setFurther] = useState({ of: null, invoices: [], next: null });
  const first = useLoaded((signal) => api.get("/billing/invoices", { signal }), [round]);
  // Pages that follow belong to the first one they were asked after.
  const mine = further.of === first.value ? further : null;
  const more = async (next) => {
    const page = await api.get(`/billing/invoices?cursor=${encodeURIComponent(next)}`);
    setFurther({ of: first.value, invoices: [...(mine?.invoices ?? []), ...page.invoices], next: page.next_cursor });
  };
  return html`<section class="panel"><h2>${t("Invoices")}</h2>
    <${Shown} of=${first}>${(value) => {
      const rows = [...value.invoices, ...(mine?.invoices ?? [])];
      const next = mine ? mine.next : value.next_cursor;
      return rows.length === 0
        ? html`<${Empty}>${t("There are no invoices yet.")}<//>`
        : html`<${Rows} rows=${rows} open=${setOpened} />${next && html`<${More} run=${() => more(next)} />`}`;
    }}<//>
    ${opened && html`<${Invoice} id=${opened.id} name=${nameOf(opened)} close=${() => { setOpened(null); changed(); }} />`}</section>`;
}

const Rows = ({ rows, open }) => html`<${Table} caption=${t("Invoices")} rows=${rows} id=${(invoice) => invoice.id} columns=${[
  { label: t("Number"), head: true, cell: (invoice) => html`<${Button} kind="link" run=${() => open(invoice)}>${nameOf(invoice)}<//>` },
  { label: t("Period"), cell: (invoice) => span(invoice.period_start, invoice.period_end) },
  { label: t("Status"), cell: (invoice) => html`<${InvoiceStatus} invoice=${invoice} />` },
  { label: t("Due by"), cell: (invoice) => (invoice.due_at && invoice.due.amount > 0 ? dayUtc(invoice.due_at) : "–") },
  { label: t("Total"), end: true, cell: (invoice) => money(invoice.total) },
]} />`;

function Invoice({ id, name, close }) {
  const loaded = useLoaded((signal) => api.get(`/billing/invoices/${id}`, { signal }), []);
  return html`<${Dialog} title=${t("Invoice {number}", { number: name })} close=${close} kind="wide-dialog">
    <${Shown} of=${loaded}>${(invoice) => html`<${Details} invoice=${invoice} />`}<//><//>`;
}

function Details({ invoice }) {
  const [line, setLine] = useState(null);
  const unpaid = invoice.status === "open" && invoice.due.amount > 0;
  return html`<div class="invoice-head"><${InvoiceStatus} invoice=${invoice} />
      <span class="quiet">${span(invoice.period_start, invoice.period_end)}</span>
      ${invoice.status !== "draft" && html`<a class="button small" href=${pdfOf(invoice)} target="_blank" rel="noopener">${t("PDF")}<span class="unseen"> (${t("opens in a new tab")})</span></a>`}</div>
    <${Lines} lines=${invoice.lines} caption=${t("Lines of the invoice")} explain=${setLine} />
    ${line && html`<${Explanation} key=${line.number} invoice=${invoice} line=${line} close=${() => setLine(null)} />`}
    <${Sums} invoice=${invoice} />
    ${invoice.credit_notes.map((made) => html`<p key=${made.id}>${t("Credit note {number}: {amount}. {reason}", { number: made.number, amount: money(made.total), reason: made.reason })}</p>`)}
    ${invoice.payments.length > 0 && html`<ul class="said">${invoice.payments.map((made) => html`<li key=${made.id}>${t("{when}: {amount}, {way}", { when: moment(made.created_at), amount: money(made.amount), way: methodName(made.method) })} <span class="tag">${paymentName(made.status)}</span></li>`)}</ul>`}
    ${unpaid && html`<${Pay} invoice=${invoice} />`}`;
}

const Sums = ({ invoice }) => html`<dl class="sums">
  <dt>${t("Before tax")}</dt><dd>${money(invoice.subtotal)}</dd>
  <dt>${t("Tax ({rate} %)", { rate: number(invoice.tax_rate / 100) })}</dt><dd>${money(invoice.tax)}</dd>
  <dt class="total">${t("Total")}</dt><dd class="total">${money(invoice.total)}</dd>
  ${invoice.from_balance.amount !== 0 && html`<dt>${t("From your credit")}</dt><dd>${money(invoice.from_balance)}</dd>`}
  ${invoice.credited.amount !== 0 && html`<dt>${t("Credited")}</dt><dd>${money(invoice.credited)}</dd>`}
  ${invoice.paid.amount !== 0 && html`<dt>${t("Paid")}</dt><dd>${money(invoice.paid)}</dd>`}
  <dt class="total">${t("To pay")}</dt><dd class="total">${money(invoice.due)}</dd></dl>`;

/** The conversations and calls behind a line: their sums agree to the token. */
function Explanation({ invoice, line, close }) {
  const path = `/billing/invoices/${invoice.id}/lines/${line.number}/explanation`;
  const [further, setFurther] = useState(null);
  const first = useLoaded((signal) => api.get(path, { signal }), []);
  const more = async (after) => {
    const page = await api.get(`${path}?after=${after}`).catch(failed);
    if (page) setFurther({ calls: [...(further?.calls ?? []), ...page.calls], next: page.next_after });
  };
  return html`<section class="explained"><div class="section-head"><h3>${t("What is behind {n} tokens", { n: number(line.quantity) })}</h3>
      <${Button} kind="plain round small" icon="close" label=${t("Close the explanation")} run=${close} /></div>
    <${Shown} of=${first}>${(value) => html`<${Conversations} rows=${value.conversations} />
      <${Calls} rows=${[...value.calls, ...(further?.calls ?? [])]} />
      ${(further ? further.next : value.next_after) && html`<${More} run=${() => more(further ? further.next : value.next_after)} />`}`}<//></section>`;
}

const Conversations = ({ rows }) => html`<${Table} caption=${t("Conversations")} rows=${rows} id=${(row) => row.conversation_id} columns=${[
  { label: t("Conversation"), head: true, cell: (row) => html`<code>${row.conversation_id}</code>` },
  { label: t("Turns"), end: true, cell: (row) => number(row.turns) },
  { label: t("Calls"), end: true, cell: (row) => number(row.calls) },
  { label: t("Tokens"), end: true, cell: (row) => number(row.billed_tokens) },
]} />`;

const Calls = ({ rows }) => html`<${Table} caption=${t("Model calls")} rows=${rows} id=${(row) => row.call_id} columns=${[
  { label: t("Time"), head: true, cell: (row) => moment(row.at) },
  { label: t("Model"), cell: (row) => html`${row.model} ${row.estimated && html`<span class="tag">${t("estimated")}</span>`}` },
  { label: t("Tokens"), end: true, cell: (row) => number(row.billed_tokens) },
]} />`;
