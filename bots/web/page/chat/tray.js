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
export class Tray {
  store = createStore(NONE);
  #last = 0;
  #under = 0;
  #cleared = 0; // files that were being read when the tray was cleared do not come back
  #work = Promise.resolve();

  /** Take files, one after the other; `folders` are names of what cannot be taken. */
  add = (files, folders = []) => {
    this.#change({ problems: folders.map((name) => t("{name} is a folder. Attach the files in it.", { name: cleanName(name, 1) })), busy: true });
    const begun = this.#cleared;
    const given = [...files]; // a picker's list is emptied after the event
    this.#under += 1;
    this.#work = this.#work.then(() => this.#addAll(given, begun)).finally(() => {
      this.#under -= 1;
      this.#change({ busy: this.#under > 0 });
    });
    return this.#work;
  };

  remove = (id) => {
    const one = this.#items.find((item) => item.id === id);
    if (one?.preview) URL.revokeObjectURL(one.preview);
    this.#change({ items: this.#without(id), problems: [] });
  };

  clear = () => {
    this.#cleared += 1;
    for (const one of this.#items) if (one.preview) URL.revokeObjectURL(one.preview);
    this.#change({ items: [], problems: [], offer: null });
  };

  /** What the API takes, once all is read: [{name, media_type, data}], `data` in Base64. Nothing is
   * cleared: who sent it well calls `clear`. */
  take = async () => {
    await this.#work;
    return Promise.all(this.#items.map(async (one) => ({ name: one.name, media_type: one.type, data: await base64(one.blob) })));
  };

  /** Put what `take` gave back into the tray: a message that was not sent after all. */
  restore = (taken) => this.add(taken.map(({ name, media_type: type, data }) => new File([bytesOf(data)], name, { type })));

  /** Offer to attach a pasted text, {text, takeOut}; null: no more. */
  offer = (offer) => this.#change({ offer });

  /** Forget what was refused. */
  dismiss = () => this.#change({ problems: [] });

  get #items() {
    return this.store.get().items;
  }

  #change(part) {
    this.store.set((now) => ({ ...now, ...part }));
  }

  #without(id) {
    return this.#items.filter((one) => one.id !== id);
  }

  #refuse(sentence) {
    this.store.set((now) => ({ ...now, problems: [...now.problems.filter((one) => one !== sentence), sentence] }));
  }

  async #addAll(files, begun) {
    let left = 0;
    for (const file of files) {
      if (begun !== this.#cleared) return;
      if (this.#items.length < limits().files) await this.#addOne(file, begun);
      else left += 1;
    }
    const most = limits().files;
    if (left) this.#refuse(tn("At most {most} files go with a message; {n} file was left out.", "At most {most} files go with a message; {n} files were left out.", left, { most }));
  }

  async #addOne(file, begun) {
    this.#last += 1;
    const id = this.#last;
    const name = unlike(cleanName(file.name, id), this.#items);
    this.#change({ items: [...this.#items, { id, name, type: "", size: file.size, blob: null, preview: null, smaller: false, state: "reading" }] });
    try {
      const used = this.#without(id).reduce((sum, one) => sum + one.size, 0);
      const ready = await prepared(file, name, limits().bytes - used);
      if (begun !== this.#cleared || !this.#items.some((one) => one.id === id)) return;
      this.#keep(id, ready);
    } catch (refused) {
      if (begun !== this.#cleared) return;
      this.#change({ items: this.#without(id) });
      this.#refuse(refused instanceof Refused ? refused.message : t("{name} cannot be read. Choose it again.", { name }));
    }
  }

  #keep(id, { blob, name, type, smaller }) {
    const preview = type.startsWith("image/") ? URL.createObjectURL(blob) : null;
    const free = unlike(name, this.#without(id));
    const item = { id, name: free, type, size: blob.size, blob, preview, smaller, state: "ready" };
    this.#change({ items: this.#items.map((one) => (one.id === id ? item : one)) });
    announce(t("{name} is attached", { name: free }));
  }
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

const bytesOf = (data) => Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
