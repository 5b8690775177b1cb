"""Allowances and overage against a reference that goes second by second and token by token."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.invoices import LineKind
from billing.money import rounded
from billing.periods import Period, month_of
from billing.plans import SEED, PlanName, PlanVersion, Price
from billing.quota import Limits
from billing.rating import allowance, overage_lines
from billing.subscriptions import Segment

VERSIONS = {version.id: version for version in SEED}
MONTH = month_of(1_795_000_000_000)
SHORT = Period(0, 60_000)
"""A month of a minute, so that the reference may count."""


def tiny(
    version_id: str, plan: PlanName, included: int, hard: int | None, overage: int
) -> PlanVersion:
    """A plan whose tokens can be counted one by one."""
    return PlanVersion(
        id=version_id,
        plan=plan,
        version=1,
        included_tokens=included,
        hard_percent=hard,
        cap_percent=None if hard else 1000,
        max_servers=1,
        max_users=1,
        max_standing_orders=1,
        prices={"USD": Price(base=0, overage=overage)},
    )


TINY = {
    "free": tiny("free", PlanName.FREE, 10, 100, 0),
    "pro": tiny("pro", PlanName.PRO, 100, 150, 80_000_000),
    "pro2": tiny("pro2", PlanName.PRO, 60, 150, 90_000_000),
    "big": tiny("big", PlanName.ENTERPRISE, 300, None, 50_000_000),
}


@st.composite
def histories(draw: st.DrawFn) -> tuple[Segment, ...]:
    """Plans over a month, each beginning at or after the one before, in time and in tokens."""
    count = draw(st.integers(1, 5))
    starts = sorted(draw(st.lists(st.integers(0, 59), min_size=count, max_size=count)))
    used = sorted(draw(st.lists(st.integers(0, 200), min_size=count, max_size=count)))
    names = draw(st.lists(st.sampled_from(list(TINY)), min_size=count, max_size=count))
    return tuple(
        Segment(version_id=name, starts_at_ms=at * 1000, start_position=position)
        for name, at, position in zip(names, starts, [0, *used[1:]], strict=True)
    )


def plan_of_second(segments: tuple[Segment, ...], second: int) -> str | None:
    """The last one that had begun; the free plan also before it began."""
    begun = [it.version_id for it in segments if it.starts_at_ms <= second * 1000]
    if begun:
        return begun[-1]
    return "free" if segments[0].version_id == "free" else None


def plan_of_token(segments: tuple[Segment, ...], token: int) -> str:
    """The last one that had begun when it was used; tokens are counted from 0."""
    begun = [it.version_id for n, it in enumerate(segments) if not n or it.start_position <= token]
    return begun[-1]


@given(histories())
def test_the_allowance_is_weighted_by_seconds(segments: tuple[Segment, ...]) -> None:
    """At most one token a stretch is lost to rounding, none is given; hard is never below soft."""
    seconds = Counter(plan_of_second(segments, s) for s in range(60))
    exact = sum(Fraction(TINY[p].included_tokens * n, 60) for p, n in seconds.items() if p)
    limits = allowance(segments, SHORT, TINY)
    assert 0 <= exact - limits.soft < len(segments)
    assert (limits.hard is None) is (segments[-1].version_id == "big")
    most = limits.most
    assert most is not None
    assert most >= limits.soft


@given(histories(), st.integers(0, 300), st.integers(0, 300))
def test_overage_is_the_last_tokens_at_their_own_price(
    segments: tuple[Segment, ...], billed: int, billable: int
) -> None:
    """Each token over the allowance once, under the plan it was used with; free ones cost none."""
    first = max(allowance(segments, SHORT, TINY).soft, billed)
    tokens = Counter(plan_of_token(segments, token) for token in range(first, billable))
    tokens.pop("free", None)
    lines = overage_lines(segments, SHORT, billed, billable, TINY, currency="USD")
    found: Counter[str] = Counter()
    for line in lines:
        found[line.version_id] += line.quantity
        assert line.amount == rounded(Fraction(line.quantity * line.unit_minor, 1_000_000))
        stands_for = range(line.from_position, line.from_position + line.quantity)
        assert {plan_of_token(segments, token) for token in stands_for} == {line.version_id}
    assert found == tokens


@given(histories(), st.lists(st.integers(0, 300), max_size=6))
def test_billing_in_parts_bills_each_token_once(
    segments: tuple[Segment, ...], totals: list[int]
) -> None:
    """Late usage goes on where the last invoice stopped."""
    billed, found = 0, Counter[int]()
    for total in sorted(totals):
        for line in overage_lines(
            segments, SHORT, billed, total, TINY, currency="USD", kind=LineKind.LATE_USAGE
        ):
            assert line.kind is LineKind.LATE_USAGE
            found.update(range(line.from_position, line.from_position + line.quantity))
        billed = max(billed, total)
    assert set(found.values()) <= {1}
    at_once = overage_lines(segments, SHORT, 0, billed, TINY, currency="USD")
    assert sum(found.values()) == sum(line.quantity for line in at_once)


@given(histories(), st.integers(0, 59), st.integers(0, 300))
def test_a_late_upgrade_forgives_nothing_that_it_does_not_include(
    segments: tuple[Segment, ...], second: int, used: int
) -> None:
    """It saves at most the tokens that its own seconds add to the allowance."""
    last = segments[-1]
    at = max(second * 1000, last.starts_at_ms)
    upgrade = Segment(
        version_id="big", starts_at_ms=at, start_position=max(used, last.start_position)
    )
    before = overage_lines(segments, SHORT, 0, used, TINY, currency="USD")
    after = overage_lines((*segments, upgrade), SHORT, 0, used, TINY, currency="USD")
    added = (
        allowance((*segments, upgrade), SHORT, TINY).soft - allowance(segments, SHORT, TINY).soft
    )
    saved = sum(line.quantity for line in before) - sum(line.quantity for line in after)
    assert saved <= max(0, added)
    for line in after:
        tokens = range(line.from_position, line.from_position + line.quantity)
        assert {plan_of_token(segments, token) for token in tokens} == {line.version_id}


@given(st.integers(0, 29 * 86_400), st.integers(0, 29 * 86_400))
def test_buying_more_never_gives_a_free_team_less(start: int, bought: int) -> None:
    """Whenever it came and whenever it bought: the free tokens are its own already."""
    start, bought = sorted((start, bought))
    segments = (
        Segment(version_id="free-1", starts_at_ms=MONTH.start_ms + start * 1000, start_position=0),
        Segment(version_id="pro-1", starts_at_ms=MONTH.start_ms + bought * 1000, start_position=9),
    )
    free = allowance(segments[:1], MONTH, VERSIONS)
    paid = allowance(segments, MONTH, VERSIONS)
    assert free == Limits(soft=100_000, hard=100_000)
    assert paid.soft >= free.soft - 1  # two stretches are rounded down
    assert paid.hard is not None
    assert paid.hard >= 100_000


def test_the_last_second_of_an_upgrade_does_not_pay_a_months_overage() -> None:
    """Pro burnt to 1.4 million, enterprise a second before the end: 400,000 at pro's price."""
    segments = (
        Segment(version_id="pro-1", starts_at_ms=MONTH.start_ms, start_position=0),
        Segment(
            version_id="enterprise-1",
            starts_at_ms=MONTH.end_ms - 1000,
            start_position=1_400_000,
        ),
    )
    (line,) = overage_lines(segments, MONTH, 0, 1_400_000, VERSIONS, currency="USD")
    assert line.version_id == "pro-1"
    assert 399_990 <= line.quantity <= 400_000
    assert line.amount == 320


def test_a_paid_first_month_is_prorated_and_a_free_one_is_not() -> None:
    """Half a month of pro is half its tokens and half its limit."""
    middle = MONTH.start_ms + 15 * 86_400_000
    pro = Segment(version_id="pro-1", starts_at_ms=middle, start_position=0)
    assert allowance((pro,), MONTH, VERSIONS) == Limits(soft=500_000, hard=750_000)
    free = Segment(version_id="free-1", starts_at_ms=middle, start_position=0)
    assert allowance((free,), MONTH, VERSIONS) == Limits(soft=100_000, hard=100_000)


def test_the_cap_holds_where_there_is_no_limit() -> None:
    """And once a smaller plan follows, what the larger one included counts, not its cap."""
    big = Segment(version_id="enterprise-1", starts_at_ms=MONTH.start_ms, start_position=0)
    assert allowance((big,), MONTH, VERSIONS) == Limits(soft=10_000_000, hard=None, cap=100_000_000)
    middle = MONTH.start_ms + 15 * 86_400_000
    free = Segment(version_id="free-1", starts_at_ms=middle, start_position=0)
    assert allowance((big, free), MONTH, VERSIONS) == Limits(soft=5_050_000, hard=5_050_000)


def test_a_month_without_a_plan_has_no_limits() -> None:
    """Whoever asks has to know the plan."""
    with pytest.raises(ValueError):
        allowance((), MONTH, VERSIONS)
