// Where a message is written: text, files, commands and the engine; it is sent, or what runs is stopped.
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/dom.js";
import { t, tn } from "../lib/i18n.js";
import { Button } from "../lib/parts.js";
import { failed, note } from "../lib/say.js";
import { useStore } from "../lib/store.js";
import { prepare } from "../markdown/markdown.js";
import { AttachButtons, AttachmentTray, pasteInto } from "./attachments.js";
import { CommandList, useCommands } from "./command-list.js";
import { EngineButton, chosenEngine } from "./engine.js";
import { draft } from "./outbox.js";

const GROWS_BY_ITSELF = CSS.supports("field-sizing", "content");

export function Composer({ talk, attachments }) {
  const [text, write] = useDraft(talk);
  const field = useRef(null);
  const commands = useCommands(text, write);
  const { sending, send } = useSend(talk, attachments, text, write);
  useReturned(talk, attachments, text, write, field);
  useGrowth(field, text);
  useEffect(() => { if (matchMedia("(pointer: fine)").matches) field.current.focus({ preventScroll: true }); }, []);
  const press = (event) => {
    // Enter that ends the choice of a word in an input method belongs to that.
    if (event.isComposing || event.keyCode === 229 || commands.press(event)) return;
    if (event.key !== "Enter" || event.shiftKey || event.altKey) return;
    event.preventDefault();
    send();
  };
  const typed = (event) => {
    prepare();
    write(event.currentTarget.value);
  };
  const ready = (text.trim() !== "" || attachments.items.length > 0) && !sending;
  return html`<form class="composer" aria-label=${t("Write a message")} onSubmit=${(event) => { event.preventDefault(); send(); }}>
    <${CommandList} ...${commands} />
    <${AttachmentTray} attachments=${attachments} />
    <textarea ref=${field} rows="1" aria-label=${t("Message")} aria-describedby="composer-hint" aria-autocomplete="list" ...${commands.attributes}
      placeholder=${t("Ask IT0, or type / for commands")} dir="auto" enterkeyhint="send" value=${text}
      onInput=${typed} onKeyDown=${press} onPaste=${pasteInto(attachments)}></textarea>
    <div class="composer-foot"><${AttachButtons} attachments=${attachments} /><${EngineButton} />
      <span id="composer-hint" class="unseen">${t("Enter sends, Shift and Enter begin a new line, Escape stops.")}</span>
      <${StopButton} talk=${talk} field=${field} />
      <${Button} icon="send" label=${t("Send")} kind="round main" disabled=${!ready} run=${() => { field.current.focus(); send(); }} /></div></form>`;
}

/** What is written, kept over a reload of the tab. */
function useDraft(talk) {
  const [text, setText] = useState(() => draft.get(talk.id ?? "new"));
  const write = (value) => {
    setText(value);
    draft.set(talk.id ?? "new", value);
  };
  return [text, write];
}

function useSend(talk, attachments, text, write) {
  const [sending, setSending] = useState(false);
  const send = async () => {
    if (sending || (!text.trim() && attachments.items.length === 0)) return;
    setSending(true);
    try {
      const files = attachments.items.length > 0 || attachments.busy ? await attachments.take() : [];
      talk.send({ text, files, engine: chosenEngine.get() });
      write("");
      attachments.clear();
    } catch (problem) {
      failed(problem);
    } finally {
      setSending(false);
    }
  };
  return { sending, send };
}

/** What could not be sent comes back, unless something else was begun meanwhile. */
function useReturned(talk, attachments, text, write, field) {
  const returned = useStore(talk.delivery.returned);
  useEffect(() => {
    if (!returned) return;
    talk.delivery.returned.set(null);
    if (text.trim() || attachments.items.length > 0) return;
    talk.delivery.restored = returned.key;
    write(returned.text);
    if (returned.files.length > 0) attachments.restore(returned.files);
    if (returned.lost) note(tn("1 file was not sent. Attach it again.", "{n} files were not sent. Attach them again.", returned.lost), { bad: true });
    field.current.focus();
  }, [returned]);
}

/** As high as its text, up to what the style allows. */
function useGrowth(field, text) {
  useLayoutEffect(() => {
    if (GROWS_BY_ITSELF) return;
    field.current.style.height = "auto";
    field.current.style.height = `${field.current.scrollHeight + 2}px`;
  }, [text]);
}

function StopButton({ talk, field }) {
  const busy = useStore(talk.busy);
  const stop = () => {
    // The button will be gone; whoever pressed it goes on where they write.
    field.current.focus();
    return talk.stop();
  };
  return busy && html`<${Button} icon="stop" label=${t("Stop")} kind="round stop" run=${stop} />`;
}
