// Where a message is written.
import { html, useEffect, useRef, useState } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { Button } from "../lib/parts.js";
import { useStore } from "../lib/store.js";
import { draft } from "./outbox.js";

export function Composer({ talk }) {
  const [text, setText] = useState(() => draft.get(talk.id ?? "new"));
  const busy = useStore(talk.busy);
  const field = useRef(null);
  const write = (value) => {
    setText(value);
    draft.set(talk.id ?? "new", value);
  };
  const send = () => {
    if (!text.trim()) return;
    talk.send({ text });
    write("");
  };
  const press = (event) => {
    if (event.isComposing || event.keyCode === 229) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      send();
    }
  };
  useEffect(() => { field.current?.focus(); }, []);
  return html`<div class="composer">
    <textarea ref=${field} rows="1" aria-label=${t("Message")} value=${text} onInput=${(event) => write(event.currentTarget.value)} onKeyDown=${press}></textarea>
    ${busy && html`<${Button} icon="stop" label=${t("Stop")} kind="round" run=${() => { field.current?.focus(); return talk.stop(); }} />`}
    <${Button} icon="send" label=${t("Send")} kind="round main" run=${send} /></div>`;
}
