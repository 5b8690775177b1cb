"""Bookings sum to zero, and together they leave what they should in each account."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing import ledger
from billing.invoices import balance_part, credited_tax
from billing.ledger import (
    BALANCE,
    RECEIVABLE,
    REVENUE,
    TAX,
    UNCOLLECTIBLE,
    Booking,
    BookingKind,
    Entry,
    Unbalanced,
    balanced,
)
from billing.money import Money
from tests.billing.invoice_kit import invoice, note

AMOUNTS = st.integers(-(10**10), 10**10)
POSITIVE = st.integers(1, 10**10)


def sums(*bookings: Booking) -> Counter[str]:
    """What each account holds after these."""
    held: Counter[str] = Counter()
    for booking in bookings:
        for entry in balanced(booking).entries:
            held[entry.account] += entry.amount
    return held


def test_a_booking_that_does_not_sum_to_zero_is_refused() -> None:
    """Also one that would do so only across two currencies."""
    entries = (
        Entry(account=RECEIVABLE, currency="USD", amount=5),
        Entry(account=REVENUE, currency="CNY", amount=-5),
    )
    odd = Booking(kind=BookingKind.ISSUED, reference="x", tenant_id="t", entries=entries)
    with pytest.raises(Unbalanced, match="issued/x"):
        balanced(odd)


@given(subtotal=AMOUNTS, tax=st.integers(0, 10**9), credit=AMOUNTS)
def test_an_issued_invoice_is_owed_but_for_what_the_balance_took(
    subtotal: int, tax: int, credit: int
) -> None:
    """Receivable is what is due; revenue and tax are the invoice's."""
    bare = invoice(subtotal=subtotal, tax=tax if subtotal > 0 else 0)
    bill = replace(bare, from_balance=balance_part(bare.total, credit, "USD"))
    held = sums(ledger.issued(bill), ledger.balance_used(bill))
    assert held[RECEIVABLE] == bill.due
    assert (held[REVENUE], held[TAX]) == (-bill.subtotal, -bill.tax)
    assert held[BALANCE] == bill.from_balance


@given(owed=POSITIVE, over=st.integers(0, 10**9), lost=st.booleans())
def test_a_payment_pays_what_is_owed_and_the_rest_is_kept(
    owed: int, over: int, *, lost: bool
) -> None:
    """The money is with the provider, nothing is owed or lost, the rest is the customer's."""
    bill = invoice(subtotal=owed)
    before = [ledger.issued(bill), *([ledger.written_off(bill)] if lost else [])]
    payment = ledger.paid(bill, "pay", "card", received=owed + over, owed=owed, lost=lost)
    held = sums(*before, payment)
    assert held["clearing:card"] == owed + over
    assert held[RECEIVABLE] == held[UNCOLLECTIBLE] == 0
    assert held[BALANCE] == -over


@given(amount=POSITIVE, kind=st.sampled_from([BookingKind.TO_BALANCE, BookingKind.IN_REVIEW]))
def test_money_that_pays_nothing_is_the_customers(amount: int, kind: BookingKind) -> None:
    """In the currency in which it came."""
    booking = balanced(ledger.kept(kind, "t", "pay", "card", Money(amount, "CNY")))
    assert {entry.currency for entry in booking.entries} == {"CNY"}
    assert sums(booking)[BALANCE] == -amount


@given(
    total=st.integers(100, 10**9),
    tax=st.integers(0, 99),
    used=st.integers(0, 99),
    part=POSITIVE,
)
def test_a_credit_lowers_the_debt_first(total: int, tax: int, used: int, part: int) -> None:
    """What exceeds the debt goes to the balance; revenue and tax go back together."""
    bill = invoice(subtotal=total - tax, tax=tax, from_balance=used)
    amount = min(part, total)
    credit = note(bill, amount, credited_tax(bill, [], amount))
    booked = (ledger.issued(bill), ledger.balance_used(bill), ledger.credited(bill, credit))
    held = sums(*booked)
    assert held[RECEIVABLE] == max(0, bill.due - amount)
    assert held[REVENUE] + held[TAX] == amount - total
    assert held[BALANCE] == used - max(0, amount - bill.due)


@given(
    total=st.integers(100, 10**9),
    tax=st.integers(0, 99),
    used=st.integers(-49, 40),
    part=st.integers(0, 50),
    accepted=st.integers(0, 9),
)
def test_a_void_invoice_leaves_nothing(
    total: int, tax: int, used: int, part: int, accepted: int
) -> None:
    """Credited, paid from the balance or reviewed before: every account is back at zero."""
    bill = invoice(subtotal=total - tax, tax=tax, from_balance=used)
    booked = [ledger.issued(bill), ledger.balance_used(bill), ledger.reviewed(bill, accepted)]
    bill = replace(bill, paid=accepted)
    notes = []
    if part:
        notes.append(note(bill, part, credited_tax(bill, [], part)))
        booked.append(ledger.credited(bill, notes[0]))
        bill = replace(bill, credited=part)
    held = sums(*booked, ledger.voided(bill, notes))
    assert not any(held.values())


def test_what_is_written_off_is_no_longer_owed() -> None:
    """The loss stands in an account of its own."""
    bill = invoice(subtotal=1_000, from_balance=300)
    held = sums(ledger.issued(bill), ledger.balance_used(bill), ledger.written_off(bill))
    assert (held[RECEIVABLE], held[UNCOLLECTIBLE]) == (0, 700)


def test_a_fact_has_one_id() -> None:
    """The same payment booked twice has the same id, another kind another one."""
    kept = [
        ledger.kept(kind, "t", "pay", "card", Money(1, "USD")).id
        for kind in (BookingKind.TO_BALANCE, BookingKind.TO_BALANCE, BookingKind.IN_REVIEW)
    ]
    assert kept == ["to_balance/pay", "to_balance/pay", "in_review/pay"]
