// Inviting somebody: a user with a sign-in link for the browser, or a code for a chat.
import { html, useState } from "../lib/dom.js";
import { api, session } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { Button, Dialog, useAlive } from "../lib/parts.js";
import { coded, roleNames, roleSentences } from "./parts.js";
import { LinkOnce, Secret, life } from "./secret.js";

export function Invite({ close }) {
  const [made, setMade] = useState(null);
  return html`<${Dialog} title=${t("Invite somebody")} close=${close}>
    ${made ? html`<${Made} made=${made} />` : html`<${Form} made=${setMade} close=${close} />`}
    ${made && html`<footer><${Button} kind="main" run=${close}>${t("Close")}<//></footer>`}<//>`;
}

function Form({ made, close }) {
  const [asked, setAsked] = useState({ email: "", name: "", role: "operator", way: "browser" });
  const [problem, setProblem] = useState(null);
  const [sending, setSending] = useState(false);
  const alive = useAlive();
  const typed = (name) => (event) => setAsked({ ...asked, [name]: event.currentTarget.value });
  const send = async (event) => {
    event.preventDefault();
    if (sending) return;
    setSending(true);
    setProblem(null);
    try {
      made(await invite({ ...asked, email: asked.email.trim(), name: asked.name.trim() }));
    } catch (refused) {
      if (alive.current) setProblem(refused);
    } finally {
      if (alive.current) setSending(false);
    }
  };
  return html`<form onSubmit=${send} class="form">
    ${problem && html`<div class="notice bad" role="alert"><p>${coded(problem.detail)}</p>
      ${problem.code === "limit_reached" && session.get().features.billing && html`<a href="/plan">${t("Plan and usage")}</a>`}</div>`}
    <label class="field"><span>${t("Address")}</span><input type="email" autofocus required maxlength="255" autocomplete="off" value=${asked.email} onInput=${typed("email")} /></label>
    ${asked.way === "browser" && html`<label class="field"><span>${t("Name (optional)")}</span><input type="text" maxlength="100" autocomplete="off" value=${asked.name} onInput=${typed("name")} /></label>`}
    <label class="field"><span>${t("Role")}</span><select onChange=${typed("role")}>
      ${Object.entries(roleNames()).map(([role, name]) => html`<option value=${role} selected=${role === asked.role}>${name}</option>`)}</select>
      <span class="quiet">${roleSentences()[asked.role]}</span></label>
    <fieldset class="choices"><legend>${t("They begin with")}</legend>
      ${[["browser", t("a link that opens this page")], ["chat", t("a code to send in Slack or Telegram")]].map(([way, name]) => html`<label key=${way}>
        <input type="radio" name="way" value=${way} checked=${asked.way === way} onChange=${typed("way")} /><span>${name}</span></label>`)}</fieldset>
    <footer><${Button} run=${close}>${t("Cancel")}<//><button type="submit" class="button main" aria-busy=${sending ? "true" : undefined}>${t("Invite")}</button></footer></form>`;
}

/** A user and their link; or a code. A user whose link could not be made is there all the same. */
async function invite({ email, name, role, way }) {
  if (way === "chat") return { code: await api.post("/codes", { kind: "invite", email, role }) };
  const user = await api.post("/users", { email, name, role });
  try {
    return { user, link: await api.post("/sign-in-links", { email: user.email }) };
  } catch (problem) {
    return { user, problem };
  }
}

function Made({ made }) {
  if (made.code) {
    return html`<p>${t("Whoever sends this code first joins the team as {who}.", { who: made.code.email })}</p>
      <${Secret} label=${t("In Telegram, to the bot")} text=${`/link ${made.code.code}`} note=${t("It works once, within {time}.", { time: life(made.code.expires_in_s) })} />
      <p class="quiet">${t("In Slack, anywhere:")} <code>${`/it0 link ${made.code.code}`}</code></p>`;
  }
  if (made.problem) {
    return html`<p>${t("{who} is in the team now.", { who: made.user.email })}</p>
      <p class="notice bad" role="alert">${t("The link could not be made: {why} Make one in the list of people.", { why: made.problem.detail })}</p>`;
  }
  return html`<p>${t("{who} is in the team now. Send them this link; whoever opens it first is signed in as them.", { who: made.user.email })}</p><${LinkOnce} link=${made.link} />`;
}
