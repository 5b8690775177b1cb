// Getting in: a link that works once, and what to do without one.
import { html, useEffect, useRef, useState } from "../lib/dom.js";
import { api, session, whoIsIn } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { Button, CopyButton } from "../lib/parts.js";
import { navigate } from "../lib/router.js";
import { newKey } from "../chat/outbox.js";
import { speakWith } from "./language.js";

/** The code of a sign-in link. It stands behind the #, so no server, log or preview sees it. */
export const linkCode = () =>
  location.pathname === "/sign-in" && location.hash.length > 1 ? decodeURIComponent(location.hash.slice(1)) : null;

/** Use a sign-in link; who is signed in as somebody is asked first. */
export function SignIn({ code, done }) {
  const [state, setState] = useState({ step: "looking" });
  const attempt = useRef(newKey()); // an answer that was lost can be asked for again
  const enter = async () => {
    setState({ step: "entering" });
    try {
      const me = await api.post("/session", { code, attempt: attempt.current });
      await speakWith(me);
      session.set(me);
      navigate("/", { replace: true });
      done();
    } catch (problem) {
      setState({ step: "failed", problem });
    }
  };
  const stay = (me) => {
    session.set(me);
    navigate("/", { replace: true });
    done();
  };
  const look = async () => {
    // The code leaves the address bar and the history before anything else is shown.
    history.replaceState({}, "", "/sign-in");
    try {
      const me = await whoIsIn();
      if (me) setState({ step: "asking", me });
      else await enter();
    } catch (problem) {
      setState({ step: "failed", problem });
    }
  };
  useEffect(() => { document.title = t("Sign in - IT0"); look(); }, []);
  switch (state.step) {
    case "asking":
      return html`<${Card} title=${t("Use this sign-in link?")}>
        <p>${t("This browser is signed in as {email} already. The link may be somebody else's: use it only if you asked for it.", { email: state.me.user.email })}</p>
        <footer><${Button} run=${() => stay(state.me)}>${t("Stay signed in as I am")}<//>
          <${Button} kind="main" run=${enter}>${t("Use the link")}<//></footer><//>`;
    case "failed":
      return html`<${Card} title=${t("This link does not open IT0")}>
        <p role="alert">${state.problem.detail}</p>
        ${state.problem.passing ? html`<footer><${Button} kind="main" run=${enter}>${t("Try again")}<//></footer>` : html`<${HowToGetIn} />`}<//>`;
    default:
      return html`<${Card} title="IT0"><p role="status">${t("Signing in ...")}</p><//>`;
  }
}

/** Nobody is signed in. */
export function SignedOut() {
  useEffect(() => { document.title = t("Sign in - IT0"); }, []);
  return html`<${Card} title=${t("Sign in to IT0")}>
    <p>${t("IT0 opens with a link that works once.")}</p><${HowToGetIn} /><//>`;
}

const HowToGetIn = () => html`<ul class="ways">
  <li>${t("In Slack or Telegram, send IT0 this command:")} <${Line} text="/login" /></li>
  <li>${t("On the server that IT0 runs on, in its directory:")} <${Line} text=".venv/bin/it0 login" /></li>
  <li>${t("Or ask an admin of your team: Team, then Sign-in link.")}</li></ul>`;

const Line = ({ text }) => html`<span class="command"><code>${text}</code><${CopyButton} text=${text} kind="plain round small" /></span>`;

const Card = ({ title, children }) => html`<main class="alone"><section class="card">
  <img class="brand-mark" src=${new URL("../icon.svg", import.meta.url).pathname} alt="" width="40" height="40" />
  <h1>${title}</h1>${children}</section></main>`;
