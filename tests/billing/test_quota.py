"""The rules of quotas: what is granted, when somebody is told, what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.periods import DAY_MS, month_of
from billing.quota import (
    MIN_OUTPUT,
    MONTH,
    Limits,
    Room,
    Short,
    Standing,
    forecast,
    output_within,
    pace,
    possible,
    reached_cap,
    refusal,
    suspended,
    threshold,
)
from core.metering import CallRequest, RefusalCode, Usage

PERIOD = month_of(1_795_000_000_000)
CALL = CallRequest(
    id="t.1.1",
    tenant_id="ten_1",
    conversation_id="c",
    turn_id="t",
    user_id="u",
    engine="e",
    model="m",
    estimated_input=1_000,
    max_output=4_000,
)


def standing(
    used: int, soft: int, *, told: int = 0, hard: int | None = None, cap: int | None = None
) -> Standing:
    """A month with so many tokens used."""
    return Standing(
        tenant_id="ten_1",
        period=PERIOD,
        used=used,
        reserved=0,
        own_used=0,
        limits=Limits(soft=soft, hard=hard, cap=cap),
        told=told,
    )


@given(
    st.integers(0, 3_000),
    st.integers(1, 3_000),
    st.lists(st.tuples(st.integers(0, 9_000), st.integers(0, 9_000)), max_size=4),
)
def test_a_grant_fits_every_room(asked: int, output: int, sizes: list[tuple[int, int]]) -> None:
    """It is never more than was asked, and refused only where it would be cut too short."""
    rooms = [Room(scope=MONTH, most=most, taken=taken) for most, taken in sizes]
    granted = output_within(asked, output, rooms)
    least = min((room.left for room in rooms), default=asked + output)
    if isinstance(granted, Room):
        assert granted.left == least
        assert asked + min(output, MIN_OUTPUT) > least
    else:
        assert granted == output or MIN_OUTPUT <= granted < output
        assert asked + granted <= least


def test_no_limit_grants_everything() -> None:
    """Where there is neither a hard limit nor a cap."""
    assert output_within(10, 20, ()) == 20
    assert Limits(soft=5, hard=None).most_with(overage=True) is None
    assert Limits(soft=5, hard=None).most_with(overage=False) == 5


@pytest.mark.parametrize(
    ("used", "told", "due"),
    [(799, 0, None), (800, 0, 80), (999, 80, None), (1_000, 80, 100), (5_000, 0, 100)],
)
def test_a_threshold_is_due_once(used: int, told: int, due: int | None) -> None:
    """The highest that was reached and not told."""
    assert threshold(standing(used, 1_000, told=told)) == due


def test_nothing_is_due_where_nothing_is_included() -> None:
    """As where billing is off."""
    assert threshold(standing(5, 0)) is None


def test_the_cap_is_reached_by_one_call() -> None:
    """By the one that takes the month there, where there is no hard limit."""
    assert reached_cap(standing(100, 10, cap=100), 1)
    assert not reached_cap(standing(101, 10, cap=100), 1)
    assert not reached_cap(standing(100, 10, hard=50, cap=100), 1)
    assert not reached_cap(standing(100, 10), 1)


@pytest.mark.parametrize(
    ("usage", "believed"),
    [
        (Usage(), True),
        (Usage(cache_read_tokens=10**9), True),
        (Usage(input_tokens=1, cache_read_tokens=10**9), False),
        (Usage(output_tokens=-1, input_tokens=5), False),
    ],
)
def test_what_nobody_can_have_used_is_not_believed(usage: Usage, believed: bool) -> None:
    """Negative buckets, and more than a model can read."""
    assert possible(usage) is believed


@pytest.mark.parametrize(
    ("asked", "soft", "said"),
    [
        (28_999, 10_000_000, ""),
        (29_000, 10_000_000, "about 30k tokens, < 1 % of your month"),
        (39_000, 1_000_000, "about 40k tokens, 4 % of your month"),
        (2_999, 100_000, ""),
        (3_000, 100_000, "about 4k tokens, 4 % of your month"),
        (29_000, 0, "about 30k tokens."),
        (28_999, 0, ""),
    ],
)
def test_an_expensive_turn_says_so(asked: int, soft: int, said: str) -> None:
    """From 30,000 tokens or 2 % of what is included on."""
    note = forecast(replace(CALL, estimated_input=asked), soft)
    assert (said in note) if said else (note == "")


@pytest.mark.parametrize("call_id", ["t.1.2", "t.2.1", "t.11.1", "t.1.11"])
def test_only_the_first_call_of_a_turn_says_so(call_id: str) -> None:
    """What follows was begun already."""
    assert forecast(replace(CALL, id=call_id, estimated_input=10**6), 1) == ""


@given(st.integers(0, 10**9), st.integers(-40, 40), st.integers(0, 40))
def test_a_forecast_is_never_below_what_was_used(used: int, since: int, at: int) -> None:
    """Whatever the clock says; at the end of the month it is what was used."""
    start = PERIOD.start_ms
    assert pace(used, start + since * DAY_MS, PERIOD, start + at * DAY_MS) >= used
    assert pace(used, start, PERIOD, PERIOD.end_ms) == used


def short(scope: str, *, hard: int | None = None, cap: int | None = None) -> Short:
    """A call that does not fit into the pro plan."""
    room = Room(scope=scope, most=1_500, taken=1_400)
    return Short(room=room, standing=standing(1_400, 1_000, hard=hard, cap=cap), plan="pro")


def test_a_refusal_says_what_is_used_and_what_helps() -> None:
    """Plan, usage, limit, the day it begins anew, the command and who may give it."""
    answer = refusal(CALL, short(MONTH, hard=1_500), overage=True)
    said = ("1,400 of the 1,500", "Pro plan", "2026-12-01", "`/upgrade`", "only admins")
    for part in said:
        assert part in answer.sentence
    assert (answer.code, answer.retry_at_ms) == (RefusalCode.QUOTA, PERIOD.end_ms)


def test_a_refusal_for_an_overdue_invoice_says_so() -> None:
    """Where the limit is only what the plan includes; on the free plan it always is."""
    answer = refusal(CALL, short(MONTH, hard=1_500), overage=False)
    assert "overdue" in answer.sentence
    assert "overdue" not in refusal(CALL, short(MONTH, hard=1_000), overage=False).sentence


def test_a_refusal_at_the_safety_cap_names_the_operator() -> None:
    """No upgrade may help."""
    assert "operator's safety limit" in refusal(CALL, short(MONTH, cap=9), overage=True).sentence


@pytest.mark.parametrize(
    ("scope", "said", "retry"),
    [
        ("user", "for you", PERIOD.end_ms),
        ("conversation", "for this conversation", PERIOD.end_ms),
        ("order", "for this standing order", PERIOD.end_ms),
        ("turn", "One message", None),
    ],
)
def test_a_budget_s_refusal_names_it(scope: str, said: str, retry: int | None) -> None:
    """With when it begins anew, which a turn's never does."""
    answer = refusal(CALL, short(scope, hard=1), overage=True)
    assert said in answer.sentence
    assert "1,400" in answer.sentence
    assert (answer.code, answer.retry_at_ms) == (RefusalCode.BUDGET, retry)


def test_a_suspended_team_is_told_how_to_go_on() -> None:
    """By paying."""
    assert suspended().code is RefusalCode.SERVICE
    assert "`/invoices`" in suspended().sentence
