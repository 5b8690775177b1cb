// What an empty new chat shows: what can be asked. The offline engine can answer all of it.
import { html } from "../lib/dom.js";
import { session } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { useStore } from "../lib/store.js";

const questions = () => [
  { title: t("Health"), text: t("Is everything ok?") },
  { title: t("Disks"), text: t("How full is the disk?") },
  { title: t("Memory"), text: t("What is eating memory?") },
  { title: t("Services"), text: t("Which services failed?") },
];

export function Welcome({ talk }) {
  const me = useStore(session);
  return html`<div class="welcome"><div>
    <h2>${t("What do you want to know, {name}?", { name: me.user.name || me.user.email })}</h2>
    <p class="quiet">${t("IT0 looks at your servers, explains what it finds, and asks before it changes anything.")}</p>
    <ul>${questions().map((one) => html`<li key=${one.text}><button type="button" onClick=${() => talk.send({ text: one.text })}>
      <strong>${one.title}</strong><span>${one.text}</span></button></li>`)}</ul></div></div>`;
}
