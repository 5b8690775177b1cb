"""Times as people say them and as logs write them.

A server's clock and zone count for what has no zone of its own: whoever asks for "10:00" reads
logs that say 10:00.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_RELATIVE = re.compile(
    r"(?:the last |last )?-?(\d{1,6})\s?"
    r"(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)(?: ago)?",
    re.IGNORECASE,
)
_ONE = re.compile(
    r"(?:an?|one|the last|last) (second|minute|hour|day|week)(?: ago)?", re.IGNORECASE
)
_CLOCK = re.compile(r"(?:(today|yesterday)\s?)?(\d{1,2}):(\d{2})(?::(\d{2}))?", re.IGNORECASE)
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_TIME = r"(?P<h>\d\d):(?P<mi>\d\d):(?P<s>\d\d)(?:[.,]\d{1,9})?"
_ZONE = r"\s?(?P<z>Z|UTC|[+-]\d\d:?\d\d)?"
_ISO = re.compile(rf"[\[(]?(?P<y>\d{{4}})[-/](?P<mo>\d\d)[-/](?P<d>\d\d)[T ]{_TIME}{_ZONE}")
_SYSLOG = re.compile(rf"(?P<mon>[A-Z][a-z]{{2}}) {{1,2}}(?P<d>\d{{1,2}}) {_TIME}")
_ACCESS = re.compile(
    rf"(?P<d>\d\d)/(?P<mon>[A-Z][a-z]{{2}})/(?P<y>\d{{4}}):{_TIME} (?P<z>[+-]\d{{4}})"
)
_EPOCH = re.compile(r"[\[]?(?P<e>1\d{9})(?:\.\d{1,9})?(?!\d)")
_SEARCHED_CHARS = 120
_DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerClock:
    """What a server's clock says, and its zone now."""

    epoch_s: int
    offset_s: int = 0

    @property
    def zone(self) -> timezone:
        """Its offset from UTC."""
        return timezone(timedelta(seconds=self.offset_s))

    @property
    def now(self) -> datetime:
        """Its local time."""
        return datetime.fromtimestamp(self.epoch_s, self.zone)


def parse_clock(text: str) -> ServerClock | None:
    """Read what ``date '+%s %z'`` said; None when it is no such output."""
    match = re.fullmatch(r"(\d{9,11}) ([+-])(\d\d)(\d\d)", text.strip())
    if match is None:
        return None
    offset = int(match[3]) * 3_600 + int(match[4]) * 60
    if offset >= _DAY_S:
        return None
    return ServerClock(epoch_s=int(match[1]), offset_s=-offset if match[2] == "-" else offset)


def parse_when(said: str, clock: ServerClock) -> int | None:
    """Epoch seconds of an ISO 8601 time, "2 hours ago", "10:30", "yesterday"; None if unclear."""
    text = " ".join(said.split()).casefold()
    if text == "now":
        return clock.epoch_s
    if one := _ONE.fullmatch(text):
        return clock.epoch_s - _UNITS[one[1][0]]
    if relative := _RELATIVE.fullmatch(text):
        return clock.epoch_s - int(relative[1]) * _UNITS[relative[2][0]]
    midnight = clock.now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text in {"today", "yesterday"}:
        return _epoch(midnight - timedelta(days=int(text == "yesterday")))
    if match := _CLOCK.fullmatch(text):
        return _of_day(match, midnight, clock)
    return _absolute(said.strip(), clock)


def line_time(line: str, clock: ServerClock) -> int | None:
    """When a log line says it was written, in epoch seconds; None when it does not say."""
    start = line[:_SEARCHED_CHARS]
    if match := _ISO.match(start) or _ACCESS.search(start) or _ISO.search(start):
        return _built(match, clock)
    if match := _SYSLOG.match(start.lstrip("<0123456789>")):
        return _built(match, clock)
    epoch = _EPOCH.match(start)
    return int(epoch["e"]) if epoch else None


def _of_day(match: re.Match[str], midnight: datetime, clock: ServerClock) -> int | None:
    """A time of day: today's, or the latest one when nothing else was said."""
    hour, minute, second = int(match[2]), int(match[3]), int(match[4] or 0)
    if hour > 23 or minute > 59 or second > 59:  # noqa: PLR2004  # a clock's
        return None
    at = midnight + timedelta(hours=hour, minutes=minute, seconds=second)
    if match[1] == "yesterday" or (match[1] is None and _epoch(at) > clock.epoch_s):
        at -= timedelta(days=1)
    return _epoch(at)


def _absolute(text: str, clock: ServerClock) -> int | None:
    if match := re.fullmatch(r"@(\d{1,11})", text):
        return int(match[1])
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return _epoch(at if at.tzinfo else at.replace(tzinfo=clock.zone))


def _built(match: re.Match[str], clock: ServerClock) -> int | None:
    """The time of a matched timestamp; one without a year is the latest that is not to come."""
    found = match.groupdict()
    month = int(found["mo"]) if found.get("mo") else _MONTHS.get(found["mon"].casefold(), 0)
    year = int(found["y"]) if found.get("y") else clock.now.year
    try:
        at = datetime(
            year,
            month,
            int(found["d"]),
            int(found["h"]),
            int(found["mi"]),
            int(found["s"]),
            tzinfo=_zone(found.get("z"), clock),
        )
        if not found.get("y") and _epoch(at) > clock.epoch_s + _DAY_S:
            at = at.replace(year=year - 1)
    except ValueError:
        return None
    return _epoch(at)


def _zone(text: str | None, clock: ServerClock) -> timezone:
    if not text:
        return clock.zone
    if text in {"Z", "UTC"}:
        return UTC
    hours, minutes = int(text[1:3]), int(text[-2:])
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)


def _epoch(at: datetime) -> int:
    try:
        return int(at.timestamp())
    except OverflowError:
        return 0
