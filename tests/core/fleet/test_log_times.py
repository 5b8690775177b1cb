"""Times as people say them and as logs write them, and the lines in between."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fleet.log_files import rotated
from core.fleet.when import ServerClock, line_time, parse_clock, parse_when
from tests.core.fleet.kit import sites
from tests.fakes.host import FakeHost, said

CLOCK = ServerClock(epoch_s=1_795_341_600, offset_s=3_600)  # 2026-11-22 11:00 +0100
NOW = CLOCK.epoch_s
DATE = {"date +%s %z": said(f"{NOW} +0100\n")}


@pytest.mark.parametrize(
    ("said_", "at"),
    [
        ("now", NOW),
        ("2 hours ago", NOW - 7_200),
        ("-15m", NOW - 900),
        ("30 min", NOW - 1_800),
        ("an hour ago", NOW - 3_600),
        ("the last 2 days", NOW - 2 * 86_400),
        ("1 week ago", NOW - 7 * 86_400),
        ("today", NOW - 11 * 3_600),
        ("yesterday", NOW - 35 * 3_600),
        ("10:30", NOW - 1_800),
        ("12:00", NOW - 23 * 3_600),
        ("yesterday 10:00", NOW - 25 * 3_600),
        ("2026-11-22T09:00:00Z", NOW - 3_600),
        ("2026-11-22T10:00", NOW - 3_600),
        ("2026-11-22 10:00:00", NOW - 3_600),
        ("2026-11-22", NOW - 11 * 3_600),
        ("@1700000000", 1_700_000_000),
        ("25:00", None),
        ("soon", None),
        ("$(reboot)", None),
        ("", None),
    ],
)
def test_times_that_people_say(said_: str, at: int | None) -> None:
    """On the server's own clock and in its zone; what is unclear is no time."""
    assert parse_when(said_, CLOCK) == at


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("2026-11-22T10:00:00+01:00 web-1 sshd[1]: x", NOW - 3_600),
        ("2026-11-22T09:00:00.123456Z x", NOW - 3_600),
        ("2026-11-22 10:00:00,123 ERROR x", NOW - 3_600),
        ("2026/11/22 10:00:00 [error] 1#1: x", NOW - 3_600),
        ("[2026-11-22 10:00:00] x", NOW - 3_600),
        ("Nov 22 10:00:00 web-1 cron[1]: x", NOW - 3_600),
        ("<13>Nov 22 10:00:00 web-1 x", NOW - 3_600),
        ("Dec  1 10:00:00 web-1 x", NOW - 3_600 - 356 * 86_400),
        ('1.2.3.4 - - [22/Nov/2026:10:00:00 +0100] "GET /"', NOW - 3_600),
        ("1795338000.123 x", NOW - 3_600),
        ("Feb 30 10:00:00 x", None),
        ("    at com.example.Main", None),
        ("Nov 22", None),
    ],
)
def test_times_that_logs_write(line: str, at: int | None) -> None:
    """One without a year is the latest that is not to come."""
    assert line_time(line, CLOCK) == at


@given(st.datetimes(min_value=datetime(2001, 9, 10), max_value=datetime(2030, 1, 1)))  # noqa: DTZ001  # made aware below
def test_iso_times_mean_the_same_in_a_log_and_from_a_person(at: datetime) -> None:
    """Both read what the other writes."""
    text = at.replace(microsecond=0, tzinfo=UTC).isoformat()
    expected = int(at.replace(microsecond=0, tzinfo=UTC).timestamp())
    assert parse_when(text, CLOCK) == line_time(text, CLOCK) == expected


@given(st.text(max_size=80))
def test_any_text_is_a_time_or_none(text: str) -> None:
    """Nothing raises."""
    parse_when(text, CLOCK)
    line_time(text, CLOCK)
    parse_clock(text)


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        (f"{NOW} +0100\n", CLOCK),
        (f"{NOW} -0330", ServerClock(epoch_s=NOW, offset_s=-12_600)),
        ("x", None),
        (f"{NOW} +9900", None),
    ],
)
def test_a_servers_clock(text: str, clock: ServerClock | None) -> None:
    """Its seconds and its offset."""
    assert parse_clock(text) == clock


def stamp(minutes_ago: int) -> str:
    """A syslog line's time."""
    return (CLOCK.now - timedelta(minutes=minutes_ago)).strftime("%b %d %H:%M:%S")


LOG = "".join(f"{stamp(ago)} app[1]: at {ago}\n  more of {ago}\n" for ago in range(90, 0, -10))


def app(**commands: object) -> FakeHost:
    """A host with a log file."""
    return FakeHost(
        commands={**DATE, **commands},  # type: ignore[dict-item]  # results
        files={"/var/log/app.log": LOG},
    )


async def test_a_file_in_a_time_range() -> None:
    """Lines without a time belong to the one above them."""
    fleet = sites("web-1", host=app)
    result = await fleet.call(
        "file_logs", path="/var/log/app.log", since="45 minutes ago", until="15 min ago"
    )
    body = result.output.split("```text\n")[1]
    assert body.startswith(stamp(40))
    assert body.rstrip("`\n").endswith("more of 20")
    assert "since 45 minutes ago, until 15 min ago" in result.output


async def test_a_file_by_text_and_priority() -> None:
    """Both in any case; a plain file is judged by its words."""
    files = {"/x.log": "INFO fine\nERROR one\nWARNING two\nerror THREE\n"}
    fleet = sites("web-1", host=lambda: FakeHost(files=dict(files)))
    grave = await fleet.call("file_logs", path="/x.log", priority="err")
    assert "ERROR one\nerror THREE\n" in grave.output
    assert "WARNING" not in grave.output
    found = await fleet.call("file_logs", path="/x.log", grep="three")
    assert "```text\nerror THREE\n```" in found.output
    nothing = await fleet.call("file_logs", path="/x.log", grep="four")
    assert nothing.output == "web-1: no line of /x.log with 'four'."


async def test_a_range_goes_on_into_rotated_and_compressed_files() -> None:
    """The newest first, until the range begins; never through a link to what is protected."""
    older = f"{stamp(300)} app[1]: old\n{stamp(200)} app[1]: older\n"
    listed = "/var/log/app.log.2.gz\n/var/log/app.log.1\n/var/log/app.log.bak\n"
    unpacked = f"/var/log/app.log.2.gz\n{stamp(2_000)} app[1]: oldest\n"
    host = app(**{"find /var/log": said(listed), "sh -c exec 3": said(unpacked)})
    host.files |= {"/var/log/app.log.1": older, "/var/log/app.log.2.gz": "packed"}
    fleet = sites("web-1", host=lambda: host)
    result = await fleet.call("file_logs", path="/var/log/app.log", since="2 days ago", lines=100)
    assert "from /var/log/app.log and 2 older files" in result.output
    assert result.output.index("oldest") < result.output.index("app[1]: older")
    host.commands["sh -c exec 3"] = said("/root/.ssh/id_rsa\nKEY\n")
    hidden = await fleet.call("file_logs", path="/var/log/app.log", since="2 days ago", lines=100)
    assert "KEY" not in hidden.output
    recent = await fleet.call("file_logs", path="/var/log/app.log", since="30 minutes ago")
    assert "older file" not in recent.output


async def test_the_order_of_rotated_files() -> None:
    """By number or by date, the newest first; copies are none."""
    listed = "\n".join(
        f"/l/a.log{end}" for end in (".10", ".2.gz", ".1", "-20260101", "-20260201.gz", ".bak", "x")
    )
    found = await rotated(FakeHost(commands={"find /l": said(listed)}), "/l/a.log")
    ends = [path.removeprefix("/l/a.log") for path in found]
    assert ends == ["-20260201.gz", "-20260101", ".1", ".2.gz", ".10"]


async def test_the_journal_in_a_time_range() -> None:
    """As seconds, which every journalctl understands; the priority is its own."""
    host = FakeHost(commands={**DATE, "journalctl": said("2026-11-22T10:00:00 a b: x\n")})
    fleet = sites("web-1", host=lambda: host)
    await fleet.call(
        "service_logs", service="nginx", since="1 hour ago", until="now", priority="warning"
    )
    assert {f"--since=@{NOW - 3_600}", f"--until=@{NOW}", "--priority=warning"} <= set(host.ran[-1])


async def test_the_journal_by_text_has_the_newest_matches_in_order() -> None:
    """The newest come first from the journal, and are turned round."""
    lines = [
        f"2026-11-22T10:0{number}:00 a b: {'hit' if number % 2 else 'x'}" for number in range(6)
    ]
    host = FakeHost(commands={"journalctl": said("\n".join(reversed(lines)) + "\n")})
    fleet = sites("web-1", host=lambda: host)
    result = await fleet.call("service_logs", service="nginx", grep="HIT", lines=2)
    assert f"```text\n{lines[3]}\n{lines[5]}\n```" in result.output
    assert "--reverse" in host.ran[-1]


@pytest.mark.parametrize(
    ("since", "until", "sentence"),
    [
        ("soon", "", "is no time I understand"),
        ("1 hour ago", "2 hours ago", "ends before it begins"),
    ],
)
async def test_a_range_that_makes_no_sense(since: str, until: str, sentence: str) -> None:
    """Said as such; nothing is guessed."""
    fleet = sites("web-1", host=app)
    arguments = {"since": since} | ({"until": until} if until else {})
    result = await fleet.call("service_logs", service="nginx", **arguments)
    assert result.is_error
    assert sentence in result.output


async def test_a_service_without_lines_in_the_range_is_no_error() -> None:
    """Nothing happened; that is an answer."""
    fleet = sites("web-1", host=lambda: app(**{"find /var/log": said("/var/log/app.log\n")}))
    result = await fleet.call("service_logs", service="app", since="2 minutes ago")
    assert result.output == "web-1: no line of app since 2 minutes ago, in its log."
    assert not result.is_error
