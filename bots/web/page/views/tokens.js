// API tokens: who has which, a new one that is shown once, and revoking.
import { html, useState } from "../lib/dom.js";
import { api, session } from "../lib/api.js";
import { day } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { Button, Dialog, confirmed, useAlive, useLoaded } from "../lib/parts.js";
import { note } from "../lib/say.js";
import { Empty, Shown, Table, coded, isAdmin } from "./parts.js";
import { Secret } from "./secret.js";

const MOST_DAYS = 3_650;

export function Tokens({ users }) {
  const loaded = useLoaded((signal) => api.get("/tokens", { signal }), []);
  const [making, setMaking] = useState(false);
  const revoke = async (token) => {
    const sure = await confirmed({
      title: t("Revoke the token of {who}?", { who: token.email }),
      text: t("Programs that use it stop at once, and so do the tokens that were made with it."),
      yes: t("Revoke"),
    });
    if (!sure) return;
    await api.delete(`/tokens/${token.id}`);
    note(t("The token is revoked."));
    loaded.again();
  };
  const columns = [
    { label: t("Person"), head: true, cell: (token) => token.email },
    { label: t("Id"), cell: (token) => html`<code>${token.id}</code>` },
    { label: t("Created"), cell: (token) => day(token.created_at) },
    { label: t("Ends"), cell: (token) => day(token.expires_at) },
    { label: t("Actions"), quiet: true, end: true, cell: (token) => html`<${Button} kind="small deny" run=${() => revoke(token)}>${t("Revoke")}<span class="unseen"> ${token.id}</span><//>` },
  ];
  return html`<section class="panel"><div class="section-head"><h2>${t("API tokens")}</h2>
      <${Button} icon="plus" run=${() => setMaking(true)}>${t("New token")}<//></div>
    <p class="quiet">${t("For programs, and for the command line on other machines. A token may do what its person may.")}</p>
    <${Shown} of=${loaded}>${(value) => (value.tokens.length === 0
      ? html`<${Empty}>${t("There are no tokens.")}<//>`
      : html`<${Table} caption=${t("API tokens")} rows=${value.tokens} id=${(token) => token.id} columns=${columns} />`)}<//>
    ${making && html`<${Making} users=${users} close=${() => { setMaking(false); loaded.again(); }} />`}</section>`;
}

function Making({ users, close }) {
  const me = session.get().user;
  const [asked, setAsked] = useState({ email: me.email, days: 90 });
  const [made, setMade] = useState(null);
  const [problem, setProblem] = useState(null);
  const [sending, setSending] = useState(false);
  const alive = useAlive();
  const send = async (event) => {
    event.preventDefault();
    if (sending) return;
    setSending(true);
    setProblem(null);
    try {
      setMade(await api.post("/tokens", asked));
    } catch (refused) {
      if (alive.current) setProblem(refused);
    } finally {
      if (alive.current) setSending(false);
    }
  };
  if (made) {
    return html`<${Dialog} title=${t("New API token")} close=${close}>
      <${Secret} label=${t("Token of {who}", { who: made.email })} text=${made.token} note=${t("It works until {day}.", { day: day(made.expires_at) })} />
      <footer><${Button} kind="main" run=${close}>${t("Close")}<//></footer><//>`;
  }
  return html`<${Dialog} title=${t("New API token")} close=${close}><form class="form" onSubmit=${send}>
    ${problem && html`<p class="notice bad" role="alert">${coded(problem.detail)}</p>`}
    ${isAdmin() && users.length > 1 && html`<label class="field"><span>${t("Person")}</span><select onChange=${(event) => setAsked({ ...asked, email: event.currentTarget.value })}>
      ${users.map((user) => html`<option value=${user.email} selected=${user.email === asked.email}>${user.email}</option>`)}</select></label>`}
    <label class="field"><span>${t("Good for so many days")}</span>
      <input type="number" autofocus min="1" max=${MOST_DAYS} required value=${asked.days} onInput=${(event) => setAsked({ ...asked, days: Number(event.currentTarget.value) })} /></label>
    <footer><${Button} run=${close}>${t("Cancel")}<//><button type="submit" class="button main" aria-busy=${sending ? "true" : undefined}>${t("Make the token")}</button></footer></form><//>`;
}
