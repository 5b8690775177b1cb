"""Invoices: what they are made of, how they are added up, and what may become of them.

A draft gets its number when it is issued and is never changed after that: what was wrong is
corrected by a credit note. A void invoice keeps its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from billing.money import share
from billing.periods import DAY_MS, Period
from billing.plans import PlanVersion

TAX_WHOLE: Final = 10_000
"""Tax rates are hundredths of a per cent."""
MAX_LINES: Final = 20
"""An invoice with more is a mistake of ours: nothing is issued, and the operator is paged."""
MINIMUM_DUE: Final[Mapping[str, int]] = {"USD": 50, "CNY": 50}
"""Minor units: providers collect no less (Stripe: about USD 0.50)."""
PAY_WITHIN_MS: Final = 7 * DAY_MS
UPGRADE_WITHIN_MS: Final = 23 * 3_600_000
"""A payment code is good for a day at most: then the upgrade is void."""
MILLION: Final = 1_000_000


class InvoiceStatus(StrEnum):
    """Where an invoice stands."""

    DRAFT = "draft"
    OPEN = "open"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


INVOICE_NEXT: Final[Mapping[InvoiceStatus, frozenset[InvoiceStatus]]] = {
    InvoiceStatus.DRAFT: frozenset({InvoiceStatus.OPEN, InvoiceStatus.VOID}),
    InvoiceStatus.OPEN: frozenset(
        {InvoiceStatus.PAID, InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE}
    ),
    InvoiceStatus.PAID: frozenset(),
    InvoiceStatus.VOID: frozenset(),
    InvoiceStatus.UNCOLLECTIBLE: frozenset({InvoiceStatus.PAID}),
}


class InvoiceKind(StrEnum):
    """What made it."""

    CYCLE = "cycle"
    """The monthly run: the new month in advance, the old one's overage in arrears."""
    UPGRADE = "upgrade"
    """A change of plan that takes effect when it is paid."""
    FINAL = "final"
    """The overage of a subscription that ended."""


class LineKind(StrEnum):
    """What a line charges or credits."""

    BASE = "base"
    OVERAGE = "overage"
    LATE_USAGE = "late_usage"
    """Tokens of an earlier month that were settled after its invoice."""
    PRORATION_CREDIT = "proration_credit"
    """What was charged for the rest of the period on the old plan."""
    PRORATION_CHARGE = "proration_charge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line; ``amount`` is the only place where a price was rounded."""

    kind: LineKind
    version_id: str
    period: Period
    quantity: int
    """Tokens of usage lines, seconds of prorations, 1 of base fees."""
    unit_minor: int
    """The price of a million tokens, or of the whole period."""
    amount: int
    """Minor units, before tax; credits are negative."""
    from_position: int = 0
    """Usage lines: they stand for the tokens ``[from_position, from_position + quantity)`` of
    the tenant's month, in the order in which calls were settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An invoice before it has a number."""

    key: str
    """What it is for, such as ``cycle/SUBSCRIPTION/PERIOD_START``: there is one for each key."""
    tenant_id: str
    subscription_id: str
    kind: InvoiceKind
    currency: str
    period: Period
    lines: tuple[Line, ...]
    tax_rate: int = 0
    quote_id: str | None = None

    @property
    def subtotal(self) -> int:
        """Before tax."""
        return sum(line.amount for line in self.lines)

    @property
    def taxes(self) -> tuple[int, ...]:
        """The tax of each line, each rounded by itself."""
        return tuple(share(line.amount, self.tax_rate, TAX_WHOLE) for line in self.lines)

    @property
    def total(self) -> int:
        """What is to be paid; negative where more is credited than charged."""
        return self.subtotal + sum(self.taxes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Who sells or buys, as printed."""

    name: str
    address: str = ""
    tax_number: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """An invoice as it is stored. Amounts are minor units, times epoch milliseconds."""

    id: str
    tenant_id: str
    subscription_id: str
    kind: InvoiceKind
    key: str
    status: InvoiceStatus
    number: str | None
    currency: str
    period: Period
    subtotal: int
    tax_rate: int
    tax: int
    total: int
    from_balance: int
    """The part that the customer's balance paid when it was issued."""
    paid: int
    """The part that payments paid."""
    credited: int
    """The part that credit notes took back."""
    needs_review: bool
    seller: Party
    buyer: Party
    lines: tuple[Line, ...]
    line_taxes: tuple[int, ...]
    quote_id: str | None
    created_at_ms: int
    issued_at_ms: int | None
    due_at_ms: int | None
    closed_at_ms: int | None

    @property
    def due(self) -> int:
        """What is left to pay."""
        if self.status is not InvoiceStatus.OPEN:
            return 0
        return max(0, self.total - self.from_balance - self.paid - self.credited)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditNote:
    """Takes an issued invoice back, wholly or in part."""

    id: str
    tenant_id: str
    invoice_id: str
    number: str
    currency: str
    subtotal: int
    tax: int
    total: int
    reason: str
    created_at_ms: int


def due_at(kind: InvoiceKind, issued_at_ms: int) -> int:
    """When it is to be paid: within a week, an upgrade before its payment code is void."""
    upgrade = kind is InvoiceKind.UPGRADE
    return issued_at_ms + (UPGRADE_WITHIN_MS if upgrade else PAY_WITHIN_MS)


def balance_part(total: int, credit: int, currency: str, *, lend: bool = True) -> int:
    """How much of an invoice the customer's balance takes when it is issued.

    A total below zero goes to the balance. Otherwise the balance pays what it can; a balance
    below zero adds to what is due. An amount that is too small to be collected is put on the
    balance as a debt, so that no invoice stays open for it and the next one asks for it; without
    ``lend`` it is to be paid as it is, as nobody gets a plan on credit.
    """
    if total <= 0:
        return total
    part = min(credit, total)
    small = lend and total - part < MINIMUM_DUE.get(currency, 0)
    return total if small else part


class UnsafeInvoice(ValueError):
    """The bill is beyond what can be right; nothing was issued."""


def checked(draft: Draft, *, most_minor: int) -> Draft:
    """The draft, unless it is beyond its bounds. Raises ``UnsafeInvoice``.

    ``most_minor``: three times the largest amount that the plan can lead to in a month.
    """
    if len(draft.lines) > MAX_LINES:
        message = f"{len(draft.lines)} lines; at most {MAX_LINES} can be right"
        raise UnsafeInvoice(message)
    if abs(draft.subtotal) > most_minor:
        message = f"{draft.subtotal} {draft.currency} minor units; at most {most_minor} can be"
        raise UnsafeInvoice(message)
    return draft


SAFETY: Final = 3
"""Times the most that the plans can lead to in a month: more is a mistake of ours."""


def most_in_a_month(versions: Iterable[PlanVersion], currency: str) -> int:
    """The largest amount, minor units before tax, that one of these plans can lead to.

    Its base, and every token that it lets through over what is included.
    """
    amounts = [0]
    for version in versions:
        price = version.prices[currency]
        percent = version.hard_percent or version.cap_percent or 100
        over = max(0, version.included_tokens * (percent - 100) // 100)
        amounts.append(price.base + share(price.overage, over, MILLION))
    return max(amounts)


def credited_tax(invoice: Invoice, credited: Sequence[CreditNote], total: int) -> int:
    """The tax in a credit of ``total``: in proportion, and the last one takes what is left.

    Raises ``ValueError`` when the credit notes together would exceed the invoice.
    """
    left = invoice.total - sum(note.total for note in credited)
    if not 0 < total <= left:
        message = f"at most {left} can be credited"
        raise ValueError(message)
    if total == left:
        return invoice.tax - sum(note.tax for note in credited)
    return share(total, invoice.tax, invoice.total)
