"""Plans: what is sold when, and what the seeded ones promise."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from billing.plans import CURRENCIES, SEED, PlanName, PlanVersion, sold

PRO = SEED[1]


def test_the_seeded_plans_have_the_decided_figures() -> None:
    """Tokens, limits and both prices, which are set beside each other and not converted."""
    figures = [
        (
            it.id,
            it.included_tokens,
            it.hard_percent,
            it.cap_percent,
            (it.max_servers, it.max_users, it.max_standing_orders),
            [(it.prices[c].base, it.prices[c].overage) for c in CURRENCIES],
        )
        for it in SEED
    ]
    assert figures == [
        ("free-1", 100_000, 100, None, (3, 3, 2), [(0, 0), (0, 0)]),
        ("pro-1", 1_000_000, 150, None, (50, 25, 50), [(4999, 800), (35800, 5700)]),
        (
            "enterprise-1",
            10_000_000,
            None,
            1000,
            (1000, 500, 1000),
            [(19999, 500), (142800, 3600)],
        ),
    ]


def test_plans_are_ranked() -> None:
    """From the smallest to the largest."""
    assert [name.rank for name in PlanName] == [0, 1, 2]


def test_a_version_is_sold_from_its_day_on() -> None:
    """Until then the older one is; every order of the rows says the same."""
    later = replace(PRO, id="pro-2", version=2, available_from_ms=1_000)
    for versions in ((*SEED, later), (later, *reversed(SEED))):
        assert [it.id for it in sold(versions, 999)] == ["free-1", "pro-1", "enterprise-1"]
        assert [it.id for it in sold(versions, 1_000)] == ["free-1", "pro-2", "enterprise-1"]


@given(st.lists(st.tuples(st.sampled_from(list(PlanName)), st.integers(0, 9)), max_size=12))
def test_of_each_plan_the_newest_is_sold(made: list[tuple[PlanName, int]]) -> None:
    """At most one of each, smallest first, none that is not out yet."""
    versions = [
        PlanVersion(
            id=f"{plan}-{n}",
            plan=plan,
            version=n,
            included_tokens=1,
            hard_percent=100,
            cap_percent=None,
            max_servers=1,
            max_users=1,
            max_standing_orders=1,
            prices={},
            available_from_ms=at,
        )
        for n, (plan, at) in enumerate(made)
    ]
    found = sold(versions, 5)
    assert [it.plan.rank for it in found] == sorted({it.plan.rank for it in found})
    for version in found:
        rivals = [it for it in versions if it.plan is version.plan and it.available_from_ms <= 5]
        assert version in rivals
        assert all(
            (it.available_from_ms, it.version) <= (version.available_from_ms, version.version)
            for it in rivals
        )
