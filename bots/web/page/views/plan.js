// The team's plan, what is used of it, and what it costs.
import { html, useState } from "../lib/dom.js";
import { api, session } from "../lib/api.js";
import { t, tn, number } from "../lib/i18n.js";
import { Button, useLoaded } from "../lib/parts.js";
import { note } from "../lib/say.js";
import { ViewHead } from "../shell/sidebar.js";
import { Invoices } from "./invoices.js";
import { dayUtc, money, planName, priceOf, span } from "./money.js";
import { Empty, Meter, Shown, isAdmin, newKey } from "./parts.js";
import { CancelPlan, ChangePlan } from "./plan-change.js";
import { History } from "./usage.js";

export default function PlanView() {
  const [round, setRound] = useState(0);
  const again = () => setRound((n) => n + 1);
  if (!session.get().features.billing) {
    return html`<div class="view"><${ViewHead} title=${t("Plan and usage")} />
      <${Empty}>${t("This installation has no plans and sends no invoices.")}<//></div>`;
  }
  return html`<div class="view"><${ViewHead} title=${t("Plan and usage")} />
    <${Plan} round=${round} changed=${again} /><${History} />
    ${isAdmin() && html`<${Invoices} round=${round} changed=${again} />`}</div>`;
}

/** What stands in the way of nothing when it is missing: the counts of what the plan limits. */
const count = (path, list, signal) => api.get(path, { signal }).then((found) => found[list].length, () => null);

async function loadPlan(signal) {
  const admin = isAdmin();
  const [subscription, usage, plans, servers, orders, people] = await Promise.all([
    api.get("/billing/subscription", { signal }),
    api.get("/billing/usage/current", { signal }),
    api.get("/billing/plans", { signal }),
    count("/servers", "servers", signal),
    count("/standing-orders", "orders", signal),
    admin ? count("/users", "users", signal) : null,
  ]);
  return { subscription, usage, plans: plans.plans, counts: { servers, orders, people } };
}

function Plan({ round, changed }) {
  const loaded = useLoaded(loadPlan, [round]);
  return html`<${Shown} of=${loaded}>${(value) => html`
    <${Standing} ...${value} changed=${changed} />
    <${Limits} ...${value} />
    ${isAdmin() && html`<${Plans} ...${value} changed=${changed} />`}`}<//>`;
}

const statusNames = () => ({
  trialing: [t("Trial"), ""],
  active: [t("Active"), "good"],
  past_due: [t("An invoice is overdue"), "bad"],
  cancelled: [t("Cancelled"), "bad"],
  expired: [t("The trial is over"), "bad"],
});

const serviceText = (service) =>
  ({
    no_overage: t("An invoice is overdue: until it is paid, nothing beyond what the plan includes is used."),
    read_only: t("An invoice is overdue: until it is paid, only the offline engine answers, without a model."),
    off: t("An invoice is long overdue: IT0 does not answer until it is paid."),
  })[service];

function Standing({ subscription, changed }) {
  const { plan, currency, status } = subscription;
  const [word, kind] = statusNames()[status] ?? [status, ""];
  const price = priceOf(plan, currency);
  return html`<section class="panel"><div class="section-head"><h2>${t("{plan} plan", { plan: planName(plan.plan) })}</h2><span class=${`tag ${kind}`}>${word}</span></div>
    ${serviceText(subscription.service) && html`<p class="notice bad">${serviceText(subscription.service)}</p>`}
    <dl class="facts">
      <dt>${t("Price")}</dt><dd>${price ? t("{price} a month", { price: money(price.base) }) : t("as agreed")}</dd>
      <dt>${t("Period")}</dt><dd>${span(subscription.period_start, subscription.period_end)}</dd>
      ${subscription.trial_end && html`<dt>${t("Trial until")}</dt><dd>${dayUtc(subscription.trial_end)}</dd>`}
      ${subscription.next_plan && html`<dt>${t("Next plan")}</dt><dd>${t("{plan}, from {day}", { plan: planName(subscription.next_plan.plan), day: dayUtc(subscription.period_end) })}</dd>`}
      ${subscription.cancel_at && html`<dt>${t("Ends")}</dt><dd>${dayUtc(subscription.cancel_at)}</dd>`}
      ${subscription.balance && subscription.balance.amount !== 0 && html`<dt>${t("Credit")}</dt><dd>${money(subscription.balance)}</dd>`}
      ${subscription.due && subscription.due.amount > 0 && html`<dt>${t("To pay")}</dt><dd><strong>${money(subscription.due)}</strong></dd>`}
    </dl>
    ${isAdmin() && (subscription.cancel_at || subscription.next_plan) && html`<footer><${TakeBack} subscription=${subscription} changed=${changed} /></footer>`}</section>`;
}

function TakeBack({ subscription, changed }) {
  const [key] = useState(newKey);
  const run = async () => {
    await api.post("/billing/subscription/reactivate", {}, { headers: { "Idempotency-Key": key } });
    note(t("The plan stays as it is."));
    changed();
  };
  return html`<${Button} run=${run}>${subscription.cancel_at ? t("Take the cancellation back") : t("Stay on this plan")}<//>`;
}

function Limits({ subscription, usage, counts }) {
  const { plan } = subscription;
  const of = (used, most) => t("{used} of {most}", { used: number(used), most: number(most) });
  const limit = (label, used, most) => (used === null
    ? html`<div class="meter"><div class="meter-head"><span>${label}</span><span class="quiet">${t("at most {most}", { most: number(most) })}</span></div></div>`
    : html`<${Meter} label=${label} value=${used} most=${most} text=${of(used, most)} />`);
  return html`<section class="panel"><h2>${t("Used of each limit")}</h2>
    <div class="meters">
      <${Meter} hard label=${t("Tokens this month")} value=${usage.used_tokens} most=${usage.included_tokens} text=${t("{used} of {most} included ({percent} %)", { used: number(usage.used_tokens), most: number(usage.included_tokens), percent: number(usage.percent) })} />
      ${limit(t("Servers"), counts.servers, plan.max_servers)}
      ${limit(t("People"), counts.people, plan.max_users)}
      ${limit(t("Standing orders"), counts.orders, plan.max_standing_orders)}</div>
    <${Forecast} usage=${usage} /></section>`;
}

function Forecast({ usage }) {
  const sentences = [
    t("At this pace the month comes to {tokens} tokens.", { tokens: number(usage.forecast_tokens) }),
    usage.hard_limit_tokens !== null && t("At {tokens} tokens the model stops answering until the month is over.", { tokens: number(usage.hard_limit_tokens) }),
    usage.overage_forecast.amount > 0 && t("Beyond the allowance: {now} so far, {then} at this pace, before tax.", { now: money(usage.overage), then: money(usage.overage_forecast) }),
    usage.own_key_tokens > 0 && tn("1 token ran on the team's own key and is never charged.", "{n} tokens ran on the team's own key and are never charged.", usage.own_key_tokens),
    usage.reserved_tokens > 0 && tn("1 token is set aside for turns that run now.", "{n} tokens are set aside for turns that run now.", usage.reserved_tokens),
  ].filter(Boolean);
  return html`<ul class="said">${sentences.map((sentence) => html`<li key=${sentence}>${sentence}</li>`)}</ul>`;
}

function Plans({ subscription, plans, changed }) {
  const [wanted, setWanted] = useState(null);
  const [ending, setEnding] = useState(false);
  const at = plans.findIndex((plan) => plan.plan === subscription.plan.plan);
  const ended = ["cancelled", "expired"].includes(subscription.status);
  return html`<section class="panel"><h2>${t("Plans")}</h2>
    <ul class="plans">${plans.map((plan, n) => {
      const kind = wayTo(plan, n - at, subscription.status);
      return html`<li key=${plan.id} class=${n === at ? "current" : ""}><${Offered} plan=${plan} currency=${subscription.currency} />
        ${n === at && html`<span class="tag good">${t("Your plan")}</span>`}
        ${kind && html`<${Button} kind=${kind === "upgrade" ? "main" : ""} run=${() => setWanted({ plan, kind })}>${changeText(plan, kind, n === at)}<//>`}</li>`;
    })}</ul>
    ${at > 0 && !ended && !subscription.cancel_at && html`<footer><${Button} kind="plain" run=${() => setEnding(true)}>${t("Cancel the plan ...")}<//></footer>`}
    ${wanted && html`<${ChangePlan} ...${wanted} close=${() => setWanted(null)} changed=${changed} />`}
    ${ending && html`<${CancelPlan} subscription=${subscription} close=${() => setEnding(false)} changed=${changed} />`}</section>`;
}

/** "upgrade", "downgrade" or "". In a trial every paid plan is an upgrade, also the one that is tried. */
function wayTo(plan, above, status) {
  if (status === "trialing") return plan.plan === "free" ? "" : "upgrade";
  if (above === 0) return "";
  return above > 0 ? "upgrade" : "downgrade";
}

function changeText(plan, kind, tried) {
  const named = { plan: planName(plan.plan) };
  if (tried) return t("Keep {plan} after the trial", named);
  return kind === "upgrade" ? t("Upgrade to {plan}", named) : t("Change to {plan}", named);
}

function Offered({ plan, currency }) {
  const price = priceOf(plan, currency);
  const over = price?.overage_per_million;
  return html`<h3>${planName(plan.plan)}</h3>
    <p class="price">${price ? t("{price} a month", { price: money(price.base) }) : t("as agreed")}</p>
    <ul class="quiet"><li>${t("{tokens} tokens a month", { tokens: number(plan.included_tokens) })}</li>
      <li>${over?.amount > 0 ? t("{price} for each million more", { price: money(over) }) : t("nothing beyond that")}</li>
      <li>${tn("1 server", "{n} servers", plan.max_servers)}</li><li>${tn("1 person", "{n} people", plan.max_users)}</li>
      <li>${tn("1 standing order", "{n} standing orders", plan.max_standing_orders)}</li></ul>`;
}
