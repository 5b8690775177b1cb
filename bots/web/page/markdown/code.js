// A block of code: its language, a button that copies it, and lines that can be scrolled sideways.
import { classes, html, useState } from "../lib/dom.js";
import { t, tn } from "../lib/i18n.js";
import { Button, CopyButton } from "../lib/parts.js";
import { Scrolling } from "./scrolling.js";
import { parts } from "./visible.js";

/** Longer code shows so many lines until somebody asks for all. */
const LINES = 40;
const CHARACTERS = 20_000;
/** A difference with more lines is drawn without colours. */
const COLOURED_MOST = 2_000;

export function Code({ language, text }) {
  const [all, setAll] = useState(false);
  const whole = text.replace(/\n$/, "");
  const start = all ? whole : beginning(whole);
  const lines = whole.split("\n").length;
  return html`<figure class="code-block">
    <figcaption><span class="language">${language}</span>
      <${CopyButton} text=${whole} label=${t("Copy code")} kind="plain small round" /></figcaption>
    <${Scrolling} label=${language ? t("Code, {language}", { language }) : t("Code")}>
      <pre class="code-text" dir="ltr"><code>${drawn(start, language)}</code></pre><//>
    ${(all || start.length < whole.length) && html`
      <${Button} kind="plain small more-code" aria-expanded=${all ? "true" : "false"} run=${() => setAll(!all)}>
      ${all ? t("Show less") : tn("Show all", "Show all {n} lines", lines)}<//>`}
  </figure>`;
}

/** The lines that are shown at first. */
function beginning(text) {
  let end = -1;
  for (let n = 0; n < LINES; n += 1) {
    end = text.indexOf("\n", end + 1);
    if (end < 0) return text.slice(0, CHARACTERS);
  }
  return text.slice(0, Math.min(end, CHARACTERS));
}

function drawn(text, language) {
  if (!/^(?:diff|patch)$/i.test(language)) return visible(text);
  const lines = text.split("\n");
  if (lines.length > COLOURED_MOST) return visible(text);
  return lines.map((line, n) =>
    html`<span key=${n} class=${classes("diff-line", sideOf(line))}>${visible(line)}${"\n"}</span>`);
}

function sideOf(line) {
  if (/^(?:\+\+\+|---) /.test(line)) return "file";
  if (line.startsWith("+")) return "added";
  if (line.startsWith("-")) return "removed";
  return line.startsWith("@@") ? "place" : "";
}

/** Code with its hidden characters written out. */
export const visible = (text) =>
  parts(text).map((part) => {
    if (!part.hidden) return part;
    return html`<span class="hidden-character" title=${t("A character that is not shown")}>${part.hidden}</span>`;
  });
