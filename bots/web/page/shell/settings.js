// One's own settings: language, theme, and the browsers that are signed in.
import { html, useState } from "../lib/dom.js";
import { api, session } from "../lib/api.js";
import { ago, moment } from "../lib/format.js";
import { LANGUAGES, language, speak, t } from "../lib/i18n.js";
import { Button, Loading, confirmed, useLoaded } from "../lib/parts.js";
import { failed, note } from "../lib/say.js";
import { remembered, useStore } from "../lib/store.js";
import { spoken } from "./language.js";
import { ViewHead } from "./sidebar.js";

const ROLE_NAMES = () => ({ viewer: t("viewer"), operator: t("operator"), admin: t("admin") });

export default function Settings() {
  const me = useStore(session);
  return html`<div class="view"><${ViewHead} title=${t("Settings")} />
    <section class="panel"><h2>${t("You")}</h2>
      <dl class="facts">
        <dt>${t("Address")}</dt><dd>${me.user.email}</dd>
        <dt>${t("Role")}</dt><dd>${ROLE_NAMES()[me.user.role]}</dd>
        <dt>${t("Team")}</dt><dd>${me.team.name}</dd>
        <dt>${t("Version")}</dt><dd>IT0 ${me.version}</dd></dl></section>
    <section class="panel"><h2>${t("Look and language")}</h2>
      <${Language} /><${Theme} /></section>
    <${Sessions} /></div>`;
}

function Language() {
  const choose = async (event) => {
    const wanted = event.currentTarget.value;
    try {
      session.set(await api.patch("/session", { language: wanted }));
      await speak(wanted);
      spoken.set(wanted);
    } catch (problem) {
      failed(problem);
    }
  };
  return html`<label class="field"><span>${t("Language")}</span>
    <select value=${language()} onChange=${choose}>
      ${Object.entries(LANGUAGES).map(([code, name]) => html`<option value=${code} lang=${code} selected=${code === language()}>${name}</option>`)}
    </select></label>`;
}

function Theme() {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "system");
  const choose = (event) => {
    const wanted = event.currentTarget.value;
    setTheme(wanted);
    if (wanted === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = wanted;
    remembered.set("theme", wanted === "system" ? null : wanted);
  };
  const names = { system: t("As the system"), light: t("Light"), dark: t("Dark") };
  return html`<label class="field"><span>${t("Theme")}</span>
    <select value=${theme} onChange=${choose}>
      ${Object.entries(names).map(([code, name]) => html`<option value=${code} selected=${code === theme}>${name}</option>`)}
    </select></label>`;
}

function Sessions() {
  const loaded = useLoaded((signal) => api.get("/sessions", { signal }), []);
  const out = async () => {
    await api.delete("/session");
    session.set(null);
  };
  const end = async (one) => {
    await api.delete(`/sessions/${one.id}`);
    note(t("That browser is signed out."));
    loaded.again();
  };
  const endOthers = async () => {
    const sure = await confirmed({
      title: t("Sign out all other browsers?"),
      text: t("This browser stays signed in."),
      yes: t("Sign them out"),
    });
    if (!sure) return;
    await api.delete("/sessions");
    note(t("All other browsers are signed out."));
    loaded.again();
  };
  return html`<section class="panel"><h2>${t("Signed-in browsers")}</h2>
    ${loaded.value ? html`<ul class="rows">${loaded.value.sessions.map((one) => html`<li key=${one.id}>
        <div><strong>${one.browser || t("Unknown browser")}</strong> ${one.current && html`<span class="tag">${t("this one")}</span>`}
          <p class="quiet">${t("Signed in {when}, last used {ago}", { when: moment(one.created_at), ago: ago(one.seen_at) })}</p></div>
        ${!one.current && html`<${Button} run=${() => end(one)}>${t("Sign out")}<//>`}</li>`)}</ul>` : html`<${Loading} of=${loaded} />`}
    <footer><${Button} icon="out" run=${out}>${t("Sign out here")}<//>
      ${loaded.value?.sessions.length > 1 && html`<${Button} run=${endOthers}>${t("Sign out all other browsers")}<//>`}</footer></section>`;
}
