// From markdown-it's tokens to a tree of what the page may draw. No DOM: it runs in tests as it is.
//
// A node is a string, or {kind, children, ...}. The kinds are an allow-list; a token that is not
// known becomes its text. No HTML is ever made, and none but `<br>` understood.
import { destination, misleads } from "./links.js";
import { friendly } from "./emphasis.js";
import { CELLS_MOST, INLINE_MOST, NESTING_MOST } from "./limits.js";

/** The parser as this page needs it. `MarkdownIt` is passed in: it is loaded when first needed. */
export function makeParser(MarkdownIt) {
  const parser = new MarkdownIt({ html: false, linkify: true, typographer: false, maxNesting: NESTING_MOST });
  // A definition at the end would change links that were drawn long before; it is shown as it stands.
  parser.disable("reference");
  // What is a link is decided by destination(), which also says what to show instead.
  parser.validateLink = () => true;
  parser.normalizeLinkText = (address) => address;
  friendly(parser);
  parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false });
  for (const scheme of ["ftp:", "//", "mailto:"]) parser.linkify.add(scheme, null);
  return parser;
}

/** The top-level blocks of a text: [{line, end, tokens}], by number of line; no inline content yet. */
export function topLevel(parser, text) {
  const tokens = [];
  parser.block.parse(text, parser, {}, tokens);
  const blocks = [];
  for (const token of tokens) {
    if (token.level === 0 && token.nesting >= 0) {
      blocks.push({ line: token.map[0], end: token.map[1], tokens: [] });
    }
    blocks.at(-1).tokens.push(token);
  }
  return blocks;
}

const CONTAINERS = new Map([
  ["paragraph", () => ({ kind: "p" })],
  ["heading", (token) => ({ kind: "h", level: Number(token.tag.slice(1)) })],
  ["blockquote", () => ({ kind: "quote" })],
  ["bullet_list", () => ({ kind: "ul" })],
  ["ordered_list", (token) => ({ kind: "ol", start: Number(token.attrGet("start") ?? 1) })],
  ["list_item", () => ({ kind: "li" })],
  ["table", () => ({ kind: "table" })],
  ["thead", () => ({ kind: "thead" })],
  ["tbody", () => ({ kind: "tbody" })],
  ["tr", () => ({ kind: "tr" })],
  ["th", (token) => ({ kind: "th", align: alignment(token) })],
  ["td", (token) => ({ kind: "td", align: alignment(token) })],
]);

const alignment = (token) => /^text-align:(left|center|right)$/.exec(token.attrGet("style") ?? "")?.[1] ?? "";

/**
 * The tree of one top-level block, or null where it is too deep or too large to draw.
 * `inline` makes the nodes of a paragraph's text; it may remember them.
 */
export function blockTree(tokens, inline) {
  const root = { kind: "root", children: [] };
  const path = [root];
  let cells = 0;
  for (const token of tokens) {
    if (token.level >= NESTING_MOST - 1) return null;
    const here = path.at(-1);
    if (token.nesting > 0) {
      const make = CONTAINERS.get(token.type.replace(/_open$/, ""));
      const node = { ...(make?.(token) ?? { kind: "p" }), children: [] };
      if ((node.kind === "td" || node.kind === "th") && (cells += 1) > CELLS_MOST) return null;
      here.children.push(node);
      path.push(node);
    } else if (token.nesting < 0) {
      path.pop();
    } else {
      leaf(token, path, inline);
    }
  }
  return root.children[0];
}

function leaf(token, path, inline) {
  const here = path.at(-1);
  switch (token.type) {
    case "inline":
      here.text = true; // its children are inline ones
      here.children = inline(taskless(token, path), token);
      break;
    case "fence":
      here.children.push({ kind: "code", language: language(token.info), text: token.content });
      break;
    case "code_block":
      here.children.push({ kind: "code", language: "", text: token.content });
      break;
    case "hr":
      here.children.push({ kind: "hr" });
      break;
    default:
      here.children.push({ kind: "p", children: [token.content] });
  }
}

/** The text without the box of a task, which is noted at the list item (GitHub Flavored Markdown, 5.3). */
function taskless(token, path) {
  const item = path.at(-2);
  const box = item?.kind === "li" && item.children.length === 1 && /^\[([ xX])\](?:\s+|$)/.exec(token.content);
  if (!box) return token.content;
  item.task = box[1] !== " ";
  return token.content.slice(box[0].length);
}

/** The first word after the fence, as a label; it never becomes a class or a key. */
const language = (info) => info.trim().split(/[\s{,]/, 1)[0].slice(0, 30);

const SPANS = new Map([["em", "em"], ["strong", "strong"], ["s", "del"]]);

/** The nodes of a paragraph's text. */
export function inlineTree(parser, text) {
  if (text.length > INLINE_MOST) return [text];
  const root = { children: [] };
  const path = [root];
  for (const token of parser.parseInline(text, {})[0].children) {
    const here = path.at(-1);
    if (token.nesting > 0) {
      const node = { ...span(token), children: [] };
      here.children.push(node);
      path.push(node);
    } else if (token.nesting < 0) {
      const node = path.pop();
      if (node.kind === "link") settle(node);
    } else {
      here.children.push(...inlineLeaf(token));
    }
  }
  return root.children;
}

function span(token) {
  if (token.type === "link_open") return { kind: "link", ...destination(token.attrGet("href") ?? "") };
  return { kind: SPANS.get(token.type.replace(/_open$/, "")) ?? "span" };
}

function inlineLeaf(token) {
  switch (token.type) {
    case "softbreak":
      return ["\n"];
    case "hardbreak":
      return [{ kind: "br" }];
    case "code_inline":
      return [{ kind: "codespan", text: token.content }];
    case "image": {
      // Never loaded: it would tell a stranger who reads this, and when.
      const node = { kind: "link", image: true, ...destination(token.attrGet("src") ?? ""), children: [] };
      const alt = wordsOf(token.children ?? []);
      if (alt) node.children.push(alt);
      return [settle(node)];
    }
    default:
      return lines(token.content);
  }
}

/** Engines write `<br>` where a cell needs a second line; that one tag is understood, and no other. */
function lines(text) {
  if (!text) return [];
  return text.split(/<br[ ]?\/?>/i).flatMap((line, n) => [...(n ? [{ kind: "br" }] : []), ...(line ? [line] : [])]);
}

/** The words of a picture's description. */
const wordsOf = (tokens) => tokens.map((token) => {
  if (token.children) return wordsOf(token.children);
  return token.type === "softbreak" ? " " : token.content;
}).join("");

/** Decide whether the place behind a link must be shown with it. */
function settle(node) {
  if (!node.href) return node;
  const text = plainText(node);
  if (node.image || !text.trim() || misleads(text, node)) node.show = true;
  return node;
}

/** The tree `now`, with every part that is as it was `before` replaced by that very object. */
export function shared(now, before) {
  if (typeof now === "string" || now.kind !== before?.kind) return now;
  let same = Object.keys(now).length === Object.keys(before).length;
  for (const [key, value] of Object.entries(now)) {
    if (key === "children" && !now.text && value !== before.children) {
      now.children = value.map((child, n) => shared(child, before.children[n]));
      same &&= value.length === before.children.length && now.children.every((child, n) => child === before.children[n]);
    } else {
      same &&= value === before[key];
    }
  }
  return same ? before : now;
}

/**
 * Give every heading of a tree its rank in the outline: one below the last one that is larger. An
 * answer may begin at any level and leave some out; readers of an outline should not notice.
 * `larger` are the levels of the headings so far that are still open; it is brought up to date.
 */
export function ranked(node, larger) {
  if (node.kind === "h") {
    while (larger.at(-1) >= node.level) larger.pop();
    larger.push(node.level);
    node.rank = larger.length;
  }
  for (const child of node.text ? [] : node.children ?? []) ranked(child, larger);
  return node;
}

/** The words of a node and all below it. */
export function plainText(node) {
  if (typeof node === "string") return node;
  return typeof node.text === "string" ? node.text : (node.children ?? []).map(plainText).join("");
}
