// The end of a text that still grows, without a flash of raw syntax. No DOM: it runs in tests.
//
// What may yet become syntax is held back for the moment (`- [`, a first line of a table, `](`),
// what is open is closed (`**bo` is drawn bold). When the text is complete nothing of this is
// done, so what stayed unclear is shown as it is. A rule cannot know the future: a lone `*` that is
// never closed is drawn as emphasis until its paragraph ends.
import { flanks } from "./emphasis.js";
import { INLINE_MOST } from "./limits.js";

// Marks of containers before the content of a line; every turn takes at least one sign.
const CONTAINER = /^(?:[ \t>]+|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t]))*/;
const UNCLEAR = [
  /^$/, // marks alone
  /^#{1,6}[ \t]*$/,
  /^[-+*_=][-*_=\t ]*$/, // a list, a rule, a heading's underline, or bold text
  /^\d{1,9}[.)]?$/,
  /^(?:`{1,2}|~{1,2})$/,
  /^(?:`{3}[^`]*|~{3}.*)$/, // a fence: its label is not complete
  /^\[(?:[ xX]\]?)?$/, // a task
];
const DELIMITERS = /^[|:\- \t]*$/;
// A bracket that stays open for longer is text.
const BRACKET_MOST = 300;
// More signs that are open at once are no writing; they are shown as they are.
const OPEN_MOST = 30;
const OPEN = Infinity;

/** The text without the lines at its end whose kind is not clear yet. */
export function heldBack(text) {
  const at = [text.lastIndexOf("\n") + 1];
  for (let n = 0; n < 2 && at[0] > 0; n += 1) at.unshift(at[0] < 2 ? 0 : text.lastIndexOf("\n", at[0] - 2) + 1);
  const content = (start) => {
    const line = text.slice(start, text.indexOf("\n", start) < 0 ? undefined : text.indexOf("\n", start));
    return line.replace(CONTAINER, "");
  };
  const last = content(at.at(-1));
  const above = at.length > 1 ? content(at.at(-2)) : "";
  const head = above.startsWith("|") && !(at.length > 2 && content(at[0]).startsWith("|"));
  if (head && DELIMITERS.test(last)) return text.slice(0, at.at(-2));
  if (last.startsWith("|") && (!above.startsWith("|") || last.length === 1)) return text.slice(0, at.at(-1));
  return UNCLEAR.some((form) => form.test(last)) ? text.slice(0, at.at(-1)) : text;
}

/** A paragraph's text that still grows, so that it can be drawn: unclear signs cut, open ones closed. */
export function healed(text) {
  if (text.length > INLINE_MOST) return text;
  const now = { text, open: [], links: [], result: null };
  let at = 0;
  while (at < text.length && now.result === null) at = (STEPS.get(text[at]) ?? onward)(now, at);
  return now.result ?? ended(now, () => closed(text, now.open));
}

// What is done at a sign: each returns where to go on, or sets the result when the end is reached.
const STEPS = new Map([
  ["\\", (now, at) => {
    if (at + 1 === now.text.length) now.result = ended(now, () => closed(now.text.slice(0, at), now.open));
    return at + 2;
  }],
  ["`", (now, at) => {
    const ticks = run(now.text, at);
    const end = closing(now.text, at + ticks, ticks);
    if (end < 0) now.result = ended(now, () => inCode(now.text, at, ticks, now.open));
    return end;
  }],
  ["*", sign],
  ["_", sign],
  ["~", sign],
  [":", (now, at) => addressEnd(now.text, at)],
  ["[", (now, at) => {
    const image = now.text[at - 1] === "!" && now.text[at - 2] !== "\\";
    if (now.links.length > OPEN_MOST) now.links.shift();
    now.links.push({ at: image ? at - 1 : at, inside: at + 1, open: now.open.map((one) => ({ ...one })) });
    return at + 1;
  }],
  ["]", bracketEnd],
]);

const onward = (now, at) => at + 1;

function sign(now, at) {
  const length = run(now.text, at);
  if (at + length === now.text.length) now.result = ended(now, () => closed(now.text.slice(0, at), now.open));
  else mark(now.text, at, length, now.open);
  return at + length;
}

function bracketEnd(now, at) {
  const { text } = now;
  const link = now.links.pop();
  if (!link) return at + 1;
  if (at + 1 === text.length) {
    now.links.push(link);
    now.result = ended(now, () => text);
  }
  if (text[at + 1] !== "(") return at + 1;
  const end = destinationEnd(text, at + 2);
  // The address is not complete: its text is shown, and becomes a link later.
  if (end === OPEN) now.result = healed(text.slice(0, link.at) + text.slice(link.inside, at));
  if (end < 0) return at + 1;
  if (text[link.at] !== "!") now.links = []; // links hold no links
  return end;
}

/** Cut at the outermost bracket that may yet become a link; where there is none, `otherwise`. */
function ended({ text, links }, otherwise) {
  const link = links.find((one) => text.length - one.at <= BRACKET_MOST);
  return link ? closed(text.slice(0, link.at), link.open) : otherwise();
}

/** Behind a bare address, in which stars and underscores are no signs; behind the colon where none begins. */
function addressEnd(text, at) {
  if (!text.startsWith("://", at) || !/https?$/i.test(text.slice(Math.max(0, at - 5), at))) return at + 1;
  return at + withoutEnd(/^[^\s<>]*/.exec(text.slice(at))[0], "*").length;
}

/** Without such signs at the end. (As a regular expression its time would grow with the square of a run.) */
function withoutEnd(text, signs) {
  let end = text.length;
  while (end > 0 && signs.includes(text[end - 1])) end -= 1;
  return text.slice(0, end);
}

const run = (text, at) => {
  let end = at + 1;
  while (end < text.length && text[end] === text[at]) end += 1;
  return end - at;
};

/** Where a code span that was opened with so many ticks ends, or -1. */
function closing(text, from, ticks) {
  for (let at = text.indexOf("`", from); at >= 0; at = text.indexOf("`", at)) {
    const length = run(text, at);
    at += length;
    if (length === ticks) return at;
  }
  return -1;
}

/** A code span that is open: its content as far as it is there. */
function inCode(text, at, ticks, open) {
  const content = withoutEnd(text.slice(at + ticks), "`\\"); // in a cell, `\|` is a bar
  if (!content.trim()) return closed(text.slice(0, at), open);
  return `${text.slice(0, at + ticks)}${content}${"`".repeat(ticks)}${closers(open)}`;
}

/** Note the signs of emphasis that begin or end here (CommonMark 0.31, section 6.2). */
function mark(text, at, length, open) {
  const char = text[at];
  const { opens, closes } = flanks(text, at, at + length);
  let left = char === "~" ? 2 * Math.floor(length / 2) : length;
  for (let n = open.length - 1; closes && left > 0 && n >= 0; n -= 1) {
    const one = open[n];
    if (one.char !== char) continue;
    const used = Math.min(one.left, left);
    one.left -= used;
    left -= used;
    open.length = one.left ? n + 1 : n;
  }
  // A star before a dot or a slash is a pattern of file names more often than emphasis.
  if (opens && left > 0 && open.length < OPEN_MOST && !(length === 1 && /[./\\*)]/.test(text[at + 1]))) open.push({ char, left, at });
}

const closers = (open) => open.map((one) => one.char.repeat(one.left)).reverse().join("");

/** The text with what is open closed, and without what begins an address, an entity or a picture at its end. */
function closed(text, open) {
  let kept = text.replace(/<(?:[a-zA-Z][^\s<>]{0,300})?$/, "").replace(/&(?:#?[a-zA-Z0-9]{0,31})?$/, "").replace(/(^|\s)!$/, "$1");
  if (!open.length) return kept;
  kept = withoutEnd(kept, " \t\n*_~");
  return kept + closers(open.filter((one) => one.at < kept.length));
}

/** Where `(address "title")` ends, from behind its bracket: an index, OPEN, or -1 where it is none. */
function destinationEnd(text, from) {
  let at = from + /^\s*/.exec(text.slice(from, from + 50))[0].length;
  if (text[at] === "<") {
    const end = /[>\n]/.exec(text.slice(at));
    if (!end) return OPEN;
    if (end[0] === "\n") return -1;
    at += end.index + 1;
  } else {
    for (let depth = 0; at < text.length; at += 1) {
      if (text[at] === "\\") at += 1;
      else if (text[at] === "(") depth += 1;
      else if (text[at] === ")" && (depth -= 1) < 0) break;
      else if (/\s/.test(text[at])) break;
    }
  }
  const rest = text.slice(at);
  if (!rest.trim()) return OPEN;
  if (rest[0] === ")") return at + 1;
  const title = /^\s+(?:"(?:[^"\\]|\\.)*("?)|'(?:[^'\\]|\\.)*('?)|\((?:[^()\\]|\\.)*(\)?))\s*(\)?)/s.exec(rest);
  if (!title) return -1;
  if (title[4]) return at + title[0].length;
  return title[0].length === rest.length ? OPEN : -1;
}
