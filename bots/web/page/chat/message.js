// One turn: what a person wrote, and what IT0 does and answers.
import { classes, html, memo, useEffect, useRef } from "../lib/dom.js";
import { clock, moment } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { Button, CopyButton } from "../lib/parts.js";
import { announce } from "../lib/say.js";
import { useStore } from "../lib/store.js";
import { Markdown } from "../markdown/markdown.js";
import { Approvals } from "./approval.js";
import { Files, filesAgain } from "./files.js";
import { connection } from "./stream.js";
import { Steps } from "./steps.js";
import { isOpen } from "./turns.js";
import { DetailsButton } from "./details.js";

const PLATFORMS = { slack: "Slack", telegram: "Telegram", api: "API" };
/** So many of the quiet lines of a running turn are shown. */
const LINES_SHOWN = 3;

/** `last`: nothing was said after it, so it can be repeated, and its offer still holds. */
export const Turn = memo(({ talk, store, last }) => {
  const turn = useStore(store);
  useSound(turn);
  return html`<article class="turn" aria-label=${t("Message and answer")}>
    <${Asked} turn=${turn} talk=${talk} store=${store} />
    ${turn.status !== "unsent" && html`<${Answer} turn=${turn} talk=${talk} last=${last} />`}</article>`;
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
    else if (status === "queued") announce(t("The message waits for its turn."));
    else if (status === "done") announce(outcome === "answered" ? t("The answer is complete.") : t("The answer has ended."));
  }, [status]);
}

/** What a person wrote. It changes seldom: the words of the answer do not draw it again. */
const Asked = ({ turn, talk, store }) => html`<${Question} talk=${talk} store=${store} text=${turn.text} files=${turn.files}
  own=${turn.own} sender=${turn.sender} platform=${turn.platform} orderId=${turn.orderId}
  problem=${turn.status === "unsent" ? turn.problem : null} />`;

const Question = memo(({ talk, store, text, files, own, sender, platform, orderId, problem }) => {
  const from = [own ? "" : sender, PLATFORMS[platform], orderId && t("standing order")].filter(Boolean).join(" · ");
  return html`<div class="asked" data-from="person">
    <h2 class="unseen">${own ? t("You") : sender}</h2>
    ${from && html`<p class="from">${from}</p>`}
    ${files.length > 0 && html`<${Files} files=${files} conversation=${talk.id} />`}
    ${text && html`<div class="bubble" dir="auto">${text}</div>`}
    ${problem && html`<div class="unsent"><p role="alert">${t("Not sent: {why}", { why: problem.detail })}</p>
      <${Button} kind="small" icon="again" run=${() => talk.delivery.again(store)}>${t("Send again")}<//></div>`}</div>`;
});

function Answer({ turn, talk, last }) {
  const open = isOpen(turn);
  return html`<div class="answer" data-from="it0">
    <h2 class="unseen">IT0</h2>
    ${turn.thinking && html`<${Thinking} text=${turn.thinking} />`}
    ${turn.tools.length > 0 && html`<${Steps} turn=${turn.id} tools=${turn.tools} open=${open} />`}
    ${turn.reply && html`<${Markdown} text=${turn.reply} streaming=${open} />`}
    ${turn.approvals.length > 0 && html`<${Approvals} turn=${turn} talk=${talk} />`}
    ${turn.lines.slice(-LINES_SHOWN).map((line) => html`<p key=${line} class="line">${line}</p>`)}
    ${open ? html`<${Working} turn=${turn} />` : html`<${Ending} turn=${turn} /><${Foot} turn=${turn} talk=${talk} last=${last} />`}</div>`;
}

const Thinking = ({ text }) => html`<details class="thinking"><summary>${t("Thoughts")}</summary><p dir="auto">${text}</p></details>`;

function Working({ turn }) {
  const lost = useStore(connection) === "lost";
  const says = {
    sending: lost ? t("Not sent yet. It is sent when the connection is back.") : t("Sending ..."),
    queued: t("Queued: answered after what comes before it"),
    waiting: t("Waiting for a decision"),
    running: turn.progress || t("Working ..."),
  };
  return html`<p class=${classes("working", turn.status)}><span class="pulse" aria-hidden="true"></span>${says[turn.status]}</p>`;
}

/** How it ended, where that was not simply an answer. */
function Ending({ turn }) {
  const merged = turn.status === "merged" || turn.outcome === "steered";
  const bad = turn.problem || turn.outcome === "failed" || turn.outcome === "refused";
  const says = [
    turn.problem?.detail,
    merged && t("Taken up in another answer of this conversation."),
    turn.outcome === "cancelled" && !turn.notice && t("Stopped."),
    turn.notice,
    turn.retryAt && t("Possible again from {when} on.", { when: moment(turn.retryAt) }),
  ].filter(Boolean);
  return says.map((line) => html`<p key=${line} class=${classes("line", bad && "bad")}>${line}</p>`);
}

function Foot({ turn, talk, last }) {
  const broken = turn.outcome === "failed" || turn.outcome === "cancelled" || turn.outcome === "refused" || turn.problem;
  const again = async () => talk.send({ text: turn.text, files: await filesAgain(turn.files, talk.id) });
  return html`${last && turn.offer && html`<div class="offer"><${Button} kind="main" run=${() => talk.send({ text: turn.offer.command })}>${turn.offer.label}<//></div>`}
    <div class="foot">
      ${turn.engine && html`<span class="engine">${turn.engine}</span>`}
      ${turn.engineReason && html`<span class="why">${turn.engineReason}</span>`}
      ${turn.finishedAt && html`<time datetime=${turn.finishedAt} title=${moment(turn.finishedAt)}>${when(turn.finishedAt)}</time>`}
      <span class="deeds">
        ${turn.reply && html`<${CopyButton} text=${turn.reply} label=${t("Copy the answer")} kind="plain round small" />`}
        ${last && broken && turn.own && html`<${Button} kind="plain small" icon="again" run=${again}>${t("Try again")}<//>`}
        ${turn.id && html`<${DetailsButton} turn=${turn} />`}</span></div>`;
}

/** The time alone of what happened today. */
const when = (iso) => (new Date(iso).toDateString() === new Date().toDateString() ? clock(iso) : moment(iso));
