// The files that go with the next message: what is taken, what is refused and why.
import { session } from "../lib/api.js";
import { size } from "../lib/format.js";
import { t, tn } from "../lib/i18n.js";
import { announce } from "../lib/say.js";
import { createStore } from "../lib/store.js";
import { fitted, kindOf } from "./images.js";

const LIMITS = { files: 5, bytes: 10 * 1024 * 1024, chars: 100_000 };
/** More than this is not even tried to be made smaller: decoding it may take all memory. */
const LARGEST_PHOTO_BYTES = 64 * 1024 * 1024;
const NAME_CHARS = 100;
const NONE = { items: [], problems: [], busy: false, offer: null };

/** How much goes with a message, as the server says. */
export const limits = () => session.get()?.limits ?? LIMITS;

/** Why a file is not taken, as a sentence. */
class Refused extends Error {}

/**
 * Files of one composer. Its store has {items, problems, busy, offer}; an item has
 * {id, name, type, size, blob, preview, smaller, state: "reading" | "ready"}.
 */
export function createTray() {
  const store = createStore(NONE);
  const change = (part) => store.set((now) => ({ ...now, ...part }));
  let last = 0;
  let under = 0;
  let cleared = 0; // files that were being read when the tray was cleared do not come back
  let work = Promise.resolve();

  const refuse = (sentence) => store.set((now) => ({ ...now, problems: [...now.problems.filter((one) => one !== sentence), sentence] }));
  const without = (id) => store.get().items.filter((one) => one.id !== id);
  const replace = (id, part) => change({ items: store.get().items.map((one) => (one.id === id ? { ...one, ...part } : one)) });

  async function addOne(file, begun) {
    last += 1;
    const id = last;
    const name = unlike(cleanName(file.name, id), store.get().items);
    change({ items: [...store.get().items, { id, name, type: "", size: file.size, blob: null, preview: null, smaller: false, state: "reading" }] });
    try {
      const used = without(id).reduce((sum, one) => sum + one.size, 0);
      const ready = await prepared(file, name, limits().bytes - used);
      if (begun !== cleared || !store.get().items.some((one) => one.id === id)) return;
      const preview = ready.type.startsWith("image/") ? URL.createObjectURL(ready.blob) : null;
      replace(id, { ...ready, size: ready.blob.size, preview, state: "ready" });
      announce(t("{name} is attached", { name: ready.name }));
    } catch (refused) {
      if (begun !== cleared) return;
      change({ items: without(id) });
      refuse(refused instanceof Refused ? refused.message : t("{name} cannot be read. Choose it again.", { name }));
    }
  }

  async function addAll(files, begun) {
    let left = 0;
    for (const file of files) {
      if (begun !== cleared) return;
      if (store.get().items.length < limits().files) await addOne(file, begun);
      else left += 1;
    }
    const most = limits().files;
    if (left) refuse(tn("At most {most} files go with a message; {n} file was left out.", "At most {most} files go with a message; {n} files were left out.", left, { most }));
  }

  /** Take files, one after the other; `folders` are names of what cannot be taken. */
  function add(files, folders = []) {
    change({ problems: folders.map((name) => t("{name} is a folder. Attach the files in it.", { name: cleanName(name, 1) })), busy: true });
    const begun = cleared;
    const given = [...files]; // a picker's list is emptied after the event
    under += 1;
    work = work.then(() => addAll(given, begun)).finally(() => {
      under -= 1;
      change({ busy: under > 0 });
    });
    return work;
  }

  function remove(id) {
    const one = store.get().items.find((item) => item.id === id);
    if (one?.preview) URL.revokeObjectURL(one.preview);
    change({ items: without(id), problems: [] });
  }

  function clear() {
    cleared += 1;
    for (const one of store.get().items) if (one.preview) URL.revokeObjectURL(one.preview);
    change({ items: [], problems: [], offer: null });
  }

  /** What the API takes, once all is read: [{name, media_type, data}], `data` in Base64. Nothing is
   * cleared: who sent it well calls `clear`. */
  async function take() {
    await work;
    return Promise.all(store.get().items.map(async (one) => ({ name: one.name, media_type: one.type, data: await base64(one.blob) })));
  }

  return { store, add, remove, clear, take, offer: (offer) => change({ offer }), dismiss: () => change({ problems: [] }) };
}

/** A file as it is sent: {blob, name, type, smaller}, in memory, so that what changes or vanishes on
 * the disk meanwhile changes nothing. Raises `Refused`. */
async function prepared(file, name, room) {
  if (!file.size) throw new Refused(t("{name} is empty.", { name }));
  const type = await kindOf(file);
  switch (type) {
    case "":
      throw new Refused(t("{name} cannot be attached. IT0 takes PNG, JPEG, GIF and WebP images, PDF and text.", { name }));
    case "archive":
      throw new Refused(t("{name} is an archive or an Office document. Attach the files in it, or save the document as PDF.", { name }));
    case "application/pdf":
    case "text/plain":
      fits(file, name, room);
      return { blob: await copied(file, type), name, type, smaller: false };
    default:
      return photo(file, name, type, room);
  }
}

async function photo(file, name, type, room) {
  fits(file, name, LARGEST_PHOTO_BYTES);
  let made;
  try {
    made = await fitted(await copied(file, file.type), type);
  } catch {
    throw new Refused(type === "picture"
      ? t("{name} is of a kind that this browser cannot convert. Save it as JPEG and attach that.", { name })
      : t("{name} is damaged or too large: this browser cannot read it as an image.", { name }));
  }
  fits(made.blob, name, room);
  if (!made.smaller) return { ...made, name, type };
  return { ...made, name: `${name.replace(/\.\w{1,5}$/u, "")}.jpg`, type: "image/jpeg" };
}

function fits(blob, name, room) {
  if (blob.size <= room) return;
  throw new Refused(t("{name} is too large: the files of one message may have {most} together.", { name, most: size(limits().bytes) }));
}

const copied = async (file, type) => new Blob([await file.arrayBuffer()], { type });

/** A name as it may be shown: the last part of a path, one line, nothing invisible, its suffix kept. */
export function cleanName(name, number) {
  const line = name.normalize("NFC").split(/[/\\]/u).at(-1).replace(/[\t\n]/gu, " ").replace(/\p{C}/gu, "");
  const kept = [...line.replace(/\s+/gu, " ").replace(/^[. ]+/u, "").trim()];
  if (!kept.length) return `file-${number}`;
  if (kept.length <= NAME_CHARS) return kept.join("");
  const suffix = /\.[^.]{1,10}$/u.exec(kept.join(""))?.[0] ?? "";
  return `${kept.slice(0, NAME_CHARS - suffix.length - 1).join("")}…${suffix}`;
}

/** The name, with a number where another file has it. */
function unlike(name, others) {
  const [, stem, suffix] = /^(.*?)(\.[^.]{1,10})?$/u.exec(name);
  let free = name;
  for (let n = 2; others.some((one) => one.name === free); n += 1) free = `${stem}-${n}${suffix ?? ""}`;
  return free;
}

const base64 = (blob) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
