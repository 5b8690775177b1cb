"""Amounts, days, bars and invoice lines in words, for the chat commands.

Money is written as its readers write it: in English ``$49.99`` and ``CN¥358.00``, in Chinese
``US$49.99`` and ``¥358.00`` (Unicode CLDR, ``currencies``). All days are UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from billing.desk import PlanStanding, QuotaStanding
from billing.invoices import InvoiceStatus, Line, LineKind
from billing.money import EXPONENTS, Money
from billing.periods import Period, moment, month_of
from billing.plans import PlanVersion
from core.words import Sentence, Words, language_of, sentence

BLOCKS: Final = 10
"""Width of the bar of ``/usage``."""

_SYMBOLS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {"USD": "$", "CNY": "CN¥", "EUR": "€", "JPY": "¥"},
    "zh": {"USD": "US$", "CNY": "¥", "EUR": "€", "JPY": "JP¥"},
}

STATUSES: Final[Mapping[InvoiceStatus, Sentence]] = {
    InvoiceStatus.DRAFT: sentence("draft"),
    InvoiceStatus.OPEN: sentence("open"),
    InvoiceStatus.PAID: sentence("paid"),
    InvoiceStatus.VOID: sentence("void"),
    InvoiceStatus.UNCOLLECTIBLE: sentence("written off"),
}
"""What an invoice's status is called."""

SERVICES: Final[Mapping[str, Sentence]] = {
    "no_overage": sentence(
        "An invoice is overdue: tokens over the allowance are refused until it is paid."
    ),
    "read_only": sentence(
        "An invoice is overdue: I only read and answer offline until it is paid."
    ),
    "off": sentence("An invoice is overdue for long: I do no work until it is paid."),
}
"""What is left of the service (``PlanStanding.service``), where it is not all."""


def money(amount: Money, words: Words) -> str:
    """An amount, such as ``$49.99``."""
    symbol = _SYMBOLS[language_of(words.language)].get(amount.currency)
    if symbol is None:
        return str(amount)
    digits = EXPONENTS[amount.currency]
    whole, part = divmod(abs(amount.minor), 10**digits)
    decimals = f".{part:0{digits}}" if digits else ""
    return f"{'-' if amount.minor < 0 else ''}{symbol}{whole:,}{decimals}"


def day(at_ms: int, words: Words) -> str:
    """A day with its year, such as ``15 Mar 2026``."""
    at = moment(at_ms)
    return words("{day} {year}", day=words.day(at), year=at.year)


def span(period: Period, words: Words) -> str:
    """A whole calendar month by its name, else from and to; the end is not part of it."""
    if period == month_of(period.start_ms):
        return words.month(moment(period.start_ms))
    return words(
        "{start} to {end}", start=day(period.start_ms, words), end=day(period.end_ms, words)
    )


def bar(used: int, included: int) -> str:
    """Ten blocks; one is full as soon as anything was used, all of them at the allowance."""
    full = min(BLOCKS, max(used * BLOCKS // included, int(used > 0))) if included else BLOCKS
    return "█" * full + "░" * (BLOCKS - full)


def plan_title(plan: str) -> str:
    """A plan's name or the id of one of its versions (``pro-1``) as it is written: ``Pro``."""
    return plan.partition("-")[0].title()


def price_sentence(plan: PlanVersion, currency: str, words: Words) -> str:
    """What a plan costs and includes, in one sentence."""
    price = plan.prices[currency]
    values = {
        "base": money(Money(price.base, currency), words),
        "tokens": f"{plan.included_tokens:,}",
        "overage": money(Money(price.overage, currency), words),
    }
    if not price.overage:
        return words("{base} a month with {tokens} tokens.", **values)
    return words(
        "{base} a month with {tokens} tokens, and {overage} for each million more.", **values
    )


def limits_sentence(plan: PlanVersion, words: Words) -> str:
    """How much of everything it allows."""
    return words(
        "{servers:,} servers, {users:,} users, {orders:,} standing orders.",
        servers=plan.max_servers,
        users=plan.max_users,
        orders=plan.max_standing_orders,
    )


def line_text(line: Line, words: Words) -> str:
    """What an invoice line is for."""
    plan, when = plan_title(line.version_id), span(line.period, words)
    match line.kind:
        case LineKind.BASE:
            return words("{plan} plan, {when}", plan=plan, when=when)
        case LineKind.OVERAGE:
            return words(
                "{tokens:,} tokens over the allowance, {plan} plan, {when}",
                tokens=line.quantity,
                plan=plan,
                when=when,
            )
        case LineKind.LATE_USAGE:
            return words(
                "{tokens:,} tokens of {when} that were counted late, {plan} plan",
                tokens=line.quantity,
                plan=plan,
                when=when,
            )
        case LineKind.PRORATION_CREDIT:
            return words("Credit for the {plan} plan, {when}", plan=plan, when=when)
        case LineKind.PRORATION_CHARGE:
            return words("{plan} plan for the rest of its period, {when}", plan=plan, when=when)


def usage_line(usage: QuotaStanding, words: Words) -> str:
    """The bar, the numbers and the per cent: one line."""
    return words(
        "`{bar}` {percent} %: {used:,} of {included:,} tokens",
        bar=bar(usage.used, usage.included),
        percent=usage.percent,
        used=usage.used,
        included=usage.included,
    )


def service_sentence(standing: PlanStanding, words: Words) -> str | None:
    """What is wrong with the service and what to do; None when nothing is."""
    said = SERVICES.get(standing.service)
    if said is None and standing.overdue_since_ms is None:
        return None
    problem = said or sentence("An invoice is overdue.")
    todo = words("An admin pays it: `/invoices` lists them, `/pay NUMBER` shows how.")
    return f"{words.of(problem)} {todo}"
