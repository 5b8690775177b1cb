// The chat: one conversation, or a new one, and where the next message is written.
import { html, useEffect, useLayoutEffect } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { announce, failed } from "../lib/say.js";
import { useStore } from "../lib/store.js";
import { prepare } from "../markdown/markdown.js";
import { ViewHead } from "../shell/sidebar.js";
import { DropZone, useAttachments } from "./attachments.js";
import { conversations } from "./changes.js";
import { Composer } from "./composer.js";
import { connection } from "./stream.js";
import { losesFiles, talkOf } from "./talks.js";
import { Thread } from "./thread.js";
import { Welcome } from "./welcome.js";

export function Chat({ conversation }) {
  const talk = talkOf(conversation);
  return html`<${Open} key=${talk.key} talk=${talk} />`;
}

/** A conversation as long as it is before the reader. */
function Open({ talk }) {
  const page = useStore(talk.page);
  const empty = useStore(talk.turns, (list) => list.length === 0);
  useEffect(() => {
    if (talk.id) prepare(); // beside the request for its turns
    talk.show();
    return () => talk.hide();
  }, [talk]);
  useEffect(guardFiles, []);
  const attachments = useAttachments();
  const escape = (event) => {
    // A dialog over the chat is closed by it, nothing else.
    if (event.key !== "Escape" || event.defaultPrevented || !talk.busy.get() || event.target.closest("dialog, [popover]")) return;
    event.preventDefault();
    talk.stop().catch(failed);
  };
  return html`<${DropZone} attachments=${attachments}><div class="chat" onKeyDown=${escape}>
    <${Head} talk=${talk} />
    ${empty && !page.loading && !page.problem && !talk.id ? html`<${Welcome} talk=${talk} />` : html`<${Thread} talk=${talk} />`}
    <div class="chat-foot"><${ConnectionLine} />
      ${!page.problem?.gone && html`<${Composer} talk=${talk} attachments=${attachments} />`}</div></div><//>`;
}

/** The title; that of the window also tells that an answer is on its way. */
function Head({ talk }) {
  const title = useStore(conversations, (list) => list.find((one) => one.id === talk.id)?.title) || t("New chat");
  const busy = useStore(talk.busy);
  useLayoutEffect(() => {
    document.title = busy ? t("Answering: {title} - IT0", { title }) : `${title} - IT0`;
  }, [title, busy]);
  return html`<${ViewHead} title=${title} />`;
}

function ConnectionLine() {
  const lost = useStore(connection) === "lost";
  useEffect(() => { if (lost) announce(t("The connection is lost")); }, [lost]);
  return lost && html`<p class="connection">${t("The connection is lost. Nothing that was begun or written is lost; this page tries again by itself.")}</p>`;
}

/** Ask before a reload that would lose files on their way. */
function guardFiles() {
  const ask = (event) => losesFiles() && event.preventDefault();
  addEventListener("beforeunload", ask);
  return () => removeEventListener("beforeunload", ask);
}
