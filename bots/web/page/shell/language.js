// The language that the page is drawn in; a change draws everything anew.
import { createStore } from "../lib/store.js";

export const spoken = createStore("");
