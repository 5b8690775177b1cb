// One conversation in the list, and what can be done with it.
import { Component, classes, html, useEffect, useLayoutEffect, useRef } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { ago } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { Icon } from "../lib/icons.js";
import { Button, confirmed, copyText } from "../lib/parts.js";
import { navigate } from "../lib/router.js";
import { announce, failed, note } from "../lib/say.js";
import { conversations, forget, merge, tell } from "./changes.js";
import { marked } from "./marks.js";

const TITLE_CHARS = 200;

export const titleOf = (one) => one.title || t("Without a title");

/** Where a conversation is from; nothing for the browser itself, where most are. */
const SOURCES = () => ({ slack: "Slack", telegram: "Telegram", api: "API", terminal: t("Terminal"), cli: t("Terminal") });

/** A state in words. */
const STATES = () => ({ queued: t("waiting for its turn"), running: t("being answered"), waiting: t("waiting for an approval") });

/** A row; drawn again only when something of it changes, since there may be thousands. */
export class Row extends Component {
  shouldComponentUpdate(next) {
    return Object.keys(next).some((key) => next[key] !== this.props[key]);
  }

  render({ one, query, here, news, tab, renaming, focused, menu, asked, end }) {
    if (renaming) return html`<li class="conversation"><${Rename} one=${one} end=${end} /></li>`;
    const title = titleOf(one);
    return html`<li class=${classes("conversation", asked && "asked", here && "here")}>
      <a href=${`/c/${one.id}`} data-id=${one.id} aria-current=${here ? "page" : undefined} tabindex=${tab ? 0 : -1}
        onFocus=${() => focused(one.id)} title=${title}>
        <span class="conversation-line"><span class=${classes("conversation-title", news && "news")} dir="auto">${query ? marked(title, query) : title}</span><${Marks} one=${one} news=${news} /></span>
        ${query && html`<span class="conversation-found">${one.excerpt ? html`<span dir="auto">${marked(one.excerpt, query)}</span>` : ago(one.updated_at)}</span>`}</a>
      <${Button} kind="plain round small" icon="more" label=${t("More for {title}", { title })} title=${t("More")} tabindex=${tab ? 0 : -1}
        aria-haspopup="menu" aria-expanded=${String(Boolean(asked))} run=${(event) => { focused(one.id); menu(one, event.currentTarget); }} /></li>`;
  }
}

/** Where it is from, what happens in it, and whether there is something new. */
function Marks({ one, news }) {
  const state = STATES()[one.state];
  const source = SOURCES()[one.platform];
  return html`${source && html`<span class="conversation-source"><span class="unseen">, </span>${source}</span>`}
    ${state && html`<span class=${`conversation-state ${one.state}`} title=${state}><span class="unseen">, ${state}</span></span>`}
    ${news && !state && html`<span class="conversation-state new" title=${t("new")}><span class="unseen">, ${t("new")}</span></span>`}`;
}

/** The title as a field, in its place: Enter and leaving it save, Escape does not. */
function Rename({ one, end }) {
  const field = useRef(null);
  const over = useRef(false);
  useLayoutEffect(() => {
    field.current.focus();
    field.current.select();
  }, []);
  const close = (save) => {
    if (over.current) return;
    over.current = true;
    const title = field.current.value.replace(/\s+/gu, " ").trim();
    end(one, save && title !== one.title ? title : "").catch(failed);
  };
  const keys = (event) => {
    event.stopPropagation();
    if (event.isComposing || (event.key !== "Enter" && event.key !== "Escape")) return;
    event.preventDefault();
    close(event.key === "Enter");
  };
  return html`<input ref=${field} class="conversation-name" aria-label=${t("Title of the conversation")} dir="auto"
    defaultValue=${one.title} maxlength=${TITLE_CHARS} autocomplete="off" onKeyDown=${keys} onBlur=${() => close(true)} />`;
}

/** Save a title; what is shown is the new one at once, and the old one again when that fails. */
export async function renamed(one, title) {
  merge([{ ...one, title }]);
  try {
    const saved = await api.patch(`/conversations/${one.id}`, { title });
    merge([saved]);
    announce(t("The conversation is called “{title}” now.", { title: saved.title }));
    tell(one.id, { title: saved.title });
  } catch (problem) {
    const now = conversations.get().find((each) => each.id === one.id) ?? one;
    merge([{ ...now, title: one.title }]);
    throw problem;
  }
}

/** Ask, and delete for good; whether it was done. */
export async function removed(one, open) {
  const sure = await confirmed({
    title: t("Delete this conversation?"),
    text: t("“{title}” is deleted for good, with its messages and files. Nobody can bring it back.", { title: titleOf(one) }),
    yes: t("Delete for good"),
  });
  if (!sure) return false;
  try {
    await api.delete(`/conversations/${one.id}`);
  } catch (problem) {
    if (problem.status !== 404) throw problem; // another tab was first
  }
  forget(one.id);
  tell(one.id, { deleted: true });
  if (open) navigate("/", { replace: true });
  note(t("The conversation is deleted."));
  return true;
}

/** The menu of one row, in the browser's top layer: Escape and a click elsewhere close it. */
export function RowMenu({ one, button, close, rename, remove }) {
  const menu = useRef(null);
  useLayoutEffect(() => {
    const it = menu.current;
    it.showPopover();
    beside(it, button);
    it.querySelector("button").focus();
  }, [one, button]);
  useEffect(() => {
    addEventListener("resize", close);
    const list = button.closest(".conversation-scroll");
    list?.addEventListener("scroll", close);
    return () => { removeEventListener("resize", close); list?.removeEventListener("scroll", close); };
  }, []);
  const toggled = (event) => {
    if (event.newState !== "closed") return;
    if (document.activeElement === document.body || menu.current?.contains(document.activeElement)) button.focus();
    close();
  };
  const choose = (deed) => async () => {
    menu.current.hidePopover();
    await deed();
  };
  const link = async () => {
    await copyText(new URL(`/c/${one.id}`, location.href).href);
    note(t("The link is copied. It opens for you alone."));
  };
  return html`<div ref=${menu} class="menu" popover="auto" role="menu" aria-label=${titleOf(one)} onToggle=${toggled} onKeyDown=${walk}>
    <${Choice} icon="edit" run=${choose(rename)}>${t("Rename")}<//>
    <${Choice} icon="copy" run=${choose(link)}>${t("Copy link")}<//>
    <${Choice} icon="trash" kind="danger" run=${choose(() => remove(one))}>${t("Delete ...")}<//></div>`;
}

const Choice = ({ icon, kind = "", run, children }) => html`<button type="button" role="menuitem" class=${`menu-choice ${kind}`}
  tabindex="-1" onClick=${() => run().catch(failed)}><${Icon} name=${icon} size=${18} />${children}</button>`;

/** Put the menu under its button, or over it where there is no room. */
function beside(menu, button) {
  const at = button.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const below = at.bottom + 4 + height <= innerHeight;
  menu.style.setProperty("inset-inline-start", `${Math.max(4, Math.min(at.left, innerWidth - width - 4))}px`);
  menu.style.setProperty("inset-block-start", `${Math.max(4, below ? at.bottom + 4 : at.top - height - 4)}px`);
}

/** Arrows go round in the menu; Escape closes it alone, not the column around it. */
function walk(event) {
  event.stopPropagation();
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return event.key === "Tab" && event.currentTarget.hidePopover();
  event.preventDefault();
  const choices = [...event.currentTarget.querySelectorAll("button")];
  const at = choices.indexOf(document.activeElement);
  return choices[(at + step + choices.length) % choices.length].focus();
}
