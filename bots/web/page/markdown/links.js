// Where a link may lead, and whether its text claims another place.
import { TURNING } from "./visible.js";

const ALLOWED = new Set(["http:", "https:", "mailto:"]);
// A longer address is no link: nobody can check it, and it is shown as text.
const MOST = 2_000;
const SHOWN = 120;
// What a reader takes for an address: whatever follows a scheme, a name with a dot in it in any script, numbers.
const CLAIMS =
  /[a-z][a-z0-9+.-]{0,20}:\/\/(?:[^\s/@?#]+@)?([^\s/?#:()<>"'`]+)|((?:[\p{L}\p{N}_-]+[.\u3002\uff0e\uff61])+[\p{L}\p{N}-]+|localhost|\[[0-9a-f:.]+\])/giu;

/** What markdown-it says of a link: {href, host}, or {address} where it may not be followed. */
export function destination(raw) {
  const url = parsed(raw);
  if (!url || raw.length > MOST) return { address: raw.length > SHOWN ? `${raw.slice(0, SHOWN)}...` : raw };
  return { href: url.href, host: url.protocol === "mailto:" ? url.pathname : url.host };
}

function parsed(raw) {
  // Relative ones are refused: an answer knows no address of this page.
  if (!/^(?:https?:\/\/|mailto:)/i.test(raw)) return null;
  try {
    const url = new URL(raw);
    return ALLOWED.has(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

/** Whether the text of a link names another place than the one it leads to. */
export function misleads(text, { href, host }) {
  if (TURNING.test(text)) return true;
  const url = new URL(href);
  if (url.username || url.password) return true;
  if (url.protocol === "mailto:") return text.includes("@") ? !text.includes(decoded(host)) : claims(text, "");
  return claims(text, url.hostname);
}

function claims(text, hostname) {
  const bare = (name) => name.toLowerCase().replace(/^www\./, "");
  for (const [, behind, found] of text.slice(0, MOST).matchAll(CLAIMS)) {
    const name = behind ?? found;
    if (/^v?[\d.]+$/.test(name) && !/^\d+\.\d+\.\d+\.\d+$/.test(name)) continue; // a version, an amount
    if (bare(name) !== bare(hostname)) return true;
  }
  return false;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
