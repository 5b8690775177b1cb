// Which engine answered and why, when, and the tokens of each of its calls.
import { html } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { moment } from "../lib/format.js";
import { number, t, tn } from "../lib/i18n.js";
import { Dialog, Loading, useLoaded } from "../lib/parts.js";

const buckets = () => [
  ["input_tokens", t("Input")],
  ["output_tokens", t("Output")],
  ["cache_read_tokens", t("Cache read")],
  ["cache_write_5m_tokens", t("Cache write, 5 min")],
  ["cache_write_1h_tokens", t("Cache write, 1 h")],
];

const sum = (usage) => buckets().reduce((all, [bucket]) => all + usage[bucket], 0);

export function Details({ turn, close }) {
  const loaded = useLoaded((signal) => api.get(`/agent/turns/${encodeURIComponent(turn.id)}`, { signal }), [turn.id]);
  const facts = [
    [t("Engine"), turn.engine],
    [t("Why this engine"), turn.engineReason],
    [t("Asked"), turn.at && moment(turn.at)],
    [t("Finished"), turn.finishedAt && moment(turn.finishedAt)],
  ].filter(([, value]) => value);
  return html`<${Dialog} title=${t("Details of this answer")} close=${close} kind="wide-dialog">
    <dl class="facts">${facts.map(([name, value]) => html`<dt key=${name}>${name}</dt><dd>${value}</dd>`)}</dl>
    ${loaded.value ? html`<${Calls} told=${loaded.value} />` : html`<${Loading} of=${loaded} />`}<//>`;
}

function Calls({ told }) {
  const total = sum(told.usage);
  if (told.calls.length === 0) return html`<p>${t("No model was asked, so it used 0 tokens.")}</p>`;
  const columns = buckets().filter(([bucket]) => told.usage[bucket] > 0);
  return html`<p>${tn("It used 1 token.", "It used {n} tokens.", total)}</p>
    <div class="wide" role="region" tabindex="0" aria-label=${t("Calls of the model")}><table class="list">
      <caption class="unseen">${t("Calls of the model")}</caption>
      <thead><tr><th scope="col">${t("Model")}</th>${columns.map(([bucket, name]) => html`<th key=${bucket} scope="col" class="end">${name}</th>`)}</tr></thead>
      <tbody>${told.calls.map((call, n) => html`<tr key=${n}><th scope="row">${call.model || call.engine}<${Marks} call=${call} /></th>
        ${columns.map(([bucket]) => html`<td key=${bucket} class="end">${number(call[bucket])}</td>`)}</tr>`)}</tbody>
      ${told.calls.length > 1 && html`<tfoot><tr><th scope="row">${t("Together")}</th>
        ${columns.map(([bucket]) => html`<td key=${bucket} class="end">${number(told.usage[bucket])}</td>`)}</tr></tfoot>`}
    </table></div>`;
}

const Marks = ({ call }) => html`${call.own_key && html` <span class="tag">${t("own key")}</span>`}
  ${call.estimated && html` <span class="tag warn">${t("estimated")}</span>`}`;
