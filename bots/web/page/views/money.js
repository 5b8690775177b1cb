// Money, plans and periods in words.
import { number, t, tag } from "../lib/i18n.js";

/** An amount of the API, in minor units, as people write it. */
export function money({ amount, currency }) {
  const form = new Intl.NumberFormat(tag(), { style: "currency", currency });
  return form.format(amount / 10 ** form.resolvedOptions().maximumFractionDigits);
}

/** "Pro", of "pro" or of the id of a version, "pro-1". */
export function planName(id) {
  const plan = id.split("-")[0];
  return ({ free: t("Free"), pro: t("Pro"), enterprise: t("Enterprise") })[plan] ?? plan;
}

/** A day as billing counts it: in UTC, whatever the reader's zone. */
export const dayUtc = (iso) => new Intl.DateTimeFormat(tag(), { dateStyle: "medium", timeZone: "UTC" }).format(new Date(iso));

/** A period; its end is the first moment after it. */
export const span = (from, until) =>
  new Intl.DateTimeFormat(tag(), { dateStyle: "medium", timeZone: "UTC" })
    .formatRange(new Date(from), new Date(Math.max(new Date(from).getTime(), new Date(until).getTime() - 1)));

/** What a line of an invoice or a quote is for. */
export function lineText(line) {
  const values = { plan: planName(line.plan), when: span(line.period_start, line.period_end), tokens: number(line.quantity) };
  switch (line.kind) {
    case "base":
      return t("{plan} plan, {when}", values);
    case "overage":
      return t("{tokens} tokens over the allowance, {plan} plan, {when}", values);
    case "late_usage":
      return t("{tokens} tokens of {when} that were counted late, {plan} plan", values);
    case "proration_credit":
      return t("Credit for the {plan} plan, {when}", values);
    default:
      return t("{plan} plan for the rest of its period, {when}", values);
  }
}

/** The price of a plan in a currency; undefined where it is not sold in it. */
export const priceOf = (plan, currency) => plan.prices.find((price) => price.currency === currency);

/** All tokens of a day's or a call's buckets. */
export const tokensOf = (usage) => Object.values(usage).reduce((sum, tokens) => sum + tokens, 0);
