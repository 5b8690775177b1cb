// The language that the page is drawn in; a change draws everything anew.
import { language, speak } from "../lib/i18n.js";
import { createStore } from "../lib/store.js";

export const spoken = createStore("");

/** Speak the language that this person chose, here or in another browser. */
export async function speakWith(me) {
  if (!me?.language || me.language === language()) return;
  await speak(me.language);
  spoken.set(me.language);
}
