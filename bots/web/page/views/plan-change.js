// Changing the plan: first the quote with its price, then the change; and ending it.
import { html, useState } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { moment } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { Button, Dialog, Loading, useAlive, useLoaded } from "../lib/parts.js";
import { note } from "../lib/say.js";
import { Pay } from "./invoice-pay.js";
import { Lines } from "./invoice-lines.js";
import { dayUtc, money, planName } from "./money.js";
import { coded, newKey } from "./parts.js";

/** `kind`: "upgrade" or "downgrade". */
export function ChangePlan({ plan, kind, close, changed }) {
  const path = `/billing/subscription/${kind}`;
  const [key, setKey] = useState(newKey);
  const [made, setMade] = useState(null);
  // A quote is asked for anew each time, so it has no key; carrying one out has one.
  const quoted = useLoaded((signal) => api.post(path, { plan: plan.plan }, { signal }), []);
  const [problem, setProblem] = useState(null);
  const alive = useAlive();
  const carryOut = async () => {
    setProblem(null);
    try {
      const answer = await api.post(path, { quote_id: quoted.value.quote.id }, { headers: { "Idempotency-Key": key } });
      changed();
      if (answer.invoice && answer.invoice.due.amount > 0) return alive.current && setMade(answer);
      note(doneText(answer, plan));
      close();
    } catch (refused) {
      if (!alive.current) return undefined;
      setProblem(refused);
      // A refusal is kept under its key; what may be tried again gets a new one.
      if (!refused.passing) setKey(newKey());
    }
    return undefined;
  };
  const title = kind === "upgrade" ? t("Upgrade to {plan}", { plan: planName(plan.plan) }) : t("Change to {plan}", { plan: planName(plan.plan) });
  let body;
  if (made) body = html`<p>${t("Invoice {number} was made. The plan changes as soon as it is paid.", { number: made.invoice.number ?? made.invoice.id })}</p><${Pay} invoice=${made.invoice} />`;
  else if (quoted.value) body = html`<${Quote} quote=${quoted.value.quote} problem=${problem} again=${quoted.again} close=${close} run=${carryOut} />`;
  else body = html`<${Loading} of=${quoted} />`;
  return html`<${Dialog} title=${title} close=${close} kind="wide-dialog">${body}<//>`;
}

const doneText = (answer, plan) =>
  answer.subscription?.next_plan
    ? t("The plan changes to {plan} on {day}.", { plan: planName(plan.plan), day: dayUtc(answer.subscription.period_end) })
    : t("The plan is now {plan}.", { plan: planName(plan.plan) });

function Quote({ quote, problem, again, close, run }) {
  const later = quote.kind === "downgrade";
  return html`<p>${later
      ? t("The plan changes on {day}, at the end of the period. Nothing is to be paid now.", { day: dayUtc(quote.effective_at) })
      : t("An invoice is made for the rest of the period; the plan changes as soon as it is paid.")}</p>
    ${quote.lines.length > 0 && html`<${Lines} lines=${quote.lines} caption=${t("What is charged")} />
      <dl class="sums"><dt>${t("Before tax")}</dt><dd>${money(quote.subtotal)}</dd><dt>${t("Tax")}</dt><dd>${money(quote.tax)}</dd>
        ${quote.from_balance.amount !== 0 && html`<dt>${t("From your credit")}</dt><dd>${money(quote.from_balance)}</dd>`}
        <dt class="total">${t("Total")}</dt><dd class="total">${money(quote.total)}</dd></dl>`}
    <p class="quiet">${t("This quote holds until {when}.", { when: moment(quote.expires_at) })}</p>
    ${problem && html`<div class="notice bad" role="alert"><p>${coded(problem.detail)}</p><${Button} run=${again}>${t("New quote")}<//></div>`}
    <footer><${Button} run=${close}>${t("Leave it as it is")}<//>
      <${Button} kind="main" run=${run}>${later ? t("Change the plan") : t("Upgrade for {total}", { total: money(quote.total) })}<//></footer>`;
}

export function CancelPlan({ subscription, close, changed }) {
  const [now, setNow] = useState(false);
  const [key, setKey] = useState(newKey);
  const [problem, setProblem] = useState(null);
  const alive = useAlive();
  const run = async () => {
    setProblem(null);
    try {
      await api.post("/billing/subscription/cancel", { at_once: now }, { headers: { "Idempotency-Key": key } });
      note(t("The plan is cancelled."));
      changed();
      close();
    } catch (refused) {
      if (!alive.current) return;
      setProblem(refused);
      if (!refused.passing) setKey(newKey());
    }
  };
  const choose = (wanted) => {
    setNow(wanted);
    setKey(newKey());
  };
  return html`<${Dialog} title=${t("Cancel the {plan} plan", { plan: planName(subscription.plan.plan) })} close=${close}>
    <fieldset class="choices"><legend class="unseen">${t("When")}</legend>
      <label><input type="radio" name="when" checked=${!now} onChange=${() => choose(false)} /><span>${t("At the end of the period, {day}", { day: dayUtc(subscription.period_end) })}</span></label>
      <label><input type="radio" name="when" checked=${now} onChange=${() => choose(true)} /><span>${t("Now; what was used beyond the allowance is invoiced")}</span></label></fieldset>
    <p class="quiet">${t("Nothing is paid back. Conversations, servers and the audit log stay.")}</p>
    ${problem && html`<p class="notice bad" role="alert">${coded(problem.detail)}</p>`}
    <footer><${Button} run=${close}>${t("Keep the plan")}<//><${Button} kind="bad" run=${run}>${t("Cancel the plan")}<//></footer><//>`;
}
