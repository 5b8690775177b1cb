// The turns of a conversation, oldest first, and where in them the reader is.
import { html, useCallback, useEffect, useLayoutEffect, useRef, useState } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { Button, Loading } from "../lib/parts.js";
import { failed } from "../lib/say.js";
import { useStore } from "../lib/store.js";
import { Turn } from "./message.js";

/** So near to the end the reader follows what is written. */
const NEAR_PX = 60;
/** So long before the top is reached, older turns are loaded. */
const AHEAD = "600px 0px 0px 0px";

export function Thread({ talk }) {
  const turns = useStore(talk.turns);
  const page = useStore(talk.page);
  const scroller = useRef(null);
  const inner = useRef(null);
  const { follows, toEnd } = useEnd(scroller, inner, talk);
  useKeptPlace(scroller, turns);
  if (page.problem && turns.length === 0) return html`<${Missing} talk=${talk} page=${page} />`;
  return html`<div class="thread-frame">
    <div class="thread" ref=${scroller} role="log" aria-live="off" aria-label=${t("Conversation")} tabindex="0">
      <div class="thread-inner" ref=${inner}>
        ${page.next !== null && html`<${Older} talk=${talk} scroller=${scroller} />`}
        ${page.loading && turns.length === 0 && html`<${Loading} of=${page} />`}
        ${turns.map((store, n) => html`<${Turn} key=${store.get().key} talk=${talk} store=${store} last=${n === turns.length - 1} />`)}
      </div>
    </div>
    ${!follows && html`<${Button} kind="round to-end" icon="down" label=${t("To the newest")} run=${() => { toEnd(); scroller.current.focus({ preventScroll: true }); }} />`}
  </div>`;
}

function Missing({ talk, page }) {
  if (page.problem.gone || page.problem.status === 404) {
    return html`<div class="thread-frame"><div class="missing"><h2>${t("This conversation is not there")}</h2>
      <p class="quiet">${t("It was deleted, or it is not yours.")}</p><p><a class="button" href="/">${t("New chat")}</a></p></div></div>`;
  }
  return html`<div class="thread-frame"><div class="missing"><${Loading} of=${{ problem: page.problem, again: () => talk.refresh() }} /></div></div>`;
}

/** Loads older turns when the reader comes near, or presses it. */
function Older({ talk, scroller }) {
  const button = useRef(null);
  const load = useCallback(() => talk.older().catch(failed), [talk]);
  useEffect(() => {
    const near = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && load(), {
      root: scroller.current,
      rootMargin: AHEAD,
    });
    near.observe(button.current);
    return () => near.disconnect();
  }, [talk]);
  return html`<div class="older" ref=${button}><${Button} kind="plain small" run=${load}>${t("Earlier messages")}<//></div>`;
}

/** Whether the end is followed. It is until the reader scrolls up, and again from the end on. */
function useEnd(scroller, inner, talk) {
  const [follows, setFollows] = useState(true);
  const following = useRef(true);
  const toEnd = useCallback(() => {
    following.current = true;
    setFollows(true);
    const box = scroller.current;
    if (box) box.scrollTop = box.scrollHeight;
  }, []);
  useEffect(() => {
    const box = scroller.current;
    if (!box) return undefined;
    const look = () => {
      const near = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX;
      if (near === following.current) return;
      following.current = near;
      setFollows(near);
    };
    // Whatever makes it longer, text or a card or a picture: the end stays where it is.
    const grown = new ResizeObserver(() => { if (following.current) box.scrollTop = box.scrollHeight; });
    grown.observe(inner.current);
    grown.observe(box);
    box.addEventListener("scroll", look, { passive: true });
    return () => {
      grown.disconnect();
      box.removeEventListener("scroll", look);
    };
  }, [scroller.current]);
  useEffect(() => {
    let count = talk.turns.get().length;
    // Who sends a message wants to see it.
    return talk.turns.watch((list) => {
      const sent = list.length > count && list.at(-1).get().status === "sending";
      count = list.length;
      if (sent) requestAnimationFrame(toEnd);
    });
  }, [talk]);
  return { follows, toEnd };
}

/** When turns come in above, what the reader looks at stays in its place. */
function useKeptPlace(scroller, turns) {
  const seen = useRef(null);
  const box = scroller.current;
  const first = seen.current?.first;
  // Before the new turns are drawn: where the one stands that was the first until now.
  const stood = box && first && turns[0] !== first ? seen.current.top() : null;
  useLayoutEffect(() => {
    if (stood !== null && seen.current) scroller.current.scrollTop += seen.current.top() - stood;
    const element = scroller.current?.querySelector(".turn");
    seen.current = turns.length > 0 && element ? { first: turns[0], top: () => element.getBoundingClientRect().top } : null;
  }, [turns]);
}
