// The lines of an invoice or a quote.
import { html } from "../lib/dom.js";
import { number, t } from "../lib/i18n.js";
import { Button } from "../lib/parts.js";
import { lineText, money } from "./money.js";
import { Table } from "./parts.js";

const usage = (line) => line.kind === "overage" || line.kind === "late_usage";

/** `explain(line)`, where given, opens what is behind a line of usage. */
export const Lines = ({ lines, caption, explain }) => html`<${Table} caption=${caption} rows=${lines} id=${(line) => `${line.kind}:${line.plan}:${line.period_start}:${line.number ?? ""}`}
  columns=${[
    { label: t("What for"), head: true, cell: (line) => lineText(line) },
    { label: t("Price"), end: true, cell: (line) => (usage(line) ? t("{price} a million", { price: money(line.unit) }) : money(line.unit)) },
    { label: t("Amount"), end: true, cell: (line) => money(line.amount) },
    ...(explain && lines.some(usage) ? [{ label: t("Explanation"), quiet: true, end: true, cell: (line) => usage(line) && html`<${Button} kind="small" run=${() => explain(line)} label=${t("Explain {n} tokens", { n: number(line.quantity) })}>${t("Explain")}<//>` }] : []),
  ]} />`;
