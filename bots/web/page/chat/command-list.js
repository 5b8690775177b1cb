// The list above the composer while a command is typed: chosen with the arrow keys, Enter and Tab, or the mouse.
import { html, useEffect, useRef, useState } from "../lib/dom.js";
import { t, tn } from "../lib/i18n.js";
import { announce } from "../lib/say.js";
import { matching } from "./commands.js";

const TYPED = /^\/(\w*)$/;

/**
 * What the text begins, and what the keys do to it: {list, active, press(event), attributes}.
 * `fill(text)` puts a command into the field.
 */
export function useCommands(text, fill) {
  const [active, setActive] = useState(0);
  const [closed, setClosed] = useState("");
  const typed = TYPED.exec(text)?.[1];
  const list = typed === undefined || closed === text ? [] : matching(typed);
  const chosen = Math.min(active, list.length - 1);
  useEffect(() => {
    setActive(0);
    if (list.length > 0) announce(tn("1 command", "{n} commands", list.length));
  }, [typed]);
  const choose = (command) => fill(`/${command.word} `);
  const press = (event) => {
    if (list.length === 0) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) setActive((chosen + step + list.length) % list.length);
    else if (event.key === "Escape") setClosed(text);
    else if (event.key === "Tab" && !event.shiftKey) choose(list[chosen]);
    else if (event.key === "Enter" && !event.shiftKey && text !== `/${list[chosen].word}`) choose(list[chosen]);
    else return false;
    event.preventDefault();
    return true;
  };
  const attributes = list.length > 0 ? { "aria-controls": "commands", "aria-activedescendant": `command-${list[chosen].word}` } : {};
  return { list, chosen, choose, press, attributes };
}

export function CommandList({ list, chosen, choose }) {
  const box = useRef(null);
  useEffect(() => { box.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }); }, [chosen]);
  if (list.length === 0) return null;
  return html`<ul ref=${box} id="commands" class="commands" role="listbox" aria-label=${t("Commands")}>
    ${list.map((command, n) => html`<li key=${command.word} id=${`command-${command.word}`} role="option" aria-selected=${n === chosen ? "true" : "false"}
      onMouseDown=${(event) => { event.preventDefault(); choose(command); }}><code>/${command.word}</code><span>${command.text}</span></li>`)}</ul>`;
}
