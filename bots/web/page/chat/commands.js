// The commands that the composer offers after a slash. IT0 itself decides who may use which.
import { session } from "../lib/api.js";
import { t } from "../lib/i18n.js";

const EVERYBODY = () => [
  ["help", t("what IT0 can do")],
  ["new", t("start a new conversation here")],
  ["servers", t("the servers that IT0 can look at")],
  ["skills", t("the routines that IT0 knows")],
  ["orders", t("the standing orders")],
  ["handover", t("what happened, for whoever goes on")],
  ["engine", t("which engine answers")],
  ["sessions", t("your conversations, wherever you had them")],
  ["whoami", t("who you are to IT0, and what you may do")],
  ["tenant", t("your teams")],
  ["language", t("choose the language of IT0's words")],
  ["link", t("a code that links your other platforms")],
  ["stop", t("stop what IT0 does in this conversation")],
];
const DECIDERS = () => [
  ["approve", t("let a change run that waits for a human")],
  ["deny", t("do not let it run, and tell why")],
];
const BILLING = () => [
  ["plan", t("your team's plan and its limits")],
  ["usage", t("this month's tokens")],
  ["invoices", t("the invoices of your team")],
];

/** What begins with what was typed: [{word, text}]. */
export function matching(typed) {
  const me = session.get();
  const all = [
    ...EVERYBODY(),
    ...(me.user.role === "viewer" ? [] : DECIDERS()),
    ...(me.features?.billing ? BILLING() : []),
  ];
  return all.filter(([word]) => word.startsWith(typed.toLowerCase())).map(([word, text]) => ({ word, text }));
}
