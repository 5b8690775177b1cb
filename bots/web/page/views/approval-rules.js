// The team's rules for approvals: who may decide, how long it waits, and when nothing is to change.
import { html, useState } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { Button } from "../lib/parts.js";
import { note } from "../lib/say.js";
import { Form, useStored } from "./form.js";

/** As the server has them: shorter, nobody could read what is asked. */
const LEAST_S = 10;
const MOST_S = 86_400;

export function ApprovalRules({ config, change }) {
  const [rules, setRules] = useStored({ four_eyes: config.four_eyes, approval_timeout_s: config.approval_timeout_s, on_timeout: config.on_timeout });
  const set = (name, value) => setRules({ ...rules, [name]: value });
  return html`<section class="panel"><h2>${t("Approvals")}</h2><${Form} send=${() => change(rules)}>
      <label class="check"><input type="checkbox" checked=${rules.four_eyes} onChange=${(event) => set("four_eyes", event.currentTarget.checked)} />
        <span>${t("Four eyes: who asked may not approve")}<span class="quiet">${t("On critical servers that is always so.")}</span></span></label>
      <label class="field"><span>${t("Seconds to wait for a decision")}</span>
        <input type="number" required min=${LEAST_S} max=${MOST_S} value=${rules.approval_timeout_s} onInput=${(event) => set("approval_timeout_s", Number(event.currentTarget.value))} /></label>
      <label class="field"><span>${t("If nobody decides in time")}</span><select onChange=${(event) => set("on_timeout", event.currentTarget.value)}>
        <option value="deny" selected=${rules.on_timeout === "deny"}>${t("It is not run")}</option>
        <option value="approve" selected=${rules.on_timeout === "approve"}>${t("It counts as approved")}</option></select>
        <span class="quiet">${t("Critical servers, unattended runs and turns that read foreign text always wait for a person.")}</span></label><//></section>`;
}

/** A moment as a field of local time wants it. */
const local = (at) => new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
const HOUR_MS = 3_600_000;

export function ChangeFreeze({ config, change }) {
  const held = config.change_freeze;
  const over = held && new Date(held.until).getTime() <= Date.now();
  const [asked, setAsked] = useState(() => ({ from: local(new Date()), until: local(new Date(Date.now() + 24 * HOUR_MS)), reason: "" }));
  const typed = (name) => (event) => setAsked({ ...asked, [name]: event.currentTarget.value });
  const send = async () => {
    await change({ change_freeze: { from: new Date(asked.from).toISOString(), until: new Date(asked.until).toISOString(), reason: asked.reason.trim() } });
    setAsked((now) => ({ ...now, reason: "" }));
  };
  const end = async () => {
    await change({ change_freeze: null });
    note(t("The change freeze is over."));
  };
  const now = held && !over;
  return html`<section class="panel"><h2>${t("Change freeze")}</h2>
    <p class="quiet">${t("While it lasts, every change waits for a person, also what would otherwise run at once.")}</p>
    ${now && html`<div class="notice warn"><p>${t("From {from} until {until}.", { from: moment(held.from), until: moment(held.until) })} ${held.reason}</p>
      <${Button} run=${end}>${t("End it")}<//></div>`}
    <${Form} send=${send} button=${now ? t("Replace the freeze") : t("Freeze changes")} done=${t("The change freeze is set.")}>
      <div class="side-by-side"><label class="field"><span>${t("From")}</span><input type="datetime-local" required value=${asked.from} onInput=${typed("from")} /></label>
        <label class="field"><span>${t("Until")}</span><input type="datetime-local" required value=${asked.until} onInput=${typed("until")} /></label></div>
      <label class="field"><span>${t("Reason (optional)")}</span><input type="text" maxlength="200" value=${asked.reason} onInput=${typed("reason")} /></label><//></section>`;
}
