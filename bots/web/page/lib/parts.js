// Parts that every view is made of.
import { html, useEffect, useRef, useState } from "./dom.js";
import { t } from "./i18n.js";
import { Icon } from "./icons.js";
import { dismiss, failed, notes } from "./say.js";
import { createStore, useStore } from "./store.js";

/** A button; `busy` while its promise runs. A `Problem` becomes a note. */
export function Button({ run, kind = "", icon, label, children, title, disabled = false, ...rest }) {
  const [busy, setBusy] = useState(false);
  const alive = useAlive();
  const press = async (event) => {
    if (busy) return;
    const going = run(event);
    if (!(going instanceof Promise)) return;
    setBusy(true);
    try {
      await going;
    } catch (problem) {
      failed(problem);
    } finally {
      if (alive.current) setBusy(false);
    }
  };
  return html`<button type="button" class=${`button ${kind}`} onClick=${press} aria-label=${label}
    title=${title ?? label} disabled=${disabled} aria-busy=${busy ? "true" : undefined} ...${rest}>
    ${icon && html`<${Icon} name=${icon} />`}${children}</button>`;
}

/** Whether the part is still on the page; a ref. */
export function useAlive() {
  const alive = useRef(true);
  useEffect(() => {
    alive.current = true;
    return () => { alive.current = false; };
  }, []);
  return alive;
}

/** Something that is loaded: {value, problem, loading, again}. Loads anew when a key changes. */
export function useLoaded(load, keys) {
  const [state, setState] = useState({ value: null, problem: null, loading: true });
  const [round, setRound] = useState(0);
  useEffect(() => {
    const stop = new AbortController();
    setState((now) => ({ ...now, problem: null, loading: true }));
    load(stop.signal).then(
      (value) => !stop.signal.aborted && setState({ value, problem: null, loading: false }),
      (problem) => !stop.signal.aborted && setState((now) => ({ value: now.value, problem, loading: false })),
    );
    return () => stop.abort();
  }, [...keys, round]);
  return { ...state, again: () => setRound((n) => n + 1) };
}

/** What is shown while something loads, or when it could not be loaded. */
export const Loading = ({ of }) =>
  of.problem
    ? html`<div class="notice bad" role="alert"><p>${of.problem.detail}</p>
        <${Button} run=${of.again}>${t("Try again")}<//></div>`
    : html`<p class="quiet" role="status">${t("Loading ...")}</p>`;

/** A modal dialog; the browser keeps the focus inside, and Escape closes it. */
export function Dialog({ title, close, children, kind = "" }) {
  const dialog = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    dialog.current?.showModal();
    return () => before instanceof HTMLElement && before.isConnected && before.focus();
  }, []);
  const outside = (event) => event.target === dialog.current && close();
  return html`<dialog ref=${dialog} class=${`dialog ${kind}`} aria-labelledby="dialog-title" onClick=${outside}
    onCancel=${(event) => { event.preventDefault(); close(); }}>
    <div class="dialog-body">
      <header><h2 id="dialog-title">${title}</h2>
        <${Button} kind="plain round" icon="close" label=${t("Close")} run=${close} /></header>
      ${children}
    </div></dialog>`;
}

const question = createStore(null);

/** Ask before something that cannot be undone; resolves to whether it was confirmed. */
export const confirmed = ({ title, text, yes, bad = true }) =>
  new Promise((resolve) => {
    question.set({ title, text, yes, bad, answer: (said) => { question.set(null); resolve(said); } });
  });

/** Where `confirmed` asks; once on the page. */
export function Questions() {
  const asked = useStore(question);
  if (!asked) return null;
  return html`<${Dialog} title=${asked.title} close=${() => asked.answer(false)}>
    <p>${asked.text}</p>
    <footer><${Button} run=${() => asked.answer(false)}>${t("Cancel")}<//>
      <${Button} kind=${asked.bad ? "bad" : "main"} run=${() => asked.answer(true)}>${asked.yes}<//></footer><//>`;
}

/** The notes at the edge; once on the page. */
export function Notes() {
  const shown = useStore(notes);
  return html`<div class="notes" role="region" aria-label=${t("Notes")}>
    ${shown.map((one) => html`<div key=${one.id} class=${one.bad ? "note bad" : "note"} role=${one.bad ? "alert" : "status"}>
      <p>${one.text}</p>
      ${one.action && html`<${Button} kind="plain" run=${() => { dismiss(one.id); return one.action.run(); }}>${one.action.label}<//>`}
      <${Button} kind="plain round" icon="close" label=${t("Close")} run=${() => dismiss(one.id)} /></div>`)}
  </div>`;
}

/** Put a text into the clipboard; also where the page came over plain HTTP, without the API. */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (!copied) throw new Error(t("This browser does not let the page copy. Select the text and copy it."));
  return undefined;
}

/** Copies a text; says that it did. */
export function CopyButton({ text, label = t("Copy"), kind = "plain small", children }) {
  const [done, setDone] = useState(false);
  const copy = async () => {
    await copyText(typeof text === "function" ? text() : text);
    setDone(true);
    setTimeout(() => setDone(false), 2_000);
  };
  return html`<${Button} kind=${kind} icon=${done ? "check" : "copy"} label=${done ? t("Copied") : label} run=${copy}>${children}<//>`;
}
