// How an answer came about: opened by a button under it, loaded when it is pressed.
import { html, useState } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { Button } from "../lib/parts.js";

export function DetailsButton({ turn }) {
  const [Shown, setShown] = useState(null);
  const open = async () => {
    const { Details } = await import("./usage.js").catch(() => {
      throw new Error(t("This part of the page could not be loaded. Check the connection."));
    });
    setShown(() => Details);
  };
  return html`<${Button} kind="plain round small" icon="info" label=${t("Details")} run=${open} />
    ${Shown && html`<${Shown} turn=${turn} close=${() => setShown(null)} />`}`;
}
