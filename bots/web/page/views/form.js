// A form of the settings: it sends once, and says beside its button what came of it.
import { html, useEffect, useState } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { useAlive } from "../lib/parts.js";
import { note } from "../lib/say.js";
import { coded } from "./parts.js";

/**
 * The values of a form: [values, set], set anew when what is stored changes, and only then, so
 * that saving one form takes nothing away that is being written into another.
 */
export function useStored(stored) {
  const [values, setValues] = useState(stored);
  useEffect(() => setValues(stored), [JSON.stringify(stored)]);
  return [values, setValues];
}

/** `send()` resolves when it is stored; `done` is said then. Children are the fields. */
export function Form({ send, done = t("Saved."), button = t("Save"), children, more }) {
  const [problem, setProblem] = useState(null);
  const [sending, setSending] = useState(false);
  const alive = useAlive();
  const submit = async (event) => {
    event.preventDefault();
    if (sending) return;
    setSending(true);
    setProblem(null);
    try {
      await send();
      note(done);
    } catch (refused) {
      if (alive.current) setProblem(refused);
    } finally {
      if (alive.current) setSending(false);
    }
  };
  return html`<form class="form" onSubmit=${submit}>${children}
    ${problem && html`<p class="notice bad" role="alert">${coded(problem.detail)}</p>`}
    <footer><button type="submit" class="button main" aria-busy=${sending ? "true" : undefined}>${button}</button>${more}</footer></form>`;
}
