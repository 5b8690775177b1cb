"""Billing periods: calendar months, UTC, half-open, in epoch milliseconds on whole seconds."""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SECOND_MS = 1000
DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """``[start_ms, end_ms)``."""

    start_ms: int
    end_ms: int

    @property
    def seconds(self) -> int:
        """Its length."""
        return (self.end_ms - self.start_ms) // SECOND_MS

    def __contains__(self, at_ms: int) -> bool:
        return self.start_ms <= at_ms < self.end_ms


def month_of(at_ms: int) -> Period:
    """The calendar month that holds the moment."""
    at = moment(at_ms)
    return Period(_ms(at.year, at.month), _ms(at.year + at.month // 12, at.month % 12 + 1))


def whole_second(at_ms: int) -> int:
    """The moment cut to its second: what proration counts from."""
    return at_ms - at_ms % SECOND_MS


def day_of(at_ms: int) -> int:
    """The first millisecond of the day, UTC."""
    return at_ms - at_ms % DAY_MS


def moment(at_ms: int) -> datetime:
    """The moment, UTC, for reading its calendar fields; exact."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def period_at(anchor_ms: int, k: int) -> Period:
    """The ``k``-th month counted from an anchor, for anniversary plans.

    Always counted from the anchor itself: after a short month its day comes back (31 January,
    28 February, 31 March).
    """
    return Period(_anniversary(anchor_ms, k), _anniversary(anchor_ms, k + 1))


def _anniversary(anchor_ms: int, months: int) -> int:
    anchor = moment(anchor_ms)
    number = anchor.year * 12 + anchor.month - 1 + months
    year, month = divmod(number, 12)
    day = min(anchor.day, calendar.monthrange(year, month + 1)[1])
    moved = anchor.replace(year=year, month=month + 1, day=day)
    return (moved - _EPOCH) // timedelta(milliseconds=1)


def _ms(year: int, month: int) -> int:
    return (datetime(year, month, 1, tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)
