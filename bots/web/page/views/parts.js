// Parts that the views beside the chat share: states, tables that fit a phone, meters, periods.
import { classes, html, useEffect, useRef } from "../lib/dom.js";
import { session } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { Button, Loading } from "../lib/parts.js";

export const isAdmin = () => session.get()?.user?.role === "admin";

export const roleNames = () => ({ viewer: t("viewer"), operator: t("operator"), admin: t("admin") });

/** What a role may do, in half a sentence. */
export const roleSentences = () => ({
  viewer: t("asks questions and reads what servers say; changes nothing"),
  operator: t("also changes servers, and decides about what waits for approval"),
  admin: t("also manages people, servers, engines, the plan and the audit log"),
});

/** What was loaded, drawn by `children(value)`; or that it loads, failed, or is not for the reader. */
export function Shown({ of, children }) {
  if (of.problem?.status === 403) return html`<div class="notice" role="status"><p>${coded(of.problem.detail)}</p></div>`;
  if (of.value === null) return html`<${Loading} of=${of} />`;
  return html`${of.problem && html`<${Loading} of=${of} />`}${children(of.value)}`;
}

/** A sentence in which `backquotes` mark what is typed. */
export const coded = (text) =>
  text.split("`").map((part, n) => (n % 2 === 1 ? html`<code key=${n}>${part}</code>` : part));

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

/** Run something every so often while the page is visible, and at once when it is looked at again. */
export function useEvery(milliseconds, run) {
  const latest = useRef(run);
  latest.current = run;
  useEffect(() => {
    const tick = setInterval(() => { if (!document.hidden) latest.current(); }, milliseconds);
    const look = () => { if (!document.hidden) latest.current(); };
    document.addEventListener("visibilitychange", look);
    return () => {
      clearInterval(tick);
      document.removeEventListener("visibilitychange", look);
    };
  }, [milliseconds]);
}

/**
 * A table whose rows become cards on a narrow screen. `columns`: {label, cell(row), end, head}.
 * The roles are said outright, because browsers drop them when a table is laid out otherwise.
 */
export const Table = ({ caption, columns, rows, id, kind = "" }) => html`<table class=${`list cards ${kind}`} role="table">
  <caption class="unseen">${caption}</caption>
  <thead role="rowgroup"><tr role="row">${columns.map((column) =>
    html`<th key=${column.label} role="columnheader" scope="col" class=${classes(column.end && "end")}>${column.quiet ? html`<span class="unseen">${column.label}</span>` : column.label}</th>`)}</tr></thead>
  <tbody role="rowgroup">${rows.map((row) => html`<tr key=${id(row)} role="row">${columns.map((column) =>
    html`<${Cell} key=${column.label} column=${column} row=${row} />`)}</tr>`)}</tbody></table>`;

function Cell({ column, row }) {
  const kind = classes(column.end && "end", column.head && "head");
  const label = column.quiet ? undefined : column.label;
  return column.head
    ? html`<th role="rowheader" scope="row" class=${kind}>${column.cell(row)}</th>`
    : html`<td role="cell" class=${kind} data-label=${label}>${column.cell(row)}</td>`;
}

/** A bar as long as the part says; decoration beside a figure. SVG, because the policy forbids styles in markup. */
export const Bar = ({ part, tone = "" }) => html`<svg class=${classes("bar", tone)} viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true" focusable="false">
  <rect width=${Math.max(0, Math.min(100, part * 100))} height="4" /></svg>`;

/** How much of a limit is used; the text says it in words. `hard`: at its end something stops. */
export function Meter({ label, value, most, text, hard = false }) {
  const part = most > 0 ? value / most : 0;
  const tone = part > 1 || (hard && part >= 1) ? "full" : part >= 0.8 ? "high" : "";
  return html`<div class="meter"><div class="meter-head"><span>${label}</span><span class="quiet">${text}</span></div>
    <div role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax=${most} aria-valuenow=${Math.min(value, most)} aria-valuetext=${text}>
      <${Bar} part=${part} tone=${tone} /></div></div>`;
}

/** A button at the end of a list that shows more of it. */
export const More = ({ run }) => html`<div class="more"><${Button} icon="down" run=${run}>${t("Show more")}<//></div>`;

/** A key under which the server carries a request out once. Works without HTTPS too. */
export const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
