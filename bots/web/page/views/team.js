// The people of the team, what their roles may do, and the API tokens.
import { html, useState } from "../lib/dom.js";
import { api, session } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { Button, Dialog, confirmed, useLoaded } from "../lib/parts.js";
import { failed, note } from "../lib/say.js";
import { ViewHead } from "../shell/sidebar.js";
import { Empty, Shown, Table, isAdmin, roleNames, roleSentences } from "./parts.js";
import { LinkOnce } from "./secret.js";
import { Invite } from "./team-invite.js";
import { Tokens } from "./tokens.js";

export default function Team() {
  const people = useLoaded((signal) => api.get("/users", { signal }), []);
  const [inviting, setInviting] = useState(false);
  return html`<div class="view"><${ViewHead} title=${t("Team")}>
      ${isAdmin() && html`<${Button} kind="main" icon="plus" run=${() => setInviting(true)}>${t("Invite")}<//>`}<//>
    <section class="panel"><h2>${t("People")}</h2>
      <${Shown} of=${people}>${(value) => html`<${People} users=${value.users} again=${people.again} />`}<//></section>
    <section class="panel"><h2>${t("What each role may do")}</h2><${Roles} /></section>
    <${Tokens} users=${people.value?.users ?? []} />
    ${inviting && html`<${Invite} close=${() => { setInviting(false); people.again(); }} />`}</div>`;
}

const Roles = () => html`<dl class="facts">${Object.entries(roleNames()).map(([role, name]) => html`<dt key=${role}>${name}</dt><dd>${roleSentences()[role]}</dd>`)}</dl>`;

function People({ users, again }) {
  const [link, setLink] = useState(null);
  if (users.length === 0) return html`<${Empty}>${t("Nobody is here yet.")}<//>`;
  const me = session.get().user;
  const columns = [
    { label: t("Name"), head: true, cell: (user) => html`${user.name || user.email} ${user.id === me.id && html`<span class="tag">${t("you")}</span>`}` },
    { label: t("Address"), cell: (user) => user.email },
    { label: t("Role"), cell: (user) => html`<${Role} user=${user} again=${again} />` },
    { label: t("Actions"), quiet: true, end: true, cell: (user) => html`<${Actions} user=${user} own=${user.id === me.id} again=${again} show=${setLink} />` },
  ];
  return html`<${Table} caption=${t("People")} rows=${users} id=${(user) => user.id} columns=${columns} />
    ${link && html`<${Dialog} title=${t("Sign-in link")} close=${() => setLink(null)}>
      <p>${t("Send this link to {who} alone: whoever opens it first is signed in as them.", { who: link.email })}</p><${LinkOnce} link=${link} /><//>`}`;
}

function Role({ user, again }) {
  const names = roleNames();
  const change = async (event) => {
    const field = event.currentTarget;
    const role = field.value;
    try {
      await api.patch(`/users/${user.id}`, { role });
      note(t("{who} is now {role}.", { who: user.name || user.email, role: names[role] }));
      again();
    } catch (problem) {
      field.value = user.role; // the last admin stays one
      failed(problem);
    }
  };
  return html`<select class="small" aria-label=${t("Role of {who}", { who: user.email })} onChange=${change}>
    ${Object.entries(names).map(([role, name]) => html`<option value=${role} selected=${role === user.role}>${name}</option>`)}</select>`;
}

function Actions({ user, own, again, show }) {
  const link = async () => show(await api.post("/sign-in-links", { email: user.email }));
  const out = async () => {
    const sure = await confirmed({
      title: t("Remove {who} from the team?", { who: user.name || user.email }),
      text: t("{email} is signed out everywhere at once; their API tokens and chat accounts stop working. Conversations and the audit log stay.", { email: user.email }),
      yes: t("Remove"),
    });
    if (!sure) return;
    await api.delete(`/users/${user.id}`);
    note(t("{who} is removed from the team.", { who: user.name || user.email }));
    again();
  };
  return html`<span class="row-actions"><${Button} kind="small" icon="key" run=${link}>${t("Sign-in link")}<span class="unseen"> ${t("for {who}", { who: user.email })}</span><//>
    ${!own && html`<${Button} kind="small deny" run=${out}>${t("Remove")}<span class="unseen"> ${user.email}</span><//>`}</span>`;
}
