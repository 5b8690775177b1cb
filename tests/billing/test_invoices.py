"""How invoices are added up, bounded, credited, and what the balance takes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.invoices import (
    INVOICE_NEXT,
    MAX_LINES,
    CreditNote,
    Draft,
    InvoiceKind,
    InvoiceStatus,
    Line,
    LineKind,
    UnsafeInvoice,
    balance_part,
    checked,
    credited_tax,
    due_at,
    most_in_a_month,
)
from billing.periods import DAY_MS
from billing.plans import SEED
from tests.billing.invoice_kit import MONTH, invoice, note

AMOUNTS = st.integers(-(10**9), 10**9)


def line(amount: int) -> Line:
    """A line over that amount."""
    return Line(
        kind=LineKind.BASE,
        version_id="pro-1",
        period=MONTH,
        quantity=1,
        unit_minor=amount,
        amount=amount,
    )


def draft(*amounts: int, tax_rate: int = 0) -> Draft:
    """A draft with lines over those amounts."""
    return Draft(
        key="k",
        tenant_id="t",
        subscription_id="s",
        kind=InvoiceKind.CYCLE,
        currency="USD",
        period=MONTH,
        lines=tuple(line(amount) for amount in amounts),
        tax_rate=tax_rate,
    )


def test_tax_is_rounded_on_each_line_away_from_zero() -> None:
    """Half a cent goes away from zero on both sides, by line and not on the sum."""
    made = draft(50, 50, -50, tax_rate=100)
    assert made.taxes == (1, 1, -1)
    assert (made.subtotal, made.total) == (50, 51)


@given(st.lists(AMOUNTS, max_size=8), st.integers(0, 3_000))
def test_lines_and_taxes_sum_to_the_total(amounts: list[int], rate: int) -> None:
    """Whatever the lines: the total is their amounts and their taxes."""
    made = draft(*amounts, tax_rate=rate)
    assert made.total == sum(amounts) + sum(made.taxes)
    assert abs(10_000 * sum(made.taxes) - rate * sum(amounts)) <= 5_000 * len(amounts)


@given(AMOUNTS, AMOUNTS)
def test_the_balance_takes_no_more_than_there_is(total: int, credit: int) -> None:
    """Beyond what is too small to collect, it pays from its credit and never more than is due."""
    part = balance_part(total, credit, "USD")
    due = total - part
    assert due == 0 or due >= 50
    assert part <= max(total, 0) or total < 0
    if total > 0:
        assert part <= max(credit, 0) + 49
        assert due == 0 or part == min(credit, total)


@pytest.mark.parametrize(
    ("total", "credit", "part"),
    [
        (5_000, 0, 0),
        (5_000, 3_000, 3_000),
        (5_000, 9_000, 5_000),
        (5_000, 4_951, 5_000),
        (5_000, 4_950, 4_950),
        (49, 0, 49),
        (50, 0, 0),
        (30, -30, -30),
        (5_000, -30, -30),
        (0, -30, 0),
        (-200, 0, -200),
    ],
)
def test_small_amounts_are_carried_over(total: int, credit: int, part: int) -> None:
    """Less than 50 cents become a debt of the balance; a debt is asked for with the next one."""
    assert balance_part(total, credit, "USD") == part


def test_currencies_without_a_minimum_are_collected_whole() -> None:
    """Nothing is carried over where no minimum is known."""
    assert balance_part(3, 0, "JPY") == 0


def test_an_upgrade_is_to_be_paid_sooner() -> None:
    """A week for the month's invoice, 23 hours for an upgrade."""
    assert due_at(InvoiceKind.CYCLE, 0) == due_at(InvoiceKind.FINAL, 0) == 7 * DAY_MS
    assert due_at(InvoiceKind.UPGRADE, 0) == 23 * 3_600_000


def test_the_most_that_a_plan_leads_to() -> None:
    """Its base and every token up to its hard limit, or the cap where there is none."""
    free, pro, enterprise = SEED
    assert most_in_a_month([free], "USD") == 0
    assert most_in_a_month([free, pro], "USD") == 4_999 + 400
    assert most_in_a_month(SEED, "USD") == 19_999 + 90 * 500
    assert most_in_a_month([enterprise], "CNY") == 142_800 + 90 * 3_600


@pytest.mark.parametrize("made", [draft(*[1] * (MAX_LINES + 1)), draft(1_001), draft(-1_001)])
def test_a_bill_beyond_its_bounds_is_refused(made: Draft) -> None:
    """Too many lines, or too much of either sign."""
    with pytest.raises(UnsafeInvoice):
        checked(made, most_minor=1_000)


def test_a_bill_within_its_bounds_passes() -> None:
    """The bounds themselves are legal."""
    made = draft(*[50] * MAX_LINES)
    assert checked(made, most_minor=1_000) is made


@given(
    subtotal=st.integers(1, 10**8),
    rate=st.integers(0, 3_000),
    cuts=st.lists(st.integers(1, 10**8), max_size=6),
)
def test_credit_notes_take_back_exactly_the_invoice(
    subtotal: int, rate: int, cuts: list[int]
) -> None:
    """However an invoice is credited in parts: taxes are in proportion and sum to its tax."""
    tax = subtotal * rate // 10_000
    whole = invoice(subtotal=subtotal, tax=tax)
    notes: list[CreditNote] = []
    left = whole.total
    for cut in [*cuts, 10**10]:
        part = min(cut, left)
        if part:
            notes.append(note(whole, part, credited_tax(whole, notes, part)))
            left -= part
    assert sum(each.total for each in notes) == whole.total
    assert sum(each.tax for each in notes) == tax
    assert all(abs(each.tax * whole.total - each.total * tax) <= whole.total for each in notes[:-1])


def test_more_than_the_invoice_is_not_credited() -> None:
    """Neither at once nor together, and never nothing."""
    whole = invoice(subtotal=1_000, tax=100)
    notes = [note(whole, 600, credited_tax(whole, [], 600))]
    for total in (501, 0, -1):
        with pytest.raises(ValueError, match="at most 500"):
            credited_tax(whole, notes, total)


def test_nothing_leads_out_of_paid_and_void() -> None:
    """What was written off may still be paid; paid and void are final."""
    final = {status for status, after in INVOICE_NEXT.items() if not after}
    assert final == {InvoiceStatus.PAID, InvoiceStatus.VOID}
    assert INVOICE_NEXT[InvoiceStatus.UNCOLLECTIBLE] == {InvoiceStatus.PAID}


@pytest.mark.parametrize("status", [s for s in InvoiceStatus if s is not InvoiceStatus.OPEN])
def test_only_open_invoices_are_due(status: InvoiceStatus) -> None:
    """A closed one asks for nothing, whatever is left of it."""
    assert invoice(subtotal=10, status=status).due == 0
    assert invoice(subtotal=10).due == 10


def test_no_plan_is_given_on_credit() -> None:
    """An upgrade of a few cents is to be paid, where another invoice would wait for the next."""
    assert balance_part(42, 0, "USD") == 42
    assert balance_part(42, 0, "USD", lend=False) == 0
    assert balance_part(42, 40, "USD", lend=False) == 40
