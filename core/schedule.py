"""When something is due: cron with an IANA time zone, right across daylight saving time.

Five fields (minute, hour, day of month, month, day of week), names (``MON``, ``JAN``), lists,
ranges, steps; ``L`` (the last day), ``LW`` (the last weekday), ``5L`` (the last Friday) and
``MON#1`` (the first Monday), as cronsim 2.8 reads them. As in Debian's cron:

- A time of the day that does not exist (the clock is put forward) is due once, at the first
  moment that exists again. One that happens twice (the clock is put back) is due once, the
  first time.
- A schedule whose minute or hour field begins with ``*`` goes by real time instead: every hour
  stays every hour, through the hour that happens twice; what lies in the hour that is left out
  is not made up for. (Where the clock is put back by half an hour, Lord Howe alone, ``*/10 2``
  begins at half past that day.)
- If neither the day of month nor the day of week begins with ``*``, either of them will do;
  otherwise both must fit.
"""

from __future__ import annotations

import zoneinfo
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from core.words import Sentence, sentence

MIN_GAP_MIN: Final = 5
"""No schedule is due more often, in minutes."""
MAX_CRON_CHARS: Final = 100
_FIELDS: Final = 5
_LAST_MS: Final = int(datetime(9000, 1, 1, tzinfo=UTC).timestamp() * 1000)
_STALLED: Final = 10_000
"""More steps than that without getting anywhere are a fault of the schedule."""


class BadSchedule(Exception):
    """Nothing can be due by this; the sentence says why and what to write instead."""

    def __init__(self, said: Sentence) -> None:
        """``said`` is for the person who wrote it."""
        super().__init__(said)
        self.sentence = said


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A cron expression and its time zone, both checked and in one spelling."""

    cron: str
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTimes:
    """The due times that lie behind: how many, and the newest of them."""

    count: int
    newest_ms: tuple[int, ...]
    whole: bool
    """False: there are more, which were not counted."""


def parse(cron: str, timezone: str) -> Schedule:
    """Check a schedule. Raises ``BadSchedule``."""
    zone = _zones().get(timezone.strip().casefold())
    if zone is None:
        raise BadSchedule(
            sentence(
                "There is no time zone {zone}. Name one as the IANA does, such as "
                "`Europe/Berlin` or `UTC`.",
                zone=_shown(timezone),
            )
        )
    spelled = " ".join(cron.upper().split())
    if len(spelled) > MAX_CRON_CHARS or len(spelled.split()) != _FIELDS:
        raise BadSchedule(_NO_CRON)
    try:
        fields = CronSim(spelled, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        raise BadSchedule(_NO_CRON) from None
    if _least_gap(fields) < MIN_GAP_MIN:
        raise BadSchedule(_TOO_OFTEN)
    schedule = Schedule(cron=spelled, timezone=zone)
    if not next_times(schedule.cron, schedule.timezone, 0, 1):
        raise BadSchedule(sentence("This schedule never comes: there is no such day."))
    return schedule


_NO_CRON: Final = sentence(
    "A schedule has five fields: minute, hour, day of the month, month, day of the week. Such as "
    "`0 8 * * MON-FRI`, every weekday at eight."
)
_TOO_OFTEN: Final = sentence(
    "At the least {minutes} minutes must lie between two runs. Choose a wider schedule, such as "
    "`*/15 * * * *`.",
    minutes=MIN_GAP_MIN,
)


def next_times(cron: str, timezone: str, after_ms: int, most: int) -> tuple[int, ...]:
    """The next due times after a moment, in epoch milliseconds, strictly ascending.

    Fewer than ``most`` where there are no more within 50 years. Raises ``BadSchedule`` when the
    schedule or its zone cannot be read any more.
    """
    found: list[int] = []
    if most > 0:
        for at_ms in _after(cron, timezone, after_ms):
            found.append(at_ms)
            if len(found) == most:
                break
    return tuple(found)


def past_times(
    cron: str, timezone: str, first_ms: int, until_ms: int, *, most: int, newest: int
) -> PastTimes:
    """The due times from one of them to a moment; counts at most ``most`` (45 us each)."""
    kept: deque[int] = deque((first_ms,), maxlen=newest)
    count = 1
    for at_ms in _after(cron, timezone, first_ms):
        if at_ms > until_ms:
            break
        if count == most:
            return PastTimes(count=count, newest_ms=tuple(kept), whole=False)
        kept.append(at_ms)
        count += 1
    return PastTimes(count=count, newest_ms=tuple(kept), whole=True)


def local(at_ms: int, timezone: str) -> datetime:
    """The moment on a clock in the zone."""
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(timezone))


def _after(cron: str, timezone: str, after_ms: int) -> Iterator[int]:
    """Due times after a moment.

    A time of the day is found on the clock's face, so that in the second of two equal hours
    cronsim may name one of the first: what is not later is passed over.
    """
    last_ms = after_ms
    try:
        # The next whole second: what is due lies on one.
        begin = datetime.fromtimestamp(after_ms // 1000, ZoneInfo(timezone))
        times = CronSim(cron, begin)
    except (CronSimError, zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadSchedule(_UNREADABLE) from error
    passed = 0
    for due in times:
        at_ms = int(due.timestamp()) * 1000
        if at_ms > _LAST_MS:
            return
        if at_ms > last_ms:
            last_ms, passed = at_ms, 0
            yield at_ms
        elif (passed := passed + 1) > _STALLED:
            raise BadSchedule(_UNREADABLE)


_UNREADABLE: Final = sentence("This schedule or its time zone cannot be read on this machine.")


def _least_gap(fields: CronSim) -> int:
    """Minutes between the two nearest runs of a day, and over midnight."""
    minutes, hours = sorted(fields.minutes), fields.hours
    gaps = [later - earlier for earlier, later in pairwise(minutes)]
    if any((hour + 1) % 24 in hours for hour in hours):
        gaps.append(minutes[0] + 60 - minutes[-1])
    return min(gaps, default=60)


@lru_cache(maxsize=1)
def _zones() -> Mapping[str, str]:
    """Every zone by its name in lower case; read once a process (20 ms)."""
    return {name.casefold(): name for name in zoneinfo.available_timezones()}


def _shown(text: str) -> str:
    kept = "".join(char for char in text[:40] if char.isalnum() or char in "/_+-. ")
    return f"`{kept}`"
