"""A schedule in words, in the reader's language."""

from __future__ import annotations

from core.schedule import Schedule
from core.words import Words

_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_WEEKDAYS = frozenset({1, 2, 3, 4, 5})
_WEEKEND = frozenset({0, 6})
_MOST_HOURS = 4
_WEEK = 7


def describe(schedule: Schedule, words: Words) -> str:
    """Such as ``every weekday at 08:00 (Europe/Berlin)``; what is too intricate is the cron."""
    said = _said(schedule.cron, words) or words("by the schedule `{cron}`", cron=schedule.cron)
    return words("{schedule} ({zone})", schedule=said, zone=schedule.timezone)


def _said(cron: str, words: Words) -> str:
    minute, hour, day, month, weekday = cron.split()
    if month != "*":
        return ""
    if (day, weekday) == ("*", "*") and (said := _through_the_day(minute, hour, words)):
        return said
    when = _clock(minute, hour)
    if not when:
        return ""
    days = _days(day, weekday, words)
    return words("{days} at {times}", days=days, times=", ".join(when)) if days else ""


def _through_the_day(minute: str, hour: str, words: Words) -> str:
    """``every 15 minutes``, ``every hour``, ``every 6 hours``."""
    if hour == "*" and minute.startswith("*/") and minute[2:].isdigit():
        step = int(minute[2:])
        if 60 % step == 0:  # else the last step of the hour is shorter
            return words("every {minutes} minutes", minutes=step)
    if not minute.isdigit():
        return ""
    if hour == "*":
        return words("every hour at minute {minute:02}", minute=int(minute))
    if hour.startswith("*/") and hour[2:].isdigit() and 24 % int(hour[2:]) == 0:
        hours = int(hour[2:])
        return words("every {hours} hours at minute {minute:02}", hours=hours, minute=int(minute))
    return ""


def _clock(minute: str, hour: str) -> list[str]:
    hours = hour.split(",")
    if not minute.isdigit() or len(hours) > _MOST_HOURS or not all(it.isdigit() for it in hours):
        return []
    return [f"{it:02}:{int(minute):02}" for it in sorted({int(it) for it in hours})]


def _days(day: str, weekday: str, words: Words) -> str:
    if day == "*" and weekday == "*":
        return words("every day")
    if weekday == "*":
        if day == "L":
            return words("on the last day of every month")
        return words("on day {day} of every month", day=int(day)) if day.isdigit() else ""
    found = _weekdays(weekday) if day == "*" else frozenset()
    if not found:
        return ""
    if found == _WEEKDAYS:
        return words("every weekday")
    if found == _WEEKEND:
        return words("every Saturday and Sunday")
    if len(found) == _WEEK:
        return words("every day")
    return words("every {days}", days=_listed(found, words))


def _weekdays(field: str) -> frozenset[int]:
    """The days of a field of names, numbers and ranges; empty where it holds more than that."""
    days: set[int] = set()
    for part in field.split(","):
        first, _, last = part.partition("-")
        low, high = _day(first), _day(last) if last else _day(first)
        if low is None or high is None or low > high:
            return frozenset()
        days.update(day % _WEEK for day in range(low, high + 1))
    return frozenset(days)


def _day(name: str) -> int | None:
    if name in _DAYS:
        return _DAYS.index(name)
    return int(name) if name.isdigit() and int(name) <= _WEEK else None


def _listed(days: frozenset[int], words: Words) -> str:
    names = {
        1: words("Monday"),
        2: words("Tuesday"),
        3: words("Wednesday"),
        4: words("Thursday"),
        5: words("Friday"),
        6: words("Saturday"),
        0: words("Sunday"),
    }
    return words(", ").join(name for day, name in names.items() if day in days)
