"""When a standing order is due, in every time zone, across daylight saving time."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.schedule import BadSchedule, Schedule, local, next_times, parse, past_times
from core.schedule_words import describe
from core.words import Words

ZONES = sorted(zoneinfo.available_timezones())
MINUTE = 60_000


def ms(text: str, zone: str = "UTC") -> int:
    """A moment of a zone's clock; of two, the first."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def due(cron: str, zone: str, after: str, most: int = 3) -> list[str]:
    """The next times on the zone's clock, with its distance to UTC."""
    return [
        local(at, zone).strftime("%m-%d %H:%M%z")
        for at in next_times(cron, zone, ms(after, zone), most)
    ]


@pytest.mark.parametrize(
    ("zone", "after", "cron", "expected"),
    [
        (
            "Europe/Berlin",
            "2026-03-28T12:00",
            "30 2 * * *",
            ["03-29 03:00+0200", "03-30 02:30+0200", "03-31 02:30+0200"],
        ),
        (
            "Europe/Berlin",
            "2026-10-24T12:00",
            "30 2 * * *",
            ["10-25 02:30+0200", "10-26 02:30+0100", "10-27 02:30+0100"],
        ),
        (
            "America/New_York",
            "2026-03-07T12:00",
            "15 2 * * *",
            ["03-08 03:00-0400", "03-09 02:15-0400", "03-10 02:15-0400"],
        ),
        (
            "America/New_York",
            "2026-10-31T12:00",
            "30 1 * * *",
            ["11-01 01:30-0400", "11-02 01:30-0500", "11-03 01:30-0500"],
        ),
        (
            "Australia/Lord_Howe",  # half an hour
            "2026-10-03T12:00",
            "10 2 * * *",
            ["10-04 02:30+1100", "10-05 02:10+1100", "10-06 02:10+1100"],
        ),
        (
            "Australia/Lord_Howe",
            "2026-04-04T12:00",
            "45 1 * * *",
            ["04-05 01:45+1100", "04-06 01:45+1030", "04-07 01:45+1030"],
        ),
        (
            "Pacific/Apia",  # 30 December 2011 was left out
            "2011-12-29T12:00",
            "0 8 * * *",
            ["12-31 00:00+1400", "12-31 08:00+1400", "01-01 08:00+1400"],
        ),
    ],
)
def test_a_time_of_the_day_comes_once_a_day(
    zone: str, after: str, cron: str, expected: list[str]
) -> None:
    """One that does not exist at the next moment that does; one that is twice, the first time."""
    assert due(cron, zone, after) == expected


def test_hours_stay_hours() -> None:
    """What goes by real time runs in both of two equal hours, and skips none in spring."""
    for after in ("2026-10-25T00:00", "2026-03-29T00:00"):
        times = next_times("0 * * * *", "Europe/Berlin", ms(after, "Europe/Berlin"), 8)
        assert {later - earlier for earlier, later in pairwise(times)} == {60 * MINUTE}
    shown = due("0 * * * *", "Europe/Berlin", "2026-10-25T01:00", 3)
    assert shown == ["10-25 02:00+0200", "10-25 02:00+0100", "10-25 03:00+0100"]


def test_the_second_of_two_equal_hours_brings_nothing_back() -> None:
    """Asked in the second half past two, a daily order is due tomorrow, not an hour ago."""
    second = int(
        datetime(2026, 10, 25, 2, 15, fold=1, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1000
    )
    (at_ms,) = next_times("30 2 * * *", "Europe/Berlin", second, 1)
    assert f"{local(at_ms, 'Europe/Berlin'):%d %H:%M}" == "26 02:30"


CRONS = st.builds(
    lambda minute, hour, day, month, weekday: f"{minute} {hour} {day} {month} {weekday}",
    st.sampled_from(["0", "30", "59", "*/5", "*/7", "0,30", "5-50/15", "*"]),
    st.sampled_from(["0", "2", "23", "*/6", "1-3", "*"]),
    st.sampled_from(["*", "1", "31", "L", "LW", "*/2", "29"]),
    st.sampled_from(["*", "JAN", "2", "FEB-APR", "10"]),
    st.sampled_from(["*", "MON-FRI", "0", "7", "5L", "MON#1", "SAT,SUN"]),
)


@settings(max_examples=150, deadline=None)
@given(
    cron=CRONS,
    zone=st.sampled_from(ZONES),
    after_ms=st.integers(min_value=0, max_value=ms("2100-01-01T00:00")),
)
def test_due_times_ascend_in_every_zone(cron: str, zone: str, after_ms: int) -> None:
    """Each is later than the one before it; asked from any of them, the next one is the same."""
    try:
        schedule = parse(cron, zone)
    except BadSchedule:
        return
    times = next_times(schedule.cron, schedule.timezone, after_ms, 6)
    assert all(later > earlier for earlier, later in pairwise((after_ms, *times)))
    assert all(at_ms % 1000 == 0 for at_ms in times)
    for first, second in pairwise(times):
        (again,) = next_times(schedule.cron, schedule.timezone, first, 1)
        assert after_ms < again <= second


@settings(max_examples=150, deadline=None)
@given(cron=st.text(max_size=30), zone=st.text(max_size=20))
def test_whatever_is_written_is_a_schedule_or_refused(cron: str, zone: str) -> None:
    """With a sentence, never with another error."""
    for text in (cron, f"{cron} * * * *", f"0 {cron} * * *", f"0 0 {cron} * {cron}"):
        for name in (zone, "UTC"):
            try:
                schedule = parse(text, name)
            except BadSchedule:
                continue
            assert parse(schedule.cron, schedule.timezone) == schedule


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("* * * * *", "5 minutes"),
        ("*/4 * * * *", "5 minutes"),
        ("0,3 8 * * *", "5 minutes"),
        ("58,2 * * * *", "5 minutes"),
        ("57,1 3,4 * * *", "5 minutes"),
        ("0 0 30 2 *", "five fields"),
        ("0 8 * *", "five fields"),
        ("0 0 8 * * *", "five fields"),
        ("@daily", "five fields"),
        ("0 25 * * *", "five fields"),
        ("0 8 * * FRI-MON", "five fields"),
        ("0 8 * * " + "1," * 60, "five fields"),
        ("9" * 90 + " 8 * * *", "five fields"),
    ],
)
def test_what_is_no_schedule_is_refused(cron: str, words: str) -> None:
    """The sentence says what is wrong, or what one looks like."""
    with pytest.raises(BadSchedule) as caught:
        parse(cron, "UTC")
    assert words in caught.value.sentence


def test_five_minutes_apart_is_allowed() -> None:
    """Also where two minutes are near each other in hours that do not follow each other."""
    for cron in ("*/5 * * * *", "58,1 3 * * *", "55,0 8,9 * * *"):
        assert parse(cron, "UTC").cron == cron


def test_names_have_one_spelling() -> None:
    """Zones and days are found however they are written."""
    assert parse("0  8 * * mon-fri", " europe/berlin ") == Schedule(
        cron="0 8 * * MON-FRI", timezone="Europe/Berlin"
    )
    for zone in ("Mars/Olympus", "", "../../etc/passwd", "Europe", "CEST"):
        with pytest.raises(BadSchedule, match="no time zone"):
            parse("0 8 * * *", zone)


def test_what_lies_behind_is_counted() -> None:
    """All of it up to a bound, the newest with their times."""
    first, until = ms("2026-01-01T00:00"), ms("2026-01-01T02:00")
    past = past_times("*/15 * * * *", "UTC", first, until, most=100, newest=2)
    assert (past.count, past.whole) == (9, True)
    assert past.newest_ms == (until - 15 * MINUTE, until)
    capped = past_times("*/15 * * * *", "UTC", first, until, most=4, newest=9)
    assert (capped.count, capped.whole) == (4, False)
    assert past_times("0 0 1 1 *", "UTC", first, until, most=4, newest=9).newest_ms == (first,)


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("0 8 * * MON-FRI", "every weekday at 08:00 (Europe/Berlin)"),
        ("0 8 * * 1-5", "every weekday at 08:00 (Europe/Berlin)"),
        ("30 2 * * *", "every day at 02:30 (Europe/Berlin)"),
        ("0 8,20 * * *", "every day at 08:00, 20:00 (Europe/Berlin)"),
        ("5 9 * * SUN,SAT", "every Saturday and Sunday at 09:05 (Europe/Berlin)"),
        ("5 9 * * 7", "every Sunday at 09:05 (Europe/Berlin)"),
        ("5 9 * * MON,THU", "every Monday, Thursday at 09:05 (Europe/Berlin)"),
        ("0 9 L * *", "on the last day of every month at 09:00 (Europe/Berlin)"),
        ("0 9 15 * *", "on day 15 of every month at 09:00 (Europe/Berlin)"),
        ("*/15 * * * *", "every 15 minutes (Europe/Berlin)"),
        ("10 * * * *", "every hour at minute 10 (Europe/Berlin)"),
        ("0 */6 * * *", "every 6 hours at minute 00 (Europe/Berlin)"),
        ("0 9 * * MON#1", "by the schedule `0 9 * * MON#1` (Europe/Berlin)"),
        ("*/7 * * * *", "by the schedule `*/7 * * * *` (Europe/Berlin)"),
        ("0 9 13 * FRI", "by the schedule `0 9 13 * FRI` (Europe/Berlin)"),
    ],
)
def test_a_schedule_in_words(cron: str, said: str) -> None:
    """What people write often is said plainly; the rest is shown as it is."""
    assert describe(Schedule(cron=cron, timezone="Europe/Berlin"), Words("en")) == said


def test_the_zone_of_a_machine_without_it_is_a_refusal() -> None:
    """An order whose zone went away says so instead of crashing the loop."""
    with pytest.raises(BadSchedule, match="cannot be read"):
        next_times("0 8 * * *", "Mars/Olympus", 0, 1)


def test_before_the_epoch_of_a_clock_that_lost_its_battery() -> None:
    """Any moment is a beginning."""
    assert next_times("0 0 * * *", "UTC", 0, 1) == (86_400_000,)
    assert datetime.fromtimestamp(next_times("0 0 * * *", "UTC", 1, 1)[0] / 1000, UTC).day == 2
