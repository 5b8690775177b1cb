// The one place that binds templates to the library, so that every module imports from here.
import htm from "htm";
import { h } from "preact";

export { Component, Fragment, createContext, createRef, h, render } from "preact";
export {
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "preact/hooks";

/** Templates that become nodes: html`<p class="x">${text}</p>`. No HTML string is ever made. */
export const html = htm.bind(h);

/** Class names of those that apply. */
export const classes = (...names) => names.filter(Boolean).join(" ");
