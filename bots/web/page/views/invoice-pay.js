// Paying an invoice: the way, and then what the payer is to do.
import { html, useState } from "../lib/dom.js";
import { api } from "../lib/api.js";
import { moment } from "../lib/format.js";
import { language, t } from "../lib/i18n.js";
import { Button, CopyButton, useAlive, useLoaded } from "../lib/parts.js";
import { money } from "./money.js";
import { Empty, Shown, coded, newKey } from "./parts.js";

export function Pay({ invoice }) {
  const methods = useLoaded((signal) => api.get("/billing/payment-methods", { signal }), []);
  const [payment, setPayment] = useState(null);
  if (payment) return html`<${Instructions} payment=${payment} />`;
  return html`<${Shown} of=${methods}>${(value) => (value.methods.length === 0
    ? html`<${Empty}>${t("The operator of IT0 has set up no way to pay yet.")}<//>`
    : html`<${Methods} invoice=${invoice} methods=${value.methods} begun=${setPayment} />`)}<//>`;
}

function Methods({ invoice, methods, begun }) {
  const [key, setKey] = useState(newKey);
  const [problem, setProblem] = useState(null);
  const alive = useAlive();
  const pay = async (method) => {
    setProblem(null);
    try {
      begun(await api.post(`/billing/invoices/${invoice.id}/pay`, { method: method.name }, { headers: { "Idempotency-Key": key } }));
    } catch (refused) {
      if (!alive.current) return;
      setProblem(refused);
    } finally {
      if (alive.current) setKey(newKey());
    }
  };
  return html`<div class="pay"><h3>${t("Pay {amount}", { amount: money(invoice.due) })}</h3>
    ${problem && html`<p class="notice bad" role="alert">${coded(problem.detail)}</p>`}
    <ul class="rows">${methods.map((method) => html`<li key=${method.name}><div>${method.description}</div>
      <${Button} kind="main" run=${() => pay(method)} label=${t("Pay this way: {way}", { way: method.description })}>${t("Pay this way")}<//></li>`)}</ul></div>`;
}

const paymentNames = () => ({
  created: t("Not paid yet"),
  processing: t("On its way"),
  failed: t("Failed"),
  succeeded: t("Paid"),
  refunded: t("Paid back"),
  disputed: t("Disputed"),
});

export const paymentName = (status) => paymentNames()[status] ?? status;

const methodNames = () => ({
  manual: t("by transfer"),
  stripe: "Stripe",
  alipay: t("Alipay"),
  wechat: t("WeChat Pay"),
  crypto: t("cryptocurrency"),
});

export const methodName = (name) => methodNames()[name] ?? name;

/** An address that a payer may follow: to a web page, and to nothing else. */
const followed = (url) => (/^https?:\/\//i.test(url) ? url : "");

export function Instructions({ payment }) {
  const url = followed(payment.url);
  return html`<div class="pay" role="status"><h3>${t("Pay {amount}", { amount: money(payment.amount) })}</h3>
    ${payment.instructions && html`<p class="instructions">${payment.instructions}</p>`}
    ${url && html`<p><a class="button main" href=${url} target="_blank" rel="noopener noreferrer">${t("Go on to pay")}</a></p>`}
    ${payment.qr && html`<div class="secret"><code>${payment.qr}</code><${CopyButton} text=${payment.qr} label=${t("Copy the payment code")} /></div>`}
    <p class="quiet">${paymentName(payment.status)}${payment.expires_at && ` · ${t("good until {when}", { when: moment(payment.expires_at) })}`}</p></div>`;
}

export const pdfOf = (invoice) => `/api/v1/billing/invoices/${encodeURIComponent(invoice.id)}/pdf?language=${language()}`;
