// A part that scrolls sideways by itself, and can be reached by keyboard when it does.
import { html, useEffect, useRef, useState } from "../lib/dom.js";

/** Draws its children; only where they do not fit is it a region with a name, in the order of the Tab key. */
export function Scrolling({ label, children }) {
  const box = useRef(null);
  const [wide, setWide] = useState(false);
  useEffect(() => watch(box.current, setWide), []);
  const reach = wide ? { tabindex: "0", role: "region", "aria-label": label } : {};
  return html`<div ref=${box} class="scrolling" ...${reach}>${children}</div>`;
}

const told = new WeakMap();
// One observer for all: it is asked after the layout, so nothing is laid out twice.
const observer = new ResizeObserver((entries) => {
  for (const box of new Set(entries.map(({ target }) => (told.has(target) ? target : target.parentElement)))) {
    if (box) told.get(box)?.(box.scrollWidth > box.clientWidth + 1);
  }
});

function watch(box, tell) {
  told.set(box, tell);
  observer.observe(box);
  const inner = box.firstElementChild;
  if (inner) observer.observe(inner);
  return () => {
    told.delete(box);
    observer.unobserve(box);
    if (inner) observer.unobserve(inner);
  };
}
