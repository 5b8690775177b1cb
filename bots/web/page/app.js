// The page begins here: language, who is signed in, and the view that belongs to the path.
import { html, render, useEffect, useLayoutEffect, useRef, useState } from "./lib/dom.js";
import { session, whoIsIn } from "./lib/api.js";
import { also, firstLanguage, language, speak, t } from "./lib/i18n.js";
import { Loading, Notes, Questions } from "./lib/parts.js";
import { place, startRouter } from "./lib/router.js";
import { announce } from "./lib/say.js";
import { useStore } from "./lib/store.js";
import { Chat } from "./chat/chat.js";
import { Sidebar, ViewHead } from "./shell/sidebar.js";
import { SignIn, SignedOut, linkCode } from "./shell/sign-in.js";
import { speakWith, spoken } from "./shell/language.js";

// Views that few need at first are loaded when somebody opens them.
const VIEWS = {
  "/approvals": () => import("./views/approvals.js"),
  "/plan": () => import("./views/plan.js"),
  "/team": () => import("./views/team.js"),
  "/engines": () => import("./views/engines.js"),
  "/status": () => import("./views/status.js"),
  "/audit": () => import("./views/audit.js"),
  "/settings": () => import("./shell/settings.js"),
};

/** A view that is loaded when it is opened; `shown` is called when it is there. */
function Later({ path, shown }) {
  const [view, setView] = useState(null);
  const [problem, setProblem] = useState(null);
  const load = () => {
    setProblem(null);
    Promise.all([VIEWS[path](), also("views")]).then(([module]) => setView(() => module.default), () => setProblem({
      detail: t("This part of the page could not be loaded. Check the connection."),
    }));
  };
  useEffect(load, [path]);
  useLayoutEffect(() => { if (view) shown(); }, [view]);
  return view ? html`<${view} />` : html`<${Loading} of=${{ problem, again: load }} />`;
}

/** What a path shows. */
function View({ path, shown }) {
  if (path in VIEWS) return html`<${Later} key=${path} path=${path} shown=${shown} />`;
  const conversation = /^\/c\/([\w-]+)$/.exec(path)?.[1] ?? null;
  if (conversation || path === "/" || path === "/sign-in") return html`<${Chat} conversation=${conversation} />`;
  return html`<div class="view"><${ViewHead} title=${t("There is nothing at this address")} /><p><a href="/">${t("Go to the chat")}</a></p></div>`;
}

/** The page of somebody who is signed in. */
function Inside() {
  const path = useStore(place);
  const main = useRef(null);
  const begun = useRef(path);
  // A new view begins at its heading, also for those who do not see it; the chat where one writes.
  const shown = () => {
    if (begun.current === path) return;
    begun.current = null;
    const heading = main.current?.querySelector("h1");
    heading?.setAttribute("tabindex", "-1");
    heading?.focus({ preventScroll: true });
    announce(document.title);
  };
  useLayoutEffect(() => {
    if (begun.current !== path) begun.current = null;
    if (begun.current === null && !(path in VIEWS)) announce(document.title);
  }, [path]);
  return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); main.current?.focus(); }}>${t("Skip to the content")}</a>
    <div class="shell">
      <${Sidebar} path=${path} />
      <main id="main" ref=${main} tabindex="-1"><${View} path=${path} shown=${shown} /></main>
    </div>`;
}

/** Everything; drawn anew when the language changes. */
function App() {
  const who = useStore(session);
  const spokenNow = useStore(spoken);
  const [code, setCode] = useState(linkCode);
  let body;
  if (code) body = html`<${SignIn} code=${code} done=${() => setCode(null)} />`;
  else if (who === "unknown") body = html`<${Start} />`;
  else body = who ? html`<${Inside} key=${`${who.user.id}:${spokenNow}`} />` : html`<${SignedOut} />`;
  return html`${body}<${Notes} /><${Questions} />`;
}

/** Asks once who is signed in. */
function Start() {
  const [problem, setProblem] = useState(null);
  const ask = async () => {
    setProblem(null);
    try {
      const me = await whoIsIn();
      await speakWith(me);
      session.set(me);
    } catch (failure) {
      setProblem(failure);
    }
  };
  useEffect(() => { ask(); }, []);
  return html`<div class="alone"><${Loading} of=${{ problem, again: ask }} /></div>`;
}

await speak(firstLanguage(), { chosen: false });
spoken.set(language());
startRouter();
render(html`<${App} />`, document.getElementById("app"));
