// What the agent does for an answer: one quiet line for each call of a tool, which opens to its output.
import { classes, html, memo, useState } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { t, tag, tn } from "../lib/i18n.js";
import { Icon } from "../lib/icons.js";
import { Loading, useLoaded } from "../lib/parts.js";
import { Code } from "../markdown/code.js";

/** More lines than these are folded into one. */
const SHOWN = 3;

export function Steps({ turn, tools, open }) {
  const shown = open || tools.length <= SHOWN ? tools.slice(-SHOWN) : [];
  const folded = tools.slice(0, tools.length - shown.length);
  return html`<div class="steps">
    ${folded.length > 0 && html`<${Folded} turn=${turn} tools=${folded} />`}
    ${shown.map((tool) => html`<${Step} key=${tool.call_id} turn=${turn} tool=${tool} />`)}</div>`;
}

function Folded({ turn, tools }) {
  const [open, setOpen] = useState(false);
  const failed = tools.filter((tool) => tool.state === "failed").length;
  return html`<details class="step many" onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary><${Icon} name="tool" size=${16} /><span class="step-text">${tn("1 step", "{n} steps", tools.length)}</span>
      ${failed > 0 && html`<span class="step-state bad">${tn("1 failed", "{n} failed", failed)}</span>`}</summary>
    ${open && tools.map((tool) => html`<${Step} key=${tool.call_id} turn=${turn} tool=${tool} />`)}</details>`;
}

const states = () => ({
  running: t("running"),
  ok: t("done"),
  failed: t("failed"),
  refused: t("refused"),
  unknown: t("it is not known how it ended"),
});

const Step = memo(({ turn, tool }) => {
  const [open, setOpen] = useState(false);
  const plain = tool.state === "ok" || tool.state === "running";
  return html`<details class=${classes("step", tool.state)} onToggle=${(event) => event.target === event.currentTarget && setOpen(event.currentTarget.open)}>
    <summary>${tool.state === "running" ? html`<span class="spin" aria-hidden="true"></span>` : html`<${Icon} name=${MARKS[tool.state] ?? "alert"} size=${16} />`}
      <span class="step-text" dir="auto">${tool.summary || tool.tool}</span>
      <span class=${classes("step-state", plain ? "unseen" : "bad")}>${states()[tool.state] ?? tool.state}</span>
      ${tool.seconds >= 1 && html`<span class="step-time">${seconds(tool.seconds)}</span>`}</summary>
    ${open && html`<${Output} turn=${turn} tool=${tool} />`}</details>`;
});

const MARKS = { ok: "check", failed: "close", refused: "close" };

const seconds = (n) =>
  new Intl.NumberFormat(tag(), { style: "unit", unit: "second", unitDisplay: "narrow", maximumFractionDigits: n < 10 ? 1 : 0 }).format(n);

function Output({ turn, tool }) {
  if (tool.output !== undefined) return html`<${Told} tool=${tool.tool} text=${tool.output} />`;
  if (tool.state === "running" || !turn) return html`<p class="quiet">${t("Nothing yet: it still runs.")}</p>`;
  return html`<${Stored} turn=${turn} tool=${tool} />`;
}

/** The output as the server keeps it, secrets taken out. */
function Stored({ turn, tool }) {
  const path = `/agent/turns/${encodeURIComponent(turn)}/tools/${encodeURIComponent(tool.call_id)}`;
  const loaded = useLoaded((signal) => api.get(path, { signal }), [path]);
  if (!loaded.value) return html`<${Loading} of=${loaded} />`;
  return html`<${Told} tool=${tool.tool} text=${loaded.value.output} asked=${loaded.value.arguments} />`;
}

const Told = ({ tool, text, asked }) => html`<div class="step-output">
  ${asked && asked !== "{}" && html`<p class="quiet">${t("Asked with")} <code>${asked}</code></p>`}
  ${text ? html`<${Code} language=${tool} text=${text} />` : html`<p class="quiet">${t("It gave no output.")}</p>`}</div>`;

