// Figures and times in the reader's language.
import { number, t, tag } from "./i18n.js";

const DAY_MS = 86_400_000;

/** 1.5 MB, from bytes. */
export function size(bytes) {
  if (bytes < 1024) return t("{n} bytes", { n: number(bytes) });
  const [unit, value] = bytes < 1024 ** 2 ? ["KB", bytes / 1024] : ["MB", bytes / 1024 ** 2];
  return `${new Intl.NumberFormat(tag(), { maximumFractionDigits: 1 }).format(value)} ${unit}`;
}

/** 14:05, of an ISO time. */
export const clock = (iso) =>
  new Intl.DateTimeFormat(tag(), { hour: "2-digit", minute: "2-digit" }).format(new Date(iso));

/** A day and a time, of an ISO time. */
export const moment = (iso) =>
  new Intl.DateTimeFormat(tag(), { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));

/** A day, of an ISO time. */
export const day = (iso) => new Intl.DateTimeFormat(tag(), { dateStyle: "medium" }).format(new Date(iso));

/** The heading under which something of that time is listed: Today, Yesterday, a month. */
export function dayGroup(iso, now = new Date()) {
  const at = new Date(iso);
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  if (at.getTime() >= midnight) return t("Today");
  if (at.getTime() >= midnight - DAY_MS) return t("Yesterday");
  if (at.getTime() >= midnight - 6 * DAY_MS) return t("This week");
  if (at.getTime() >= midnight - 29 * DAY_MS) return t("This month");
  return new Intl.DateTimeFormat(tag(), { month: "long", year: "numeric" }).format(at);
}

/** "2 minutes ago", of an ISO time. */
export function ago(iso, now = Date.now()) {
  const seconds = Math.round((new Date(iso).getTime() - now) / 1000);
  const relative = new Intl.RelativeTimeFormat(tag(), { numeric: "auto" });
  for (const [unit, length] of [["day", 86_400], ["hour", 3_600], ["minute", 60]]) {
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  }
  return relative.format(Math.min(0, seconds), "second");
}
