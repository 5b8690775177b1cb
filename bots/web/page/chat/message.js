// One turn: what a person wrote, and what IT0 does and answers.
import { classes, html, memo, useEffect, useRef, useState } from "../lib/dom.js";
import { clock, moment } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { Icon } from "../lib/icons.js";
import { Button, CopyButton } from "../lib/parts.js";
import { announce } from "../lib/say.js";
import { useStore } from "../lib/store.js";
import { Markdown } from "../markdown/markdown.js";
import { isOpen } from "./turns.js";

const PLATFORMS = { slack: "Slack", telegram: "Telegram", api: "API", console: "Terminal" };

export const Turn = memo(({ talk, store }) => {
  const turn = useStore(store);
  useSound(turn);
  return html`<article class="turn" aria-label=${turn.text.slice(0, 80) || t("Message")}>
    <${Asked} turn=${turn} talk=${talk} store=${store} />
    ${turn.status !== "unsent" && html`<${Answer} turn=${turn} talk=${talk} store=${store} />`}</article>`;
});

/** Tells who listens when an answer begins and when it is there; never its words one by one. */
function useSound({ status, outcome }) {
  const before = useRef(status);
  useEffect(() => {
    const was = before.current;
    before.current = status;
    if (was === status) return;
    if (status === "running" && was !== "waiting") announce(t("IT0 is answering."));
    else if (status === "waiting") announce(t("IT0 asks for an approval."));
    else if (status === "done") announce(outcome === "answered" ? t("The answer is complete.") : t("The answer has ended."));
    else if (status === "queued") announce(t("The message waits for its turn."));
  }, [status]);
}

const Asked = memo(({ turn, talk, store }) => {
  const where = PLATFORMS[turn.platform];
  const from = [turn.own ? "" : turn.sender, where].filter(Boolean).join(", ");
  return html`<div class="asked" data-from="person">
    <h2 class="unseen">${turn.own ? t("You") : turn.sender}</h2>
    ${from && html`<p class="from quiet">${from}</p>`}
    ${turn.text && html`<div class="bubble" dir="auto">${turn.text}</div>`}
    ${turn.status === "unsent" && html`<div class="unsent"><p role="alert">${t("Not sent: {why}", { why: turn.problem.detail })}</p>
      <${Button} kind="small" run=${() => talk.again(store)}>${t("Send again")}<//></div>`}</div>`;
});

const Answer = ({ turn, talk }) => html`<div class=${classes("answer", isOpen(turn) && "open")} data-from="it0">
  <h2 class="unseen">IT0</h2>
  ${turn.reply && html`<${Markdown} text=${turn.reply} streaming=${isOpen(turn)} />`}
  ${isOpen(turn) && html`<p class="working quiet">${turn.progress || t("IT0 is working ...")}</p>`}
  ${turn.notice && html`<p class="line">${turn.notice}</p>`}</div>`;
