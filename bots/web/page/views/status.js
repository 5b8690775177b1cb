// Whether IT0 is well: the queue of the team, the platforms, and what needs somebody.
import { html } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { ago, moment } from "../lib/format.js";
import { number, t } from "../lib/i18n.js";
import { useLoaded } from "../lib/parts.js";
import { ViewHead } from "../shell/sidebar.js";
import { duration } from "./approval-card.js";
import { Shown, coded, useEvery } from "./parts.js";

const LOOK_MS = 10_000;
const LONG_S = 60;

export default function Status() {
  const loaded = useLoaded((signal) => api.get("/status", { signal }), []);
  useEvery(LOOK_MS, loaded.again);
  return html`<div class="view"><${ViewHead} title=${t("Status")} />
    <${Shown} of=${loaded}>${(value) => html`<${Notices} status=${value} /><${Queue} queue=${value.queue} />
      <${Platforms} platforms=${value.platforms} /><${Running} status=${value} />`}<//></div>`;
}

const Notices = ({ status }) => (status.ready && status.notices.length === 0
  ? html`<div class="notice"><p>${t("All is well.")}</p><span class="tag good">${t("Ready")}</span></div>`
  : html`<div class="notice warn"><ul class="said">${!status.ready && html`<li>${t("IT0 is not ready: it takes no new messages now.")}</li>`}
      ${status.notices.map((notice) => html`<li key=${notice}>${coded(notice)}</li>`)}</ul></div>`);

function Queue({ queue }) {
  const figures = [
    [t("Running"), queue.running, t("turns that are answered now")],
    [t("In the queue"), queue.queued, t("turns that wait for a worker")],
    [t("Waiting for a person"), queue.waiting, t("turns that wait for an approval")],
    [t("Overdue"), queue.overdue, t("accepted long ago and not answered"), true],
    [t("Not delivered"), queue.undelivered, t("answers that have not reached their chat"), true],
  ];
  return html`<section class="panel"><h2>${t("Queue of the team")}</h2>
    <dl class="figures">${figures.map(([name, value, words, alarming]) => html`<div key=${name} class=${alarming && value > 0 ? "bad" : ""}>
      <dt>${name}</dt><dd class="figure">${number(value)}</dd><dd class="quiet">${words}</dd></div>`)}</dl>
    <p class=${queue.oldest_s > LONG_S ? "warned" : "quiet"}>${queue.oldest_s > 0
      ? t("The oldest turn without an answer is {time} old.", { time: duration(queue.oldest_s) })
      : t("IT0 has nothing left to answer.")}</p></section>`;
}

const titles = () => ({ slack: "Slack", telegram: "Telegram", web: t("This page"), api: "API", voice: t("Voice"), console: t("Console") });

const howTo = () => ({
  slack: t("Set SLACK_BOT_TOKEN and SLACK_APP_TOKEN in .env; `it0 slack manifest` prints the app's manifest."),
  telegram: t("Make a bot with @BotFather and set TELEGRAM_BOT_TOKEN in .env."),
});

const Platforms = ({ platforms }) => html`<section class="panel"><h2>${t("Platforms")}</h2>
  <ul class="rows">${platforms.map(({ name, configured }) => html`<li key=${name}><div><strong>${titles()[name] ?? name}</strong>
      ${!configured && howTo()[name] && html`<p class="quiet">${coded(howTo()[name])}</p>`}</div>
      <span class=${configured ? "tag good" : "tag"}>${configured ? t("Set up") : t("Not set up")}</span></li>`)}</ul></section>`;

const Running = ({ status }) => html`<section class="panel"><h2>${t("This installation")}</h2>
  <dl class="facts"><dt>${t("Version")}</dt><dd>IT0 ${status.version}</dd>
    <dt>${t("Database")}</dt><dd>${({ sqlite: "SQLite", postgresql: "PostgreSQL" })[status.database] ?? status.database}</dd>
    <dt>${t("Running since")}</dt><dd>${moment(status.started_at)} (${ago(status.started_at)})</dd></dl></section>`;
