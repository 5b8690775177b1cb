// Files of a message: chosen, pasted, dropped or photographed, and shown before they are sent.
import { classes, html, useEffect, useMemo, useRef, useState } from "../lib/dom.js";
import { size } from "../lib/format.js";
import { number, t } from "../lib/i18n.js";
import { Icon } from "../lib/icons.js";
import { Button } from "../lib/parts.js";
import { note } from "../lib/say.js";
import { useStore } from "../lib/store.js";
import { Tray, limits } from "./tray.js";

/** A pasted text of more than this is offered as a file. */
const LONG_CHARS = 8_000;

/**
 * The files of one composer: {items, problem, problems, busy, add(files), remove(id), clear(), take(),
 * restore(taken)}. `take()` resolves to what POST /agent/turns takes and leaves the files where they
 * are; `clear()` forgets them and their previews; `restore` brings taken ones back. See tray.js.
 */
export function useAttachments() {
  const tray = useRef(null);
  tray.current ??= new Tray();
  const now = useStore(tray.current.store);
  useEffect(() => tray.current.clear, []);
  return useMemo(() => {
    const { add, remove, clear, take, restore, offer, dismiss } = tray.current;
    return { ...now, problem: now.problems[0] ?? null, offered: now.offer, add, remove, clear, take, restore, offer, dismiss };
  }, [now]);
}

const KINDS = () => ({
  "image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WebP", "application/pdf": "PDF", "text/plain": t("Text"),
});

/** What is attached, what was refused and why, and what is offered; nothing where there is none. */
export function AttachmentTray({ attachments }) {
  const { items, problems, offered } = attachments;
  const box = useRef(null);
  if (!items.length && !problems.length && !offered) return null;
  const remove = (one) => {
    const at = items.indexOf(one);
    attachments.remove(one.id);
    // The button that had the focus goes: its neighbour takes it, else the message.
    queueMicrotask(() => refocus(box.current, at, items.length - 1));
  };
  return html`<div ref=${box} class="attachment-tray">
    ${items.length > 0 && html`<ul aria-label=${t("Attached files")} aria-busy=${attachments.busy ? "true" : undefined}>
      ${items.map((one) => html`<${Chip} key=${one.id} one=${one} remove=${remove} />`)}</ul>`}
    ${offered && html`<${Offer} of=${offered} attachments=${attachments} />`}
    ${problems.length > 0 && html`<div class="attachment-problems"><div role="alert">${problems.map((one) => html`<p key=${one}>${one}</p>`)}</div>
      <${Button} kind="plain round small" icon="close" label=${t("Close")} run=${attachments.dismiss} /></div>`}
  </div>`;
}

function Chip({ one, remove }) {
  return html`<li class=${classes("attachment", one.state)}>
    ${one.preview ? html`<img src=${one.preview} alt="" draggable=${false} />` : html`<span class="attachment-icon"><${Icon} name="file" /></span>`}
    <div><span class="attachment-name" dir="auto" title=${one.name}>${one.name}</span>
      <span class="attachment-facts">${one.state === "reading" ? t("Reading ...") : html`${!one.smaller && html`<span>${KINDS()[one.type]}</span>`}<span>${size(one.size)}</span>${one.smaller && html`<span>${t("made smaller")}</span>`}`}</span></div>
    <${Button} kind="plain round small" icon="close" label=${t("Remove {name}", { name: one.name })} run=${() => remove(one)} /></li>`;
}

function refocus(box, at, left) {
  const buttons = box?.isConnected && left > 0 ? box.querySelectorAll(".attachment .button") : [];
  const next = buttons[Math.min(at, buttons.length - 1)] ?? document.querySelector("main textarea");
  next?.focus();
}

/** A long text that was pasted can be a file instead. */
function Offer({ of, attachments }) {
  const take = async () => {
    attachments.offer(null);
    of.takeOut();
    await attachments.add([textFile(of.text)]);
  };
  return html`<div class="attachment-offer" role="status"><p>${t("You pasted a long text ({n} characters).", { n: number(of.text.length) })}</p>
    <span><${Button} kind="small" icon="file" run=${take}>${t("Attach it as a file instead")}<//>
      <${Button} kind="plain round small" icon="close" label=${t("Leave it in the message")} run=${() => attachments.offer(null)} /></span></div>`;
}

const textFile = (text) => new File([text], "pasted.txt", { type: "text/plain" });

/** The handler of a text field's `paste`: files are attached, text stays text. */
export const pasteInto = (attachments) => (event) => {
  const data = event.clipboardData;
  if (!data) return;
  const text = data.getData("text/plain");
  const files = [...data.files];
  if (files.length && !isWritten(data, text, files)) {
    event.preventDefault();
    attachments.add(files);
  } else if (text.length > limits().chars) {
    event.preventDefault();
    attachments.add([textFile(text)]);
    note(t("The text is too long for a message and is attached as a file."));
  } else if (text.length > LONG_CHARS) {
    offer(event.currentTarget, text, attachments);
  }
};

/** Whether the text is what was copied: office programs add a picture of it, file managers the names. */
function isWritten(data, text, files) {
  if (!text.trim()) return false;
  const names = new Set(files.map((file) => file.name));
  const namesAlone = text.trim().split(/\r?\n/u).every((line) => names.has(line.split(/[/\\]/u).at(-1)));
  return !namesAlone && (data.types.includes("text/html") || data.types.includes("text/rtf"));
}

function offer(field, text, attachments) {
  const pasted = text.replace(/\r\n?/gu, "\n"); // as a text field keeps it
  const takeOut = () => {
    const at = field.value.indexOf(pasted);
    if (at < 0) return;
    field.focus();
    field.setSelectionRange(at, at + pasted.length);
    // The one way that leaves "undo" intact and tells the field's own handlers.
    if (!document.execCommand("delete")) {
      field.setRangeText("");
      field.dispatchEvent(new InputEvent("input", { bubbles: true }));
    }
  };
  attachments.offer({ text, takeOut });
}

/** Ways to attach: the browser's own dialog, and the camera. */
export function AttachButtons({ attachments }) {
  const files = useRef(null);
  const capture = useRef(null);
  const [Camera, setCamera] = useState(null);
  const touch = useMemo(() => matchMedia("(pointer: coarse)").matches, []);
  const chosen = (event) => {
    attachments.add(event.currentTarget.files);
    event.currentTarget.value = ""; // the same file can be chosen again
  };
  const camera = async () => {
    // A phone's own camera program is better than any dialog of ours.
    if (touch) return capture.current.click();
    const module = await import("./camera.js").catch(() => {
      throw new Error(t("This part of the page could not be loaded. Check the connection."));
    });
    return setCamera(() => module.Camera);
  };
  return html`<div class="attach-buttons">
    <input ref=${files} type="file" multiple hidden onChange=${chosen} />
    ${touch && html`<input ref=${capture} type="file" accept="image/*" capture="environment" hidden onChange=${chosen} />`}
    <${Button} kind="plain round" icon="attach" label=${t("Attach files")} run=${() => files.current.click()} />
    <${Button} kind="plain round" icon="camera" label=${t("Take a photo")} run=${camera} />
    ${Camera && html`<${Camera} use=${(photo) => attachments.add([photo])} close=${() => setCamera(null)} />`}</div>`;
}

const hasFiles = (event) => event.dataTransfer?.types.includes("Files") ?? false;

/** Where files can be dropped: all of the chat. It shows so while files are over it. */
export function DropZone({ attachments, children }) {
  const zone = useRef(null);
  const [over, setOver] = useState(false);
  useEffect(refuseElsewhere, []);
  const enter = (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    setOver(true);
  };
  const leave = (event) => {
    if (!zone.current.contains(event.relatedTarget)) setOver(false);
  };
  const drop = (event) => {
    setOver(false);
    if (!hasFiles(event)) return;
    event.preventDefault();
    const { files, folders } = dropped(event.dataTransfer);
    attachments.add(files, folders);
    zone.current.querySelector("textarea")?.focus();
  };
  return html`<div ref=${zone} class="drop-zone" onDragEnter=${enter} onDragOver=${enter} onDragLeave=${leave} onDrop=${drop}>
    ${children}${over && html`<div class="drop-here" aria-hidden="true"><p><${Icon} name="attach" size=${28} />${t("Drop the files to attach them")}</p></div>`}</div>`;
}

function dropped(data) {
  const given = [...data.items].filter((item) => item.kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry?.(), file: item.getAsFile() }));
  return {
    files: given.filter(({ entry, file }) => file && !entry?.isDirectory).map(({ file }) => file),
    folders: given.filter(({ entry }) => entry?.isDirectory).map(({ entry }) => entry.name),
  };
}

/** A file that misses the zone would take the browser away from the page, and what was written with it. */
function refuseElsewhere() {
  const refuse = (event) => {
    if (event.defaultPrevented || !hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "none";
  };
  addEventListener("dragover", refuse);
  addEventListener("drop", refuse);
  return () => {
    removeEventListener("dragover", refuse);
    removeEventListener("drop", refuse);
  };
}
