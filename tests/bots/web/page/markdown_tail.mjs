// Streams documents through the page's own modules, and says what it saw. No DOM is needed.
//
// From standard input: {modules: folder, cases: [{text, cuts: [positions], compare}], held: [text],
// links: [[text, href]], hidden: [text]}.
import { pathToFileURL } from "node:url";

let given = "";
for await (const piece of process.stdin) given += piece;
const { modules, cases, held, links, hidden } = JSON.parse(given);
const from = (name) => import(pathToFileURL(`${modules}/${name}`).href);
const { default: MarkdownIt } = await from("vendor/markdown-it/markdown-it.js");
const { Answer } = await from("markdown/stream.js");
const { blockTree, inlineTree, makeParser, plainText, ranked } = await from("markdown/tree.js");
const { healed, heldBack } = await from("markdown/tail.js");
const { destination, misleads } = await from("markdown/links.js");
const { parts } = await from("markdown/visible.js");

const parser = makeParser(MarkdownIt);

/** The whole text through the parser's own way, without stream.js: what everything is compared with. */
function whole(text) {
  const trees = [];
  const larger = [];
  let block = [];
  for (const token of parser.parse(text, {})) {
    block.push(token);
    if (token.level === 0 && token.nesting <= 0) {
      trees.push(ranked(blockTree(block, (content) => inlineTree(parser, content)), larger));
      block = [];
    }
  }
  return trees;
}

const words = (blocks) => blocks.map((one) => (one.tree ? plainText(one.tree) : one.plain)).join("\n").replace(/\s+/g, "");

function streamed({ text, cuts, compare }) {
  const answer = new Answer(parser);
  const shown = [];
  let changed = 0;
  let before = [];
  for (const cut of cuts) {
    const blocks = answer.blocks(text.slice(0, cut), true);
    // All but the last two have complete lines behind them: they are closed.
    before.slice(0, -2).forEach((one, n) => { changed += blocks[n]?.tree === one.tree ? 0 : 1; });
    before = blocks;
    shown.push(words(blocks));
  }
  const last = answer.blocks(text, false);
  before.slice(0, -2).forEach((one, n) => { changed += last[n]?.tree === one.tree ? 0 : 1; });
  const final = words(last);
  return {
    same: compare && JSON.stringify(last.map((one) => one.tree ?? one.plain)) === JSON.stringify(whole(text)),
    plain: last.filter((one) => !one.tree).length,
    length: last.reduce((sum, one) => sum + (one.plain?.length ?? 0), 0),
    changed,
    ahead: shown.find((one) => !final.startsWith(one)) ?? null,
    final,
  };
}

process.stdout.write(JSON.stringify({
  cases: cases.map(streamed),
  held: held.map((text) => [heldBack(text), healed(text)]),
  links: links.map(([text, href]) => {
    const to = destination(href);
    return to.href ? { href: to.href, shows: misleads(text, to) } : to;
  }),
  hidden: hidden.map((text) => parts(text).map((part) => (part.hidden ? `<${part.hidden}>` : part)).join("")),
}));
