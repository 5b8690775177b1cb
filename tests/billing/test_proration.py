"""Proration against a slow reference: exact slices of each second, summed as fractions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.invoices import LineKind
from billing.money import share
from billing.periods import Period, month_of
from billing.plans import CURRENCIES, SEED, UnknownCurrency
from billing.proration import debited, upgrade_lines
from billing.subscriptions import Segment, Status, Subscription

FREE, PRO, ENTERPRISE = SEED
MONTHS = st.sampled_from(
    [
        month_of(at)
        for at in (1_772_000_000_000, 1_835_000_000_000, 1_795_000_000_000, 1_798_800_000_000)
    ]
)
"""February, a leap year's February, November, and the last of a year."""


def subscription(period: Period, currency: str = "USD") -> Subscription:
    """A subscription to pro."""
    return Subscription(
        id="sub",
        tenant_id="t",
        version_id=PRO.id,
        currency=currency,
        status=Status.ACTIVE,
        started_at_ms=period.start_ms,
        period=period,
    )


def segment(at_ms: int, debited_minor: int) -> Segment:
    """A stretch of pro."""
    return Segment(
        version_id=PRO.id, starts_at_ms=at_ms, start_position=0, debited_minor=debited_minor
    )


@given(MONTHS, st.integers(1, 28), st.lists(st.integers(0, 10**7), max_size=6))
def test_slices_sum_to_the_net_within_a_cent_a_line(
    month: Period, base_days: int, moments: list[int]
) -> None:
    """However often the plan changes: what each second cost, less what was taken back."""
    it = subscription(month)
    start = month.end_ms - base_days * 86_400_000
    bounds = [start, *sorted(start + s % (base_days * 86_400) * 1000 for s in moments)]
    prices = [(PRO, ENTERPRISE)[n % 2] for n in range(len(bounds))]
    net, lines, last = 0, 0, segment(start, 0)
    exact = Fraction(0)
    for n, (at, version) in enumerate(zip(bounds, prices, strict=True)):
        made = upgrade_lines(it, last, version, at)
        net += sum(line.amount for line in made)
        lines += len(made)
        last = segment(at, debited(made))
        until = bounds[n + 1] if n + 1 < len(bounds) else month.end_ms
        seconds = (until - at) // 1000
        exact += Fraction(version.prices["USD"].base * seconds, month.seconds)
    assert abs(net - exact) <= lines


@given(MONTHS, st.integers(0, 27 * 86_400), st.integers(0, 10**7), st.sampled_from(CURRENCIES))
def test_each_line_is_rounded_once(month: Period, second: int, paid: int, currency: str) -> None:
    """Half away from zero; credit on what was debited, charge by the calendar month."""
    at = month.start_ms + second * 1000
    lines = upgrade_lines(
        subscription(month, currency), segment(month.start_ms, paid), ENTERPRISE, at
    )
    rest = (month.end_ms - at) // 1000
    amounts = {line.kind: line.amount for line in lines}
    base = ENTERPRISE.prices[currency].base
    assert amounts[LineKind.PRORATION_CHARGE] == share(base, rest, month.seconds)
    assert amounts.get(LineKind.PRORATION_CREDIT, 0) == -share(paid, rest, month.seconds)
    assert all(line.quantity == rest and line.period.end_ms == month.end_ms for line in lines)


@given(MONTHS, st.integers(0, 27 * 86_400), st.integers(0, 27 * 86_400), st.integers(1, 10**7))
def test_no_more_is_credited_than_was_debited(
    month: Period, first: int, second: int, paid: int
) -> None:
    """Neither before the stretch began nor after; all of it in its first second."""
    first, second = sorted((first, second))
    begin, at = month.start_ms + first * 1000, month.start_ms + second * 1000
    credit = upgrade_lines(subscription(month), segment(begin, paid), ENTERPRISE, at)[0]
    assert -paid <= credit.amount <= 0
    whole = upgrade_lines(subscription(month), segment(begin, paid), ENTERPRISE, begin)[0]
    assert whole.amount == -paid


def test_a_known_month() -> None:
    """Half of November: 24.995 back becomes 25.00, half of 199.99 is charged."""
    month = month_of(1_795_000_000_000)
    middle = month.start_ms + 15 * 86_400_000
    lines = upgrade_lines(subscription(month), segment(month.start_ms, 4999), ENTERPRISE, middle)
    assert [line.amount for line in lines] == [-2500, 10000]


def test_what_cannot_be_prorated() -> None:
    """A moment outside the period; a plan without a price in the currency."""
    month = month_of(1_795_000_000_000)
    for at in (month.start_ms - 1000, month.end_ms):
        with pytest.raises(ValueError):
            upgrade_lines(subscription(month), segment(month.start_ms, 1), PRO, at)
    with pytest.raises(UnknownCurrency):
        upgrade_lines(subscription(month, "EUR"), segment(month.start_ms, 1), PRO, month.start_ms)
