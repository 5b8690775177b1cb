// Paths of the page, by the History API. The server answers each of them with the same shell.
import { createStore } from "./store.js";

/** Where we are. */
export const place = createStore(location.pathname);

/** Go to a path of the page. */
export function navigate(path, { replace = false } = {}) {
  if (path === location.pathname) return;
  history[replace ? "replaceState" : "pushState"]({}, "", path);
  place.set(path);
}

/** Let links of the page change the place without loading it again. */
export function startRouter() {
  addEventListener("popstate", () => place.set(location.pathname));
  addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !plain || event.defaultPrevented || link.target || link.hasAttribute("download")) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || url.pathname.startsWith("/api/") || url.pathname === "/openapi.json") return;
    if (url.pathname === location.pathname && url.hash) return;
    event.preventDefault();
    navigate(url.pathname);
  });
}
