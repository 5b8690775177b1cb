// Which engine the next messages name; without a choice the team's, or the installation's default.
import { html, useState } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { Button } from "../lib/parts.js";
import { createStore, useStore } from "../lib/store.js";

/** The engine's name, or "" for the default; as long as the page is open. */
export const chosenEngine = createStore("");

export function EngineButton() {
  const engine = useStore(chosenEngine);
  const [List, setList] = useState(null);
  const open = async () => {
    const { EngineList } = await import("./engine-list.js").catch(() => {
      throw new Error(t("This part of the page could not be loaded. Check the connection."));
    });
    setList(() => EngineList);
  };
  return html`<${Button} kind="plain small engine-button" icon="engine" label=${engine ? t("Engine: {engine}", { engine }) : t("Engine: default")} run=${open}>
      <span class="engine-name" aria-hidden="true">${engine || t("Default")}</span><//>
    ${List && html`<${List} close=${() => setList(null)} />`}`;
}
