// Which engine and which model answer the team, where nobody names others.
import { html } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { Form, useStored } from "./form.js";

export function Choice({ config, engines, change }) {
  const [{ engine, model }, setWanted] = useStored({ engine: config.engine ?? "", model: config.model ?? "" });
  const titles = Object.fromEntries(engines.map((one) => [one.name, one.title]));
  const offered = [...new Set([...config.engines, ...(config.engine ? [config.engine] : [])])];
  const send = () => change({ engine: engine || null, model: model.trim() || null });
  return html`<section class="panel"><h2>${t("The team's choice")}</h2><${Form} send=${send}>
    <label class="field"><span>${t("Engine")}</span><select onChange=${(event) => setWanted({ engine: event.currentTarget.value, model })}>
      <option value="" selected=${engine === ""}>${t("This installation's choice ({name})", { name: titles[config.default_engine] ?? config.default_engine })}</option>
      ${offered.map((name) => html`<option value=${name} selected=${name === engine}>${titles[name] ?? name}</option>`)}</select></label>
    <label class="field"><span>${t("Model")}</span><input type="text" maxlength="128" autocomplete="off" spellcheck="false" placeholder=${config.default_model} value=${model} onInput=${(event) => setWanted({ engine, model: event.currentTarget.value })} />
      <span class="quiet">${t("Empty: this installation's model, {model}.", { model: config.default_model })}</span></label><//></section>`;
}
