// Markdown as it is drawn in answers: `Markdown({text, streaming})`.
//
// markdown-it parses, stream.js keeps closed blocks as they are, tree.js lets through what is
// allowed, draw.js makes elements: all of them in answer.js, which is loaded when it is first
// needed; `prepare()` loads it early.
import { Component, html, useEffect, useRef } from "../lib/dom.js";
import { createStore, useStore } from "../lib/store.js";
import { chunks } from "./limits.js";

// With so many blocks, those out of sight are left out of the layout.
const LONG = 60;

/** null while it loads; false where it could not be loaded; then what answer.js has. */
const loaded = createStore(null);
let loading = null;

/** Load it. After a failure the next call tries again. */
export function prepare() {
  loading ??= import("./answer.js").then(loaded.set, () => {
    loading = null;
    loaded.set(false);
  });
}

/** A text with Markdown. `streaming` while it grows at its end; give it `false` when it is complete. */
export function Markdown({ text, streaming = false }) {
  const ready = useStore(loaded);
  const answer = useRef(null);
  useEffect(prepare, []);
  if (ready === null) return html`<div class="markdown" aria-busy="true"></div>`;
  if (!ready) {
    return html`<div class="markdown">${chunks(text).map((piece, n) => html`<${Block} key=${n} plain=${piece} />`)}</div>`;
  }
  answer.current ??= new ready.Answer(ready.parser);
  const blocks = answer.current.blocks(text, streaming);
  return html`<div class=${blocks.length > LONG ? "markdown long" : "markdown"}>
    ${blocks.map(({ start, tree, plain }) => html`<${Block} key=${start} draw=${ready.draw} tree=${tree} plain=${plain} />`)}</div>`;
}

/** One block; drawn again only when its tree is another one. */
class Block extends Component {
  shouldComponentUpdate(next) {
    return next.tree !== this.props.tree || next.plain !== this.props.plain;
  }

  render({ draw, tree, plain }) {
    return tree ? draw(tree) : html`<p class="plain-text" dir="auto">${plain}</p>`;
  }
}
