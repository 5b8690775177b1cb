"""The schedule of reminders, and what is served meanwhile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.dunning import LAST_STEP, REMINDER_DAYS, Service, service_at, step_at
from billing.periods import DAY_MS

DUE = 1_795_000_000_000


@pytest.mark.parametrize(
    ("after_ms", "service"),
    [
        (-1, Service.FULL),
        (0, Service.NO_OVERAGE),
        (7 * DAY_MS - 1, Service.NO_OVERAGE),
        (7 * DAY_MS, Service.READ_ONLY),
        (14 * DAY_MS - 1, Service.READ_ONLY),
        (14 * DAY_MS, Service.OFF),
        (400 * DAY_MS, Service.OFF),
    ],
)
def test_service_goes_down_by_weeks(after_ms: int, service: Service) -> None:
    """No overage in the first week, read-only in the second, nothing after."""
    assert service_at(DUE, DUE + after_ms) is service


def test_who_owes_nothing_is_served() -> None:
    """Without an overdue invoice everything is served."""
    assert service_at(None, DUE) is Service.FULL


@pytest.mark.parametrize(
    ("day", "number", "next_day"), [(0, 0, 2), (2, 1, 7), (7, 2, 14), (14, 3, 21)]
)
def test_each_step_names_the_next(day: int, number: int, next_day: int) -> None:
    """On its day a step is due, and the next one is planned."""
    step = step_at(DUE, max(0, number - 1), DUE + day * DAY_MS)
    assert (step.number, step.next_at_ms) == (number, DUE + next_day * DAY_MS)
    assert not step.last


def test_the_last_step_gives_up() -> None:
    """Three weeks after the due date, and nothing follows."""
    step = step_at(DUE, 3, DUE + 21 * DAY_MS)
    assert step.last
    assert step.next_at_ms is None


def test_nobody_is_given_up_unwarned() -> None:
    """After an outage of a month one reminder comes first, and the end a day after it."""
    late = DUE + 30 * DAY_MS
    step = step_at(DUE, 0, late)
    assert (step.number, step.next_at_ms) == (3, late + DAY_MS)
    assert step_at(DUE, 3, late + DAY_MS).last


def test_a_late_third_reminder_leaves_a_day() -> None:
    """The end is never closer to it than a day."""
    late = DUE + 21 * DAY_MS - 1
    assert step_at(DUE, 2, late).next_at_ms == late + DAY_MS


@given(st.lists(st.integers(0, 40 * DAY_MS), min_size=1, max_size=12))
def test_steps_only_rise_whenever_the_run_comes(gaps: list[int]) -> None:
    """Whatever the pauses between runs: numbers rise, each comes in time, and it ends."""
    at, done, due_next = DUE, 0, DUE
    for gap in [*gaps, 40 * DAY_MS, 40 * DAY_MS]:
        at += gap
        if at < due_next or done == LAST_STEP:
            continue
        step = step_at(DUE, done, at)
        assert step.number >= done
        assert step.number == 0 or at >= DUE + REMINDER_DAYS[step.number - 1] * DAY_MS
        assert not step.last or done == LAST_STEP - 1
        assert step.last or (step.next_at_ms is not None and step.next_at_ms > at)
        done, due_next = step.number, step.next_at_ms or at
    assert done == LAST_STEP
