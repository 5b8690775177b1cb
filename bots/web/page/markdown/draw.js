// From the tree to elements. Only what is written here can appear on the page.
import { Component, Fragment, html } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { Code, visible } from "./code.js";
import { Scrolling } from "./scrolling.js";

/** A node of tree.js as Preact's. */
export function draw(node) {
  if (typeof node === "string") return node;
  const make = ELEMENTS.get(node.kind);
  return make ? make(node) : drawAll(node);
}

// Long lists and tables grow at their end: items and rows are drawn again only when they are other objects.
const KEPT = new Set(["li", "tr"]);

const drawAll = (node) => (node.children ?? []).map((child, n) => {
  if (typeof child === "string") return child;
  return KEPT.has(child.kind) ? html`<${Kept} key=${n} node=${child} />` : html`<${Fragment} key=${n}>${draw(child)}<//>`;
});

class Kept extends Component {
  shouldComponentUpdate(next) {
    return next.node !== this.props.node;
  }

  render({ node }) {
    return draw(node);
  }
}

const ELEMENTS = new Map([
  ["p", (node) => (node.children.length ? html`<p dir="auto">${drawAll(node)}</p>` : null)],
  ["h", (node) => heading(node)],
  ["quote", (node) => html`<blockquote>${drawAll(node)}</blockquote>`],
  ["ul", (node) => html`<ul>${drawAll(node)}</ul>`],
  ["ol", (node) => html`<ol start=${node.start}>${drawAll(node)}</ol>`],
  ["li", (node) => item(node)],
  ["hr", () => html`<hr />`],
  ["code", (node) => html`<${Code} language=${node.language} text=${node.text} />`],
  ["table", (node) => html`<${Scrolling} label=${t("Table")}><table>${drawAll(node)}</table><//>`],
  ["thead", (node) => html`<thead>${drawAll(node)}</thead>`],
  ["tbody", (node) => html`<tbody>${drawAll(node)}</tbody>`],
  ["tr", (node) => html`<tr>${drawAll(node)}</tr>`],
  ["th", (node) => html`<th scope="col" dir="auto" class=${ALIGNED.get(node.align)}>${drawAll(node)}</th>`],
  ["td", (node) => html`<td dir="auto" class=${ALIGNED.get(node.align)}>${drawAll(node)}</td>`],
  ["em", (node) => html`<em>${drawAll(node)}</em>`],
  ["strong", (node) => html`<strong>${drawAll(node)}</strong>`],
  ["del", (node) => html`<del>${drawAll(node)}</del>`],
  ["br", () => html`<br />`],
  ["codespan", (node) => html`<code dir="ltr">${visible(node.text)}</code>`],
  ["link", (node) => link(node)],
]);

const ALIGNED = new Map([["left", "to-start"], ["center", "to-center"], ["right", "to-end"]]);

/** The page and the turn have headings of their own, so an answer's begin two levels below. */
function heading(node) {
  const inside = drawAll(node);
  const look = `size-${Math.min(node.level, 4)}`;
  switch (node.rank) {
    case 1:
      return html`<h3 class=${look} dir="auto">${inside}</h3>`;
    case 2:
      return html`<h4 class=${look} dir="auto">${inside}</h4>`;
    case 3:
      return html`<h5 class=${look} dir="auto">${inside}</h5>`;
    default:
      return html`<h6 class=${look} dir="auto">${inside}</h6>`;
  }
}

const item = (node) =>
  "task" in node ? html`<li class="task">${box(node.task)}<div>${drawAll(node)}</div></li>` : html`<li>${drawAll(node)}</li>`;

const box = (done) => html`<span class=${done ? "box done" : "box"} role="img" aria-label=${done ? t("Done") : t("Not done")}></span>`;

/** A link opens beside the page. Where its text claims another place, or is a picture's, its own is shown. */
function link(node) {
  const inside = node.children.length ? drawAll(node) : node.image ? t("Picture") : null;
  if (!node.href) return html`<span class="no-link">${inside}</span>${place(node.address)}`;
  return html`<a href=${node.href} target="_blank" rel="noopener noreferrer" title=${node.href.slice(0, 300)}>${inside ?? node.host}</a>${node.show && place(node.host)}`;
}

const place = (address) => address && html` <span class="address" dir="ltr">(${visible(address)})</span>`;
