// Files of a message that was sent: pictures as pictures, all else as links.
import { html, useEffect, useMemo, useState } from "../lib/dom.js";
import { Problem, request } from "../lib/api.js";
import { size } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { Icon } from "../lib/icons.js";
import { Dialog } from "../lib/parts.js";

/** What browsers draw from our own address. */
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const UNSEEN = /[\u0000-\u001f\u007f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

/** A name in which nothing is hidden and nothing turns the order of its characters. */
const nameOf = (file) => file.name.replace(UNSEEN, "") || t("File");

const addressOf = (file, conversation) =>
  `/api/v1/conversations/${encodeURIComponent(conversation)}/files/${encodeURIComponent(file.sha256)}`;

export const Files = ({ files, conversation }) => html`<ul class="files" aria-label=${t("Files")}>
  ${files.map((file, n) => html`<li key=${file.sha256 ?? n}>
    ${PICTURES.has(file.media_type) ? html`<${Picture} file=${file} conversation=${conversation} />` : html`<${Chip} file=${file} conversation=${conversation} />`}</li>`)}</ul>`;

function Picture({ file, conversation }) {
  const [open, setOpen] = useState(false);
  const [broken, setBroken] = useState(false);
  const source = useSource(file, conversation);
  const name = nameOf(file);
  if (broken) return html`<${Chip} file=${file} conversation=${conversation} />`;
  return html`<button type="button" class="picture" title=${name} onClick=${() => setOpen(true)}>
      <img src=${source} alt=${name} loading="lazy" onError=${() => setBroken(true)} /></button>
    ${open && html`<${Dialog} title=${name} close=${() => setOpen(false)} kind="picture-dialog"><img src=${source} alt=${name} /><//>`}`;
}

/** The server's file; while it is on its way there, our own copy. */
function useSource(file, conversation) {
  const local = useMemo(() => (file.data ? URL.createObjectURL(new Blob([bytes(file.data)], { type: file.media_type })) : null), [file.data]);
  useEffect(() => () => local && URL.revokeObjectURL(local), [local]);
  return local ?? addressOf(file, conversation);
}

const bytes = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

function Chip({ file, conversation }) {
  const inside = html`<${Icon} name="file" size=${18} /><span class="file-name" dir="auto">${nameOf(file)}</span>
    <span class="quiet">${size(file.size ?? Math.floor((file.data.length * 3) / 4))}</span>`;
  if (!file.sha256) return html`<span class="file-chip">${inside}</span>`;
  return html`<a class="file-chip" href=${addressOf(file, conversation)} download=${nameOf(file)}>${inside}</a>`;
}

/** Files of an earlier message as they are sent: what the server has is fetched from there. */
export const filesAgain = (files, conversation) =>
  Promise.all(files.map(async (file) => {
    if (file.data) return file;
    const answer = await request("GET", addressOf(file, conversation).replace("/api/v1", ""));
    const { name, media_type } = file;
    return { name, media_type, data: await base64(await answer.blob()) };
  }));

const base64 = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Problem({ status: 0, code: "file", detail: t("A file could not be read. Attach it again.") }));
    reader.readAsDataURL(blob);
  });
