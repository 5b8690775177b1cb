"""Periods: calendar months, UTC, half-open; every moment is in exactly one."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.periods import DAY_MS, Period, day_of, moment, month_of, period_at, whole_second

MOMENTS = st.integers(min_value=0, max_value=4_102_444_800_000)
"""1970 to 2100."""


def ms(year: int, month: int, day: int, hour: int = 0) -> int:
    """Epoch milliseconds."""
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp()) * 1000


@given(MOMENTS)
def test_a_month_has_the_calendars_days(at_ms: int) -> None:
    """Also in leap years; it holds the moment, and the next one begins where it ends."""
    month, at = month_of(at_ms), moment(at_ms)
    assert at_ms in month
    assert month.seconds == calendar.monthrange(at.year, at.month)[1] * 86_400
    assert month_of(month.start_ms) == month_of(month.end_ms - 1) == month
    assert month_of(month.end_ms).start_ms == month.end_ms
    assert month.end_ms not in month


@pytest.mark.parametrize(("year", "days"), [(2027, 28), (2028, 29), (2100, 28), (2000, 29)])
def test_february(year: int, days: int) -> None:
    """Four years, but not each century."""
    assert month_of(ms(year, 2, 14)).seconds == days * 86_400


@given(MOMENTS)
def test_seconds_and_days_are_cut(at_ms: int) -> None:
    """Down, never up; what is whole stays."""
    second, day = whole_second(at_ms), day_of(at_ms)
    assert second <= at_ms < second + 1000
    assert day <= second < day + DAY_MS
    assert (whole_second(second), day_of(day)) == (second, day)


@given(MOMENTS, st.integers(min_value=0, max_value=200))
def test_anniversaries_follow_one_another_without_a_gap(anchor_ms: int, k: int) -> None:
    """The day is the anchor's, or the last one of a month that lacks it."""
    period = period_at(anchor_ms, k)
    assert period.start_ms < period.end_ms == period_at(anchor_ms, k + 1).start_ms
    start, anchor = moment(period.start_ms), moment(anchor_ms)
    last = calendar.monthrange(start.year, start.month)[1]
    assert start.day == min(anchor.day, last)
    assert start.time() == anchor.time()


def test_after_a_short_month_the_day_comes_back() -> None:
    """Counted from the anchor itself: 31 January, 29 February, 31 March."""
    anchor = ms(2028, 1, 31, 9)
    starts = [moment(period_at(anchor, k).start_ms).day for k in range(4)]
    assert starts == [31, 29, 31, 30]
    assert period_at(anchor, 0) == Period(anchor, ms(2028, 2, 29, 9))
