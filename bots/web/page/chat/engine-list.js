// The choice of an engine for the next messages.
import { html } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { Dialog, Loading, useLoaded } from "../lib/parts.js";
import { useStore } from "../lib/store.js";
import { chosenEngine } from "./engine.js";

export function EngineList({ close }) {
  const loaded = useLoaded((signal) => api.get("/engines", { signal }), []);
  const chosen = useStore(chosenEngine);
  const choose = (event) => chosenEngine.set(event.currentTarget.value);
  const told = loaded.value;
  const now = told && (told.team || told.default);
  const title = told?.engines.find((engine) => engine.name === now)?.title || now;
  return html`<${Dialog} title=${t("Which engine answers")} close=${close}>
    ${told ? html`<fieldset class="engine-choice"><legend class="unseen">${t("Which engine answers")}</legend>
      <${Choice} value="" checked=${!chosen} choose=${choose} title=${t("Default")} text=${t("Now: {engine}", { engine: title })} />
      ${told.engines.map((engine) => html`<${Choice} key=${engine.name} value=${engine.name} checked=${chosen === engine.name} choose=${choose}
        disabled=${engine.answers === "no_key"} title=${engine.title || engine.name} text=${engine.sentence || engine.model} />`)}</fieldset>
      <p class="quiet">${t("It holds for messages from this page, until you choose another or reload.")}</p>` : html`<${Loading} of=${loaded} />`}<//>`;
}

const Choice = ({ value, checked, choose, disabled = false, title, text }) => html`<label class="choice">
  <input type="radio" name="engine" value=${value} checked=${checked} disabled=${disabled} onChange=${choose} />
  <span><strong>${title}</strong>${text && html`<span class="quiet">${text}</span>`}</span></label>`;
