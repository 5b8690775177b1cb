// The column at the side: new chat, the conversations, and the ways to the other views.
import { classes, html, useEffect, useLayoutEffect, useRef, useState } from "../lib/dom.js";
import { session } from "../lib/api.js";
import { t } from "../lib/i18n.js";
import { Icon } from "../lib/icons.js";
import { Button } from "../lib/parts.js";
import { place } from "../lib/router.js";
import { createStore, useStore } from "../lib/store.js";
import { ConversationList } from "../chat/list.js";
import { waiting } from "../chat/changes.js";

/** Whether the column is open where it does not fit beside the content. */
export const drawer = createStore(false);

const ROLES = ["viewer", "operator", "admin"];
const may = (me, role) => ROLES.indexOf(me.user.role) >= ROLES.indexOf(role);

/** The ways to the other views, as far as the person may go there. */
const ways = (me) => [
  { path: "/approvals", icon: "shield", label: t("Approvals"), show: may(me, "operator"), count: true },
  { path: "/plan", icon: "plan", label: t("Plan and usage"), show: me.features.billing },
  { path: "/team", icon: "team", label: t("Team"), show: may(me, "admin") },
  { path: "/engines", icon: "engine", label: t("Engines"), show: true },
  { path: "/status", icon: "gauge", label: t("Status"), show: may(me, "admin") },
  { path: "/audit", icon: "audit", label: t("Audit log"), show: may(me, "admin") },
  { path: "/settings", icon: "settings", label: t("Settings"), show: true },
].filter((way) => way.show);

export function Sidebar({ path }) {
  const me = useStore(session);
  const open = useStore(drawer);
  const pending = useStore(waiting);
  const column = useRef(null);
  const narrow = useNarrow();
  useEffect(() => place.watch(() => drawer.set(false)), []);
  useEffect(() => {
    if (!open) return undefined;
    const before = document.activeElement;
    column.current?.querySelector("a, button")?.focus();
    const escape = (event) => event.key === "Escape" && drawer.set(false);
    addEventListener("keydown", escape);
    return () => {
      removeEventListener("keydown", escape);
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, [open]);
  const here = (to) => (path === to ? "page" : undefined);
  return html`${open && html`<div class="veil" onClick=${() => drawer.set(false)}></div>`}
    <aside ref=${column} id="sidebar" aria-label=${t("Menu")} class=${classes("sidebar", open && "open")} inert=${narrow && !open}>
      <header>
        <a class="brand" href="/" aria-label=${t("IT0, new chat")}><img src=${new URL("../icon.svg", import.meta.url).pathname} alt="" width="28" height="28" /><span>IT0</span></a>
        <span class="team-name" title=${me.team.name}>${me.team.name}</span>
        ${narrow && html`<${Button} kind="plain round" icon="close" label=${t("Close the menu")} run=${() => drawer.set(false)} />`}
      </header>
      <a class="button new-chat" href="/" aria-current=${here("/")}><${Icon} name="plus" /><span>${t("New chat")}</span></a>
      <${ConversationList} path=${path} />
      <nav class="ways" aria-label=${t("Views")}>
        ${ways(me).map((way) => html`<a key=${way.path} href=${way.path} aria-current=${here(way.path)}>
          <${Icon} name=${way.icon} /><span>${way.label}</span>
          ${way.count && pending > 0 && html`<span class="badge">${pending}<span class="unseen"> ${t("waiting")}</span></span>`}</a>`)}
      </nav>
    </aside>`;
}

/** Whether the page is so narrow that the column lies over the content. */
function useNarrow() {
  const query = matchMedia("(max-width: 760px)");
  const [narrow, setNarrow] = useState(query.matches);
  useEffect(() => {
    const look = () => setNarrow(query.matches);
    query.addEventListener("change", look);
    return () => query.removeEventListener("change", look);
  }, []);
  return narrow;
}

/** Opens the column on a narrow screen. */
export const MenuButton = () => {
  const pending = useStore(waiting);
  return html`<${Button} kind="plain round menu-button" icon="menu" label=${t("Menu")} run=${() => drawer.set(true)} aria-expanded="false" aria-controls="sidebar">
    ${pending > 0 && html`<span class="dot"></span>`}<//>`;
};

/** The head of a view: its title, and what can be done in it. Every view has exactly one. */
export function ViewHead({ title, children }) {
  useLayoutEffect(() => { document.title = `${title} - IT0`; }, [title]); // read when the view is announced
  return html`<header class="view-head"><${MenuButton} /><h1>${title}</h1>${children}</header>`;
}
