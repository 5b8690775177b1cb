"""The state machine of subscriptions, and what holds before the run comes by."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.changes import Direction, direction
from billing.periods import Period, month_of
from billing.plans import SEED
from billing.subscriptions import (
    NEXT,
    Happening,
    ImpossibleChange,
    Segment,
    Status,
    Subscription,
    after,
    in_month,
    version_at,
)
from core.refusals import Rejected

MONTH = month_of(1_795_000_000_000)
LATER = month_of(MONTH.end_ms)
FREE, PRO, ENTERPRISE = SEED
IT = Subscription(
    id="sub",
    tenant_id="t",
    version_id="pro-1",
    currency="USD",
    status=Status.ACTIVE,
    started_at_ms=MONTH.start_ms,
    period=MONTH,
)
FIRST = Segment(version_id="pro-1", starts_at_ms=MONTH.start_ms, start_position=0)


@given(st.sampled_from(list(Status)), st.lists(st.sampled_from(list(Happening)), max_size=12))
def test_nothing_leads_out_of_an_end(status: Status, happenings: list[Happening]) -> None:
    """Whatever happens, in whatever order; an active one is never on trial again."""
    was_active = status is not Status.TRIALING
    for happening in happenings:
        try:
            following = after(status, happening)
        except ImpossibleChange:
            continue
        assert not status.ended
        assert not (was_active and following is Status.TRIALING)
        status, was_active = following, True


def test_every_living_state_has_a_way_out() -> None:
    """And those that ended have none."""
    assert {status for status, _ in NEXT} == {it for it in Status if not it.ended}


@pytest.mark.parametrize(
    ("changes", "before", "at_end"),
    [
        ({}, "pro-1", "pro-1"),
        ({"next_version_id": "enterprise-1"}, "pro-1", "enterprise-1"),
        ({"cancel_at_ms": MONTH.end_ms}, "pro-1", "free-1"),
        ({"cancel_at_ms": MONTH.end_ms, "next_version_id": "pro-2"}, "pro-1", "free-1"),
        ({"status": Status.TRIALING, "trial_end_ms": MONTH.end_ms}, "pro-1", "free-1"),
    ],
)
def test_features_change_on_the_second(
    changes: dict[str, object], before: str, at_end: str
) -> None:
    """Without waiting for the run."""
    it = replace(IT, **changes)  # type: ignore[arg-type]  # the parametrised fields
    assert version_at(it, MONTH.end_ms - 1, "free-1") == before
    assert version_at(it, MONTH.end_ms, "free-1") == at_end


def test_a_month_before_the_run_has_what_it_will_have() -> None:
    """The noted plan, the free one after an end, the same tokens in a trial."""
    noted = replace(IT, next_version_id="enterprise-1")
    ended = replace(IT, cancel_at_ms=MONTH.end_ms)
    trial = replace(IT, status=Status.TRIALING, trial_end_ms=LATER.end_ms)
    free = replace(FIRST, version_id="free-1")
    cases = [
        (IT, FIRST, "pro-1"),
        (noted, FIRST, "enterprise-1"),
        (ended, FIRST, "free-1"),
        (trial, free, "free-1"),
    ]
    for it, segment, expected in cases:
        (found,) = in_month(it, (segment,), LATER, "free-1")
        assert (found.version_id, found.starts_at_ms) == (expected, LATER.start_ms)


def test_a_segment_at_the_months_start_hides_the_one_before() -> None:
    """Otherwise that one is cut to the month's start, where it begins to count anew."""
    old = replace(FIRST, starts_at_ms=MONTH.start_ms - 5_000, start_position=7)
    new = Segment(version_id="enterprise-1", starts_at_ms=MONTH.start_ms, start_position=0)
    assert in_month(IT, (old, new), MONTH, "free-1") == (new,)
    later = replace(new, starts_at_ms=MONTH.start_ms + 1_000, start_position=3)
    assert in_month(IT, (old, later), MONTH, "free-1") == (FIRST, later)
    assert in_month(IT, (), MONTH, "free-1") == ()


def test_directions() -> None:
    """Up is at once, down at the end; in a trial every paid plan is bought."""
    at = MONTH.start_ms
    assert direction(IT, PRO, ENTERPRISE, at) is Direction.UPGRADE
    assert direction(IT, PRO, FREE, at) is Direction.DOWNGRADE
    trial = replace(IT, status=Status.TRIALING, trial_end_ms=MONTH.end_ms)
    assert direction(trial, ENTERPRISE, PRO, at) is Direction.UPGRADE
    assert direction(trial, PRO, PRO, at) is Direction.UPGRADE
    refused = {
        "same_plan": (IT, PRO, at),
        "unpaid_invoice": (replace(IT, status=Status.PAST_DUE), ENTERPRISE, at),
        "month_closing": (IT, ENTERPRISE, MONTH.end_ms),
        "no_price": (replace(IT, currency="EUR"), ENTERPRISE, at),
        "trial_ends_by_itself": (trial, FREE, at),
    }
    for code, (it, wanted, at_ms) in refused.items():
        answer = direction(it, PRO, wanted, at_ms)
        assert isinstance(answer, Rejected)
        assert answer.code == code


def test_a_period_ends_before_its_end() -> None:
    """Half-open: the run's hour belongs to the next one."""
    assert Period(0, 1000).seconds == 1
    assert 1000 not in Period(0, 1000)
