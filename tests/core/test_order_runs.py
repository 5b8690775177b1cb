"""Which due time becomes a run, what it asks, what its end means."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.order_runs import (
    GRACE_MS,
    MOST_LISTED,
    QUIET,
    Firing,
    firing,
    is_quiet,
    plain,
    problem_of,
    run_text,
)
from core.schedule import BadSchedule, next_times
from core.standing_orders import OrderProblem
from core.turns import Outcome
from tests.core.orders_kit import NOW_MS, new_order, stored

HOUR = 3_600_000
DAY = 24 * HOUR


def fired(cron: str, misfire: str, *, due: int, now: int) -> Firing:
    """What is decided about an order in UTC."""
    order = stored(new_order(cron=cron, timezone="UTC", misfire=misfire))
    return firing(order, due, now)


def test_in_time_it_runs() -> None:
    """Up to ten minutes late counts as in time, whatever the policy."""
    due = next_times("0 8 * * *", "UTC", NOW_MS, 1)[0]
    for misfire in ("skip", "once"):
        for late in (0, GRACE_MS):
            decided = fired("0 8 * * *", misfire, due=due, now=due + late)
            assert decided == Firing(run_at_ms=due, missed=(), next_at_ms=due + DAY)


def test_late_it_is_missed_or_made_up_for() -> None:
    """By the order's policy; the next time is the next one from now."""
    due = next_times("0 8 * * *", "UTC", NOW_MS, 1)[0]
    now = due + 2 * DAY + HOUR
    days = (due, due + DAY, due + 2 * DAY)
    skip = fired("0 8 * * *", "skip", due=due, now=now)
    assert skip == Firing(
        run_at_ms=None, missed=tuple((day, "late") for day in days), next_at_ms=due + 3 * DAY
    )
    once = fired("0 8 * * *", "once", due=due, now=now)
    assert (once.run_at_ms, once.missed) == (days[2], ((days[0], "late"), (days[1], "late")))


@settings(max_examples=60, deadline=None)
@given(
    cron=st.sampled_from(["*/5 * * * *", "0 * * * *", "0 8 * * *", "0 8 * * MON", "0 0 1 * *"]),
    misfire=st.sampled_from(["skip", "once"]),
    behind=st.integers(min_value=0, max_value=400 * DAY),
)
def test_time_away_makes_one_run_at_most(cron: str, misfire: str, behind: int) -> None:
    """However long: a bounded list, nothing twice, never again what lies behind (W21)."""
    due = next_times(cron, "UTC", NOW_MS, 1)[0]
    now = due + behind
    decided = fired(cron, misfire, due=due, now=now)
    listed = [at for at, _ in decided.missed]
    assert len(listed) <= MOST_LISTED + 2
    assert len({*listed, decided.run_at_ms}) == len(listed) + 1
    assert all(due <= at <= now for at in (*listed, decided.run_at_ms or due))
    assert decided.next_at_ms is not None
    assert decided.next_at_ms > now
    if misfire == "once" or behind <= GRACE_MS:
        assert decided.run_at_ms is not None
    elif decided.run_at_ms is not None:
        assert now - decided.run_at_ms <= GRACE_MS


def test_a_schedule_that_cannot_be_read_any_more() -> None:
    """It is a refusal, which pauses the order."""
    order = stored(new_order(cron="0 0 29 2 *", timezone="UTC"))
    order = replace(order, schedule=replace(order.schedule, cron="0 0 30 2 *"))
    with pytest.raises(BadSchedule, match="cannot be read"):
        firing(order, NOW_MS, NOW_MS)


def test_the_condition_is_asked_with_the_prompt() -> None:
    """And taken off again for whoever matches phrases; a prompt without one is as it was."""
    asked = run_text("How full are the disks?", "a disk is above 80 %")
    assert "a disk is above 80 %" in asked
    assert QUIET in asked
    assert plain(asked) == "How full are the disks?"
    assert run_text("Disks?", "") == plain("Disks?") == "Disks?"


@pytest.mark.parametrize(
    ("reply", "quiet"),
    [
        (QUIET, True),
        ("nothing to report.", True),
        ("**NOTHING TO REPORT**", True),
        ("NOTHING TO REPORT\n\nACTION NEEDED: 99 % full", False),
        ("Disk / is at 91 %.\nNOTHING TO REPORT", False),
        ("There is NOTHING TO REPORT", False),
        ("", False),
    ],
)
def test_a_model_says_itself_that_nothing_is_noteworthy(reply: str, *, quiet: bool) -> None:
    """It alone, and only where a condition was given: whatever more it says is delivered."""
    assert is_quiet(reply, asked=run_text("Disks?", "one is above 80 %")) is quiet
    assert is_quiet(reply, asked="Disks?") is False


@pytest.mark.parametrize(
    "trouble",
    [
        "web-2 did not answer",
        "web-2 (192.0.2.2:22) cannot be reached: EHOSTUNREACH.",
        "1 of 2 gave no answer: web-2",
        "web-2 refused the connection: nothing listens at 192.0.2.2:22.",
        "THE HOST KEY OF web-2 HAS CHANGED.",
        "Nobody has confirmed the host key of web-2 yet.",
        "There is no private key for web-2.",
        "web-2 shows no host key.",
        "web-2 timed out",
        "web-2: permission denied",
        "The connection to web-2 was lost.",
        "Something failed inside IT0",
        "the state of web-2 is unknown",
        "? web-2: / is 40 % full",
        "⚠ web-2: / is 40 % full",
        "‼ web-2: / is 40 % full",
        "web-2: 1000 % CPU",
        "web-2: 95,5 %",
        "web-2: 5 % free",
    ],
)
def test_a_server_without_an_answer_is_never_kept_quiet(trouble: str) -> None:
    """The condition may hold there: nobody knows. Nor is a bad verdict, nor another measure."""
    asked = run_text("Disks?", "one is above 80 %")
    seen = "web-1: / is 40 % full."
    assert is_quiet(seen, asked=asked, has_model=False) is True
    assert is_quiet(f"{seen}\n{trouble}", asked=asked, has_model=False) is False


@pytest.mark.parametrize("has_model", [True, False])
def test_a_failed_step_is_never_kept_quiet(*, has_model: bool) -> None:
    """Whatever the answer says: it does not rest on all that was to be looked at."""
    asked = run_text("Disks?", "one is above 80 %")
    reply = QUIET if has_model else "web-1: / is 40 % full."
    assert is_quiet(reply, asked=asked, has_model=has_model) is True
    assert is_quiet(reply, asked=asked, has_model=has_model, failed=True) is False


@pytest.mark.parametrize(
    "condition",
    [
        "disk is above 90 % or memory is above 80 %",
        "disk is above 90 % or a service is down",
        "disk is above 90 %, or nginx is stopped",
        "disk is above 90 % and battery is below 20 %",
        "disk is not above 90 %",
        "no disk is above 90 %",
        "disk is no more than 90 %",
        "磁盘超过 90 % 或服务停止",
        "disk is between 85 % and above 90 %",
        "disk is at least 85 %",
        "disk >= 85 %",
    ],
)
def test_a_condition_that_is_not_one_comparison_is_told(condition: str) -> None:
    """Without a model nobody understands the rest of it; a bound of its own belongs to it."""
    asked = run_text("Disks?", condition)
    assert is_quiet("web-1: / is 85 % full.", asked=asked, has_model=False) is False


@pytest.mark.parametrize(
    ("condition", "reply", "quiet"),
    [
        ("disk is above 80 %", "Disk: / 40 % used, /var 80 % used.", True),
        ("disk is above 80 %", "Disk: / 40 % used, /var 81 % used.", False),
        ("disk > 80%", "/ 12.5 %", True),
        ("disk / is at least 80 %", "/ 79 %", True),
        ("disk <= 80 %", "/ 81 %", True),
        ("disk <= 80 %", "/ 80 %", False),
        ("磁盘超过 80 %", "/ 81 %", False),
        ("the battery is below 20 percent", "Battery: 35 %", True),
        ("the battery is below 20 percent", "Battery: 19 %", False),
        ("disk is above 80 %", "The server cannot be reached.", False),
        ("anything looks odd", "/ 12 %", False),
        ("", "/ 12 %", False),
    ],
)
def test_without_a_model_a_simple_comparison_decides(
    condition: str, reply: str, *, quiet: bool
) -> None:
    """Percentages against the bound; what cannot be compared is delivered."""
    asked = run_text("Disks?", condition)
    assert is_quiet(reply, asked=asked, has_model=False) is quiet


def test_what_stops_an_order_at_once() -> None:
    """Quota and account; every other failure counts, an answer or a stop does not."""
    assert problem_of(Outcome.REFUSED, "quota_exceeded") == (OrderProblem.QUOTA, True)
    assert problem_of(Outcome.FAILED, "bad_key") == (OrderProblem.ACCOUNT, True)
    assert problem_of(Outcome.FAILED, "overloaded") == (None, True)
    assert problem_of(Outcome.REFUSED, "") == (None, True)
    for outcome in (Outcome.ANSWERED, Outcome.CANCELLED):
        assert problem_of(outcome, "") == (None, False)
