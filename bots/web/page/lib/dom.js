// The one place that binds templates to the library, so that every module imports from here.
import htm from "htm";
import { Component, h } from "preact";

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

/** A part that is drawn again only when one of its values is another one. */
export const memo = (draw) =>
  class extends Component {
    shouldComponentUpdate(next) {
      const now = this.props;
      const names = Object.keys(next);
      return names.length !== Object.keys(now).length || names.some((name) => next[name] !== now[name]);
    }

    render(props) {
      return h(draw, props);
    }
  };
