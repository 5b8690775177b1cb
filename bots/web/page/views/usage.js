// What was used, by day or by month, as a table with small bars.
import { html, useState } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { number, t, tag, tn } from "../lib/i18n.js";
import { useLoaded } from "../lib/parts.js";
import { dayUtc, tokensOf } from "./money.js";
import { Bar, Empty, More, Shown, Table } from "./parts.js";

const DAY_MS = 86_400_000;
const isoDay = (at) => new Date(at).toISOString().slice(0, 10);

const spans = () => ({
  "30": t("Last 30 days"),
  "90": t("Last 90 days"),
  months: t("Last 12 months"),
});

/** The query for a choice: days are UTC, as billing counts them. */
function range(chosen, now = new Date()) {
  const to = isoDay(now);
  const from = chosen === "months"
    ? isoDay(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - 11, 1))
    : isoDay(now.getTime() - (Number(chosen) - 1) * DAY_MS);
  return `from=${from}&to=${to}`;
}

/** Rows by day and model added up by day, or by month; the newest first. */
function added(days, monthly) {
  const sums = new Map();
  for (const row of days) {
    const name = monthly ? row.day.slice(0, 7) : row.day;
    const sum = sums.get(name) ?? { name, tokens: 0, own: 0, calls: 0, estimated: 0, models: new Set() };
    const tokens = tokensOf(row.usage);
    sum.tokens += tokens;
    sum.own += row.own_key ? tokens : 0;
    sum.calls += row.calls;
    sum.estimated += row.estimated_calls;
    sum.models.add(row.model);
    sums.set(name, sum);
  }
  return [...sums.values()].sort((one, other) => (one.name < other.name ? 1 : -1));
}

const monthOf = (name) =>
  new Intl.DateTimeFormat(tag(), { month: "long", year: "numeric", timeZone: "UTC" }).format(new Date(`${name}-01T00:00:00Z`));

export function History() {
  const [chosen, setChosen] = useState("30");
  const loaded = useLoaded(async (signal) => ({ chosen, ...(await api.get(`/billing/usage/history?${range(chosen)}`, { signal })) }), [chosen]);
  return html`<section class="panel"><div class="section-head"><h2>${t("History")}</h2>
      <label class="inline"><span>${t("Show")}</span><select value=${chosen} onChange=${(event) => setChosen(event.currentTarget.value)}>
        ${Object.entries(spans()).map(([value, name]) => html`<option value=${value} selected=${value === chosen}>${name}</option>`)}</select></label></div>
    <${Shown} of=${loaded}>${(value) => html`<${Sums} key=${value.chosen} rows=${added(value.days, value.chosen === "months")} monthly=${value.chosen === "months"} />`}<//></section>`;
}

/** How many rows are shown before somebody asks for more. */
const ROWS = 14;

function Sums({ rows, monthly }) {
  const [shown, setShown] = useState(ROWS);
  if (rows.length === 0) return html`<${Empty}>${t("Nothing was used in this time.")}<//>`;
  const most = Math.max(...rows.map((row) => row.tokens));
  const remarked = rows.some(remarks);
  return html`<${Table} kind="usage" caption=${monthly ? t("Usage by month") : t("Usage by day")} rows=${rows.slice(0, shown)} id=${(row) => row.name} columns=${[
    { label: monthly ? t("Month") : t("Day (UTC)"), head: true, cell: (row) => (monthly ? monthOf(row.name) : dayUtc(row.name)) },
    { label: t("Tokens"), cell: (row) => html`<span class="with-bar"><span>${number(row.tokens)}</span><${Bar} part=${most > 0 ? row.tokens / most : 0} /></span>` },
    { label: t("Calls"), end: true, cell: (row) => number(row.calls) },
    { label: t("Models"), cell: (row) => [...row.models].join(", ") },
    ...(remarked ? [{ label: t("Remarks"), cell: remarks }] : []),
  ]} />${rows.length > shown && html`<${More} run=${() => setShown(shown + 31)} />`}`;
}

const remarks = (row) =>
  [
    row.own > 0 && t("{tokens} on the own key", { tokens: number(row.own) }),
    row.estimated > 0 && tn("1 call estimated", "{n} calls estimated", row.estimated),
  ].filter(Boolean).join("; ");
