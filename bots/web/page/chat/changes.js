// News from the server while the page is visible, and from other tabs of this browser.
import { createStore } from "../lib/store.js";

/** How many approvals wait for somebody like the reader. */
export const waiting = createStore(0);
