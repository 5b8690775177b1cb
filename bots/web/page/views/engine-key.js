// Whose key pays for the model: the installation's, or the team's own, which is never shown again.
import { html, useState } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { Button, confirmed } from "../lib/parts.js";
import { note } from "../lib/say.js";
import { Form } from "./form.js";

export function Key({ config, change }) {
  const [key, setKey] = useState("");
  const own = config.billing === "own_key";
  const send = async () => {
    await change({ billing: "own_key", api_key: key.trim() });
    setKey("");
  };
  const remove = async () => {
    const sure = await confirmed({
      title: t("Remove the team's key?"),
      text: t("From the next message on, the team's turns use this installation's key and count towards the plan."),
      yes: t("Remove the key"),
    });
    if (!sure) return;
    await change({ billing: "installation", api_key: null });
    note(t("The key is removed."));
  };
  return html`<section class="panel"><h2>${t("Key of the model provider")}</h2>
    <p>${state(config, own)}</p>
    <${Form} send=${send} button=${own ? t("Replace the key") : t("Use this key")} done=${t("The key is stored, encrypted.")}
      more=${own && html`<${Button} kind="deny" run=${remove}>${t("Remove the key")}<//>`}>
      <label class="field"><span>${own ? t("Another key") : t("The team's own key")}</span>
        <input type="password" required minlength="16" maxlength="500" autocomplete="off" spellcheck="false" value=${key} onInput=${(event) => setKey(event.currentTarget.value)} />
        <span class="quiet">${t("It is stored encrypted and never shown again. Tokens on it count towards the plan's limits, but are never charged.")}</span></label><//></section>`;
}

function state(config, own) {
  if (own) return config.api_key_hint ? t("The team's own key is used; it ends with {hint}.", { hint: config.api_key_hint }) : t("The team's own key is used.");
  if (config.billing === "subscription") return t("The operator's own login with the provider is used.");
  return t("This installation's key is used, where the operator has set one.");
}
