"""The books: double entry. Every booking sums to zero in each currency; balances are derived.

Debits are positive, credits negative. Accounts are kept for each tenant: what it owes
(receivable, an asset), its credit with us (balance, a liability, so below zero while we owe
it something), the money at each provider, revenue and tax, and what was written off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from billing.invoices import CreditNote, Invoice
from billing.money import Money

RECEIVABLE: Final = "receivable"
REVENUE: Final = "revenue"
TAX: Final = "tax"
BALANCE: Final = "balance"
UNCOLLECTIBLE: Final = "uncollectible"


def clearing(provider: str) -> str:
    """The account of the money that a provider holds for us."""
    return f"clearing:{provider}"


class BookingKind(StrEnum):
    """What is booked; with its reference the id of the booking, so that it happens once."""

    ISSUED = "issued"
    BALANCE_USED = "balance_used"
    PAID = "paid"
    """A payment that paid an invoice; what was too much went to the balance, what was too
    little came from it."""
    TO_BALANCE = "to_balance"
    """A payment for an invoice that wanted none any more."""
    IN_REVIEW = "in_review"
    """A payment too short or in another currency: it waits on the balance."""
    REVIEWED = "reviewed"
    """An invoice in review was paid from the balance."""
    CREDITED = "credited"
    VOIDED = "voided"
    WRITTEN_OFF = "written_off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One side of a booking: minor units, positive a debit, negative a credit."""

    account: str
    currency: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """One fact in the books."""

    kind: BookingKind
    reference: str
    """The id of what it is about: an invoice, a payment, a credit note."""
    tenant_id: str
    entries: tuple[Entry, ...]

    @property
    def id(self) -> str:
        """The fact; it is booked once."""
        return f"{self.kind}/{self.reference}"


class Unbalanced(ValueError):
    """A booking that does not sum to zero; it is never written."""


def balanced(booking: Booking) -> Booking:
    """The booking, if it sums to zero in each currency. Raises ``Unbalanced``."""
    sums: Counter[str] = Counter()
    for entry in booking.entries:
        sums[entry.currency] += entry.amount
    wrong = {currency: amount for currency, amount in sums.items() if amount}
    if wrong:
        message = f"{booking.id} sums to {wrong}"
        raise Unbalanced(message)
    return booking


def issued(invoice: Invoice) -> Booking:
    """The customer owes the total: revenue and tax."""
    sides = ((RECEIVABLE, invoice.total), (REVENUE, -invoice.subtotal), (TAX, -invoice.tax))
    return _of(BookingKind.ISSUED, invoice, invoice.id, sides)


def balance_used(invoice: Invoice) -> Booking:
    """The balance took its part of the invoice when it was issued.

    A negative part went the other way: a credit to the balance, or an amount too small to be
    collected that the next invoice will ask for.
    """
    part = invoice.from_balance
    sides = ((BALANCE, part), (RECEIVABLE, -part))
    return _of(BookingKind.BALANCE_USED, invoice, invoice.id, sides)


def paid(
    invoice: Invoice, payment_id: str, provider: str, *, received: int, owed: int, lost: bool
) -> Booking:
    """Money in the invoice's currency pays what is owed; the rest goes to the balance.

    Where less was received than is owed, the balance pays what is missing.
    ``lost``: the invoice had been written off, so the loss is taken back.
    """
    sides = (
        (clearing(provider), received),
        (UNCOLLECTIBLE if lost else RECEIVABLE, -owed),
        (BALANCE, owed - received),
    )
    return _of(BookingKind.PAID, invoice, payment_id, sides)


def kept(
    kind: BookingKind, tenant_id: str, payment_id: str, provider: str, received: Money
) -> Booking:
    """Money that pays no invoice is the customer's, in the currency in which it came."""
    currency, amount = received.currency, received.minor
    return Booking(
        kind=kind,
        reference=payment_id,
        tenant_id=tenant_id,
        entries=_entries(currency, ((clearing(provider), amount), (BALANCE, -amount))),
    )


def reviewed(invoice: Invoice, amount: int) -> Booking:
    """An invoice in review is paid, as far as it goes, with what waits on the balance."""
    reference = f"{invoice.id}/{invoice.paid}"
    sides = ((BALANCE, amount), (RECEIVABLE, -amount))
    return _of(BookingKind.REVIEWED, invoice, reference, sides)


def credited(invoice: Invoice, note: CreditNote) -> Booking:
    """A credit note takes revenue and tax back.

    First it lowers what is due; what was paid already goes to the balance.
    """
    due = min(note.total, invoice.due)
    sides = (
        (REVENUE, note.subtotal),
        (TAX, note.tax),
        (RECEIVABLE, -due),
        (BALANCE, due - note.total),
    )
    return _of(BookingKind.CREDITED, invoice, note.id, sides)


def voided(invoice: Invoice, notes: Sequence[CreditNote]) -> Booking:
    """Nothing is owed any more, and the balance has back what it gave.

    What an open invoice counts as paid came from the balance too (``reviewed``).
    """
    subtotal = invoice.subtotal - sum(note.subtotal for note in notes)
    tax = invoice.tax - sum(note.tax for note in notes)
    given = invoice.from_balance + invoice.paid
    sides = (
        (REVENUE, subtotal),
        (TAX, tax),
        (RECEIVABLE, given - subtotal - tax),
        (BALANCE, -given),
    )
    return _of(BookingKind.VOIDED, invoice, invoice.id, sides)


def written_off(invoice: Invoice) -> Booking:
    """What is due will not come."""
    sides = ((UNCOLLECTIBLE, invoice.due), (RECEIVABLE, -invoice.due))
    return _of(BookingKind.WRITTEN_OFF, invoice, invoice.id, sides)


def _of(
    kind: BookingKind, invoice: Invoice, reference: str, sides: Sequence[tuple[str, int]]
) -> Booking:
    return Booking(
        kind=kind,
        reference=reference,
        tenant_id=invoice.tenant_id,
        entries=_entries(invoice.currency, sides),
    )


def _entries(currency: str, sides: Sequence[tuple[str, int]]) -> tuple[Entry, ...]:
    return tuple(
        Entry(account=account, currency=currency, amount=amount)
        for account, amount in sides
        if amount
    )
