// Characters that hide or reorder others, so that code shows what it really holds.
//
// What looks like one command may be another when characters turn the reading direction round or
// are not drawn at all ("Trojan Source", CVE-2021-42574). The server's cards do the same in
// core/visible.py.

// Controls, direction marks, zero width characters, blank letters, selectors, tags, private use, line separators;
// not tab and newline. Joiners between emoji are written out too: this is code.
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}\ue000-\uf8ff\ud800-\udfff]/gu;

// Letters that turn the direction of what stands beside them, and the marks that do so openly.
export const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

const written = (char) => `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

/** The text in parts: strings as they are, and `{hidden: "U+202E"}` for a character to write out. */
export function parts(text) {
  const made = [];
  let from = 0;
  for (const found of text.matchAll(HIDDEN)) {
    if (found.index > from) made.push(text.slice(from, found.index));
    made.push({ hidden: written(found[0]) });
    from = found.index + found[0].length;
  }
  if (from < text.length) made.push(text.slice(from));
  return made;
}
