// What is shown once: a link, a code or a token, with a button that copies it, and how long it lives.
import { html } from "../lib/dom.js";
import { t, tag } from "../lib/i18n.js";
import { CopyButton } from "../lib/parts.js";

export const Secret = ({ label, text, note }) => html`<div class="once"><p class="once-label">${label}</p>
  <div class="secret"><code>${text}</code><${CopyButton} text=${text} kind="small" label=${t("Copy: {what}", { what: label })}>${t("Copy")}<//></div>
  <p class="quiet">${note} ${t("It is shown this once only.")}</p></div>`;

/** "30 minutes", of seconds. */
export function life(seconds) {
  const [unit, length] = seconds < 7_200 ? ["minute", 60] : seconds < 172_800 ? ["hour", 3_600] : ["day", 86_400];
  return new Intl.NumberFormat(tag(), { style: "unit", unit, unitDisplay: "long" }).format(Math.floor(seconds / length));
}

export const LinkOnce = ({ link }) => html`<${Secret} label=${t("Sign-in link for {who}", { who: link.email })} text=${link.url}
  note=${t("It works once, within {time}.", { time: life(link.expires_in_s) })} />`;
