// An answer as blocks while it grows. No DOM: it runs in tests as it is.
//
// Blocks that are closed are parsed once and never again; their trees stay the same objects, and so
// do the items and rows of an open one that are as they were. Only
// complete lines can close a block: of a line that is still growing nobody knows whether it goes
// on with the paragraph or list above ("1. a", "", "2" may become "2. b"). From complete lines
// it is known: every rule of CommonMark that begins a block looks at lines from its beginning on,
// and definitions, which work backwards, are switched off.
import { healed, heldBack } from "./tail.js";
import { ANSWER_MOST, BLOCK_MOST, BLOCKS_MOST, chunks } from "./limits.js";
import { blockTree, inlineTree, ranked, shared, topLevel } from "./tree.js";

// So much of a long text is looked at in one go; most of it may turn out to be plain.
const WINDOW = 2 * BLOCK_MOST;

export class Answer {
  #parser;
  #text = "";
  #closed = [];
  #from = 0; // where the open blocks begin
  #looked = 0; // up to where complete lines were looked at
  #plain = false; // from #from on everything is plain
  #before = new Map(); // the trees of the open blocks as they were, by their start
  #larger = []; // levels of the headings that are open in the outline
  #known = new Map(); // nodes of paragraphs in the open blocks

  constructor(parser) {
    this.#parser = parser;
  }

  /** All blocks of the text so far: [{start, tree}], or {start, plain: text} where it is too much. */
  blocks(given, growing) {
    const text = given.replace(/\r\n?/g, "\n").replaceAll("\0", "\ufffd");
    if (!text.startsWith(this.#text)) this.#restart();
    this.#text = text;
    const complete = growing ? text.lastIndexOf("\n") + 1 : text.length;
    if (complete > this.#looked) this.#close(complete);
    return [...this.#closed, ...this.#open(growing)];
  }

  #restart() {
    this.#closed = [];
    this.#from = this.#looked = 0;
    this.#plain = false;
    this.#larger = [];
    this.#before.clear();
    this.#known.clear();
  }

  /** Close all blocks that end before the last one which complete lines begin. */
  #close(complete) {
    this.#looked = complete;
    let window = WINDOW;
    while (!this.#plain) {
      const to = Math.min(complete, this.#from + window);
      const found = this.#split(this.#text.slice(this.#from, to));
      for (const block of found) {
        this.#plain = tooLarge(block) || block.start >= ANSWER_MOST || this.#closed.length >= BLOCKS_MOST;
        this.#from = block.start;
        if (this.#plain) return;
        if (block !== found.at(-1)) this.#closed.push(this.#drawn(block, this.#larger, (text) => this.#nodes(text)));
      }
      if (found.length > 1) this.#known.clear();
      else window *= 2; // code that is longer
      if (to === complete) return;
    }
  }

  #split(text) {
    const starts = [0];
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
    return topLevel(this.#parser, text).map(({ line, end, tokens }) => ({
      start: this.#from + starts[line],
      length: (starts[end] ?? text.length) - starts[line],
      tokens,
    }));
  }

  /** The blocks that may still change, without what is not clear yet. */
  #open(growing) {
    let text = this.#text.slice(this.#from);
    if (!text) return [];
    if (this.#plain) return plain(text, this.#from);
    if (growing) text = heldBack(text);
    const found = this.#split(text);
    if (found.some(tooLarge)) return plain(this.#text.slice(this.#from), this.#from);
    const larger = [...this.#larger];
    const open = found.map((block) => {
      const growth = growing && block === found.at(-1) ? stillGrowing(text, block.tokens) : null;
      return this.#drawn(block, larger, (content, token) =>
        token === growth ? inlineTree(this.#parser, healed(content)) : this.#nodes(content));
    });
    this.#before = new Map(open.map(({ start, tree }) => [start, tree]));
    return open;
  }

  #drawn({ start, length, tokens }, larger, inline) {
    const tree = blockTree(tokens, inline);
    if (!tree) return { start, plain: this.#text.slice(start, start + length) };
    return { start, tree: shared(ranked(tree, larger), this.#before.get(start)) };
  }

  /** Nodes of a paragraph; the same text in the open blocks gives the same objects. */
  #nodes(content) {
    let nodes = this.#known.get(content);
    if (!nodes) {
      nodes = inlineTree(this.#parser, content);
      if (this.#known.size > 5_000) this.#known.clear();
      this.#known.set(content, nodes);
    }
    return nodes;
  }
}

const tooLarge = (block) => block.length > BLOCK_MOST && block.tokens[0].type !== "fence";

const plain = (text, from) => {
  let start = from;
  return chunks(text).map((piece) => {
    const block = { start, plain: piece };
    start += piece.length;
    return block;
  });
};

/** The paragraph, heading or cell at the end of the text that can still grow, or null. */
function stillGrowing(text, tokens) {
  // markdown-it adds the cells that a row does not have yet; those are empty.
  const at = tokens.findLastIndex((one) => one.nesting === 0 && (one.type !== "inline" || one.content));
  if (tokens[at]?.type !== "inline") return null;
  const paragraph = tokens[at - 1].type === "paragraph_open";
  const ended = paragraph ? /\n[ \t>]*\n[ \t>]*$/.test(text) : text.endsWith("\n");
  return ended ? null : tokens[at];
}
