// Who answers: each engine and whether it can, what the team chose, and the rules of approvals.
import { html, useRef } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { moment } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { useLoaded } from "../lib/parts.js";
import { ViewHead } from "../shell/sidebar.js";
import { ApprovalRules, ChangeFreeze } from "./approval-rules.js";
import { Choice } from "./engine-choice.js";
import { Key } from "./engine-key.js";
import { Shown, coded, isAdmin } from "./parts.js";

export default function Engines() {
  const loaded = useLoaded((signal) => api.get("/engines", { signal }), []);
  return html`<div class="view"><${ViewHead} title=${t("Engines")} />
    <${Shown} of=${loaded}>${(value) => html`<${List} ...${value} />`}<//>
    ${isAdmin() && html`<${Configured} changed=${loaded.again} engines=${loaded.value?.engines ?? []} />`}</div>`;
}

const states = () => ({
  ready: [t("Ready"), "good"],
  no_key: [t("No key"), "warn"],
  paused: [t("Paused"), "bad"],
});

const List = ({ engines, default: chosen, team }) => html`<section class="panel"><h2>${t("Engines")}</h2>
  <ul class="engines">${engines.map((engine) => html`<${Engine} key=${engine.name} engine=${engine} answers=${engine.name === (team || chosen)} ofTeam=${engine.name === team} />`)}</ul></section>`;

function Engine({ engine, answers, ofTeam }) {
  const [word, kind] = states()[engine.answers] ?? [engine.answers, ""];
  return html`<li><div class="engine-head"><h3>${engine.title}</h3><span class=${`tag ${kind}`}>${word}</span>
      ${answers && html`<span class="tag good">${ofTeam ? t("Your team's choice") : t("Answers by default")}</span>`}</div>
    <p>${coded(engine.sentence)}</p>
    <p class="quiet">${[
      t("Name: {name}", { name: engine.name }),
      engine.model && !engine.sentence.includes(engine.model) && t("Model: {model}", { model: engine.model }),
      engine.keys?.team ? t("uses the team's own key") : engine.keys?.installation && t("uses this installation's key"),
      engine.until && t("until {when}", { when: moment(engine.until) }),
    ].filter(Boolean).join(" · ")}</p></li>`;
}

/** What admins choose. A change names the version it is based on, so the newest one is kept here. */
function Configured({ changed, engines }) {
  const loaded = useLoaded((signal) => api.get("/agent-config", { signal }), []);
  const newest = useRef(0);
  newest.current = Math.max(newest.current, loaded.value?.version ?? 0);
  const change = async (wanted) => {
    try {
      const stored = await api.patch("/agent-config", { ...wanted, version: newest.current });
      newest.current = stored.version;
    } finally {
      // Also after a refusal: another admin may have been faster.
      loaded.again();
      changed();
    }
  };
  return html`<${Shown} of=${loaded}>${(config) => html`
    ${config.warnings.length > 0 && html`<div class="notice warn"><ul class="said">${config.warnings.map((warning) => html`<li key=${warning}>${coded(warning)}</li>`)}</ul></div>`}
    <${Choice} config=${config} engines=${engines} change=${change} />
    <${Key} config=${config} change=${change} />
    <${ApprovalRules} config=${config} change=${change} />
    <${ChangeFreeze} config=${config} change=${change} />`}<//>`;
}
