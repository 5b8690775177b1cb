// The rows of the audit log; each opens to its details.
import { Fragment, html, useState } from "../lib/dom.js";
import { number, t, tag } from "../lib/i18n.js";
import { Button } from "../lib/parts.js";
import { visible } from "../markdown/code.js";

const exactly = (iso) =>
  new Intl.DateTimeFormat(tag(), { dateStyle: "short", timeStyle: "medium" }).format(new Date(iso));

/** `narrow({actor|action|turn})` shows only rows like one. */
export function AuditRows({ entries, users, narrow }) {
  const names = new Map(users.map((user) => [user.id, user.name || user.email]));
  names.set("system", t("IT0 itself"));
  const columns = [t("Time"), t("Who"), t("What"), t("Where and how"), t("Row")];
  return html`<table class="list cards audit" role="table"><caption class="unseen">${t("Audit log")}</caption>
    <thead role="rowgroup"><tr role="row">${columns.map((name) => html`<th key=${name} role="columnheader" scope="col" class=${name === columns.at(-1) ? "end" : ""}>${name}</th>`)}</tr></thead>
    <tbody role="rowgroup">${entries.map((entry) => html`<${Row} key=${entry.seq} entry=${entry} names=${names} narrow=${narrow} />`)}</tbody></table>`;
}

const TOLD = ["level", "user", "role", "fields", "server", "servers", "tool", "name", "email", "command", "action", "plan", "outcome", "reason"];

/** What most want to know of a row, in one line; people by their names. */
function brief({ actor, detail }, names) {
  const values = TOLD.filter((name) => detail[name] !== actor && (name !== "role" || detail.user)).map((name) => String(names.get(detail[name]) ?? detail[name] ?? ""));
  return values.filter(Boolean).slice(0, 3).join(" · ");
}

function Row({ entry, names, narrow }) {
  const who = names.get(entry.actor) ?? entry.actor;
  const [open, setOpen] = useState(false);
  const id = `audit-${entry.seq}`;
  return html`<${Fragment}><tr role="row" class=${open ? "opened" : ""}>
      <td role="cell" class="when"><time datetime=${entry.at}>${exactly(entry.at)}</time></td>
      <td role="cell" class="who">${who}</td>
      <th role="rowheader" scope="row" class="what"><code>${entry.action}</code></th>
      <td role="cell" class="brief">${visible(brief(entry, names))}</td>
      <td role="cell" class="opener"><${Button} kind="small plain" icon="down" aria-expanded=${open ? "true" : "false"} aria-controls=${open ? id : undefined} run=${() => setOpen(!open)}>
        <span class="unseen">${t("Details of row")} </span>${number(entry.seq)}<//></td></tr>
    ${open && html`<tr role="row" id=${id} class="details"><td role="cell" colspan="5"><${Details} entry=${entry} names=${names} who=${who} narrow=${narrow} /></td></tr>`}<//>`;
}

const Details = ({ entry, names, who, narrow }) => html`<dl class="facts">
    ${Object.entries(entry.detail).map(([name, value]) => html`<dt key=${name}>${name}</dt>
      <dd class="exact-text" dir="ltr">${visible(names.has(value) ? `${value} (${names.get(value)})` : String(value))}</dd>`)}
    <dt>${t("Actor")}</dt><dd><code>${entry.actor}</code></dd>
    ${entry.turn_id && html`<dt>${t("Turn")}</dt><dd><code>${entry.turn_id}</code></dd>`}
    <dt>${t("Seal")}</dt><dd><code class="seal">${entry.mac}</code></dd></dl>
  <p class="row-actions"><${Button} kind="small" run=${() => narrow({ action: entry.action })}>${t("Only {what}", { what: entry.action })}<//>
    <${Button} kind="small" run=${() => narrow({ actor: entry.actor })}>${t("Only {what}", { what: who })}<//>
    ${entry.turn_id && html`<${Button} kind="small" run=${() => narrow({ turn: entry.turn_id })}>${t("Only this turn")}<//>`}</p>`;
