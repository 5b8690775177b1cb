// The page's words. English stands in the code and is the key; other languages are modules.
import { remembered } from "./store.js";

/** What the settings offer, each by its own name. */
export const LANGUAGES = { en: "English", zh: "简体中文" };
const TAGS = { en: "en", zh: "zh-Hans" };

let words = {};
let current = "en";

/** The language that is spoken now: "en" or "zh". */
export const language = () => current;

/** The tag for `Intl` and for `lang`. */
export const tag = () => TAGS[current];

/** A message in the reader's language; `{name}` is filled in. */
export function t(message, values = {}) {
  return fill(words[message] ?? message, values);
}

/** As `t`, for a count: `one` for exactly one, else `many`; both may say `{n}`. */
export function tn(one, many, n, values = {}) {
  const english = n === 1 ? one : many;
  return fill(words[many] ?? english, { n: number(n), ...values });
}

const fill = (message, values) =>
  message.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));

/** A whole number with the language's separators. */
export const number = (n) => new Intl.NumberFormat(tag()).format(n);

/** The language to begin with: the one chosen in this browser, else the browser's own. */
export function firstLanguage() {
  const chosen = remembered.get("language");
  if (chosen in LANGUAGES) return chosen;
  for (const wanted of navigator.languages ?? [navigator.language]) {
    const primary = wanted.toLowerCase().split("-")[0];
    if (primary in LANGUAGES) return primary;
  }
  return "en";
}

/** Load a language and speak it from now on. Who calls this draws the page again.
 * `chosen`: somebody wants it, also when they come again. */
export async function speak(wanted, { chosen: keep = true } = {}) {
  const chosen = wanted in LANGUAGES ? wanted : "en";
  words = chosen === "en" ? {} : { ...(await import(`../words/${chosen}.js`)).default };
  current = chosen;
  document.documentElement.lang = tag();
  if (keep) remembered.set("language", chosen);
}

/** Load the words of a part of the page that is opened later. */
export async function also(part) {
  if (current !== "en") Object.assign(words, (await import(`../words/${current}/${part}.js`)).default);
}
