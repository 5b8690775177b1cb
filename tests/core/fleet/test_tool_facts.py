"""Comparing servers, certificates, artifacts, and looks over several servers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fleet.certificates import (
    Certificate,
    endpoints_of,
    judge_certificates,
    parse_certificates,
)
from core.fleet.report import Verdict
from core.fleet.tool_artifact import part_of
from core.risk import Level
from tests.core.fleet.kit import FileHost, sites
from tests.core.fleet.recorded import MEMINFO
from tests.fakes.host import FakeHost, said

NOW = 1_800_000_000
DAY = 86_400
OPENSSL = f"""@now {NOW}
@at localhost:443
notAfter=Jan 20 08:00:00 2027 GMT
subject=CN = www.example.com
X509v3 Subject Alternative Name:
    DNS:www.example.com, DNS:example.com, IP Address:10.0.0.1
@at db:5432
@none
@files
@at /etc/ssl/web.crt
notAfter=Jan 20 08:00:00 2030 GMT
subject=CN = old
@end
"""


async def test_servers_that_agree() -> None:
    """One line, one answer."""
    fleet = sites("a", "b", host=lambda: FakeHost(commands={"uname -sr": said("Linux 6.1\n")}))
    result = await fleet.call("compare_servers", what="kernel", server="all")
    assert result.output.startswith("kernel: all 2 servers agree.\n\n### a, b")
    assert result.output.count("Linux 6.1") == 1


async def test_servers_that_differ_from_the_majority() -> None:
    """Who, and how: long answers as a difference."""
    fleet = sites("a", "b", "c", "d", host=lambda: FileHost(files={"/etc/x": "one\ntwo\n"}))
    fleet.hosts["b"].files["/etc/x"] = "one\n2\n"
    fleet.hosts["d"].unreachable = "d does not answer."
    result = await fleet.call("compare_servers", what="file", value="/etc/x", server="all")
    first = result.output.splitlines()[0]
    assert first == ("⚠ file /etc/x: 1 of 3 servers differ from the others: b; 1 gave no answer.")
    assert "-two\n+2" in result.output
    assert "- d: d does not answer." in result.output
    assert not result.is_error


async def test_without_a_majority_nobody_is_blamed() -> None:
    """Half and half."""
    fleet = sites("a", "b", host=lambda: FakeHost(commands={"sysctl": said("1\n")}))
    fleet.hosts["b"].commands["sysctl"] = said("2\n")
    result = await fleet.call("compare_servers", what="sysctl", value="vm.swappiness", server="all")
    assert "without a majority" in result.output


@pytest.mark.parametrize(
    ("what", "value", "level", "problem"),
    [
        ("command", "ls", Level.L0, ""),
        ("command", "touch /tmp/x", Level.L2, "Only commands that just read"),
        ("command", "sudo ls", Level.L2, "Only commands that just read"),
        ("command", "rm -rf /", Level.L3, ""),
        ("file", "/root/.ssh/id_rsa", Level.L3, ""),
    ],
)
async def test_only_reads_are_compared(what: str, value: str, level: Level, problem: str) -> None:
    """A change has no place here, a forbidden read neither."""
    fleet = sites("a")
    assessed = await fleet.assess("compare_servers", what=what, value=value)
    assert (assessed.level, bool(assessed.problem)) == (level, bool(problem))
    assert assessed.problem.startswith(problem)
    await fleet.tools["compare_servers"].run(fleet.context(), {"what": what, "value": value})
    assert bool(fleet.hosts["a"].shells) is (level is Level.L0)


@pytest.mark.parametrize(
    ("what", "value"), [("package", "-x"), ("sysctl", "-w"), ("file", "x"), ("package", "")]
)
async def test_odd_values_never_reach_a_server(what: str, value: str) -> None:
    """A sentence instead."""
    fleet = sites("a")
    result = await fleet.tools["compare_servers"].run(
        fleet.context(), {"what": what, "value": value}
    )
    assert result.is_error
    assert fleet.hosts["a"].shells == []


async def test_certificates_of_a_server() -> None:
    """Days left, names and where, the soonest first; an endpoint without one is named."""
    fleet = sites("web-1", host=lambda: FakeHost(commands={"set -- ": said(OPENSSL)}))
    result = await fleet.call("certificates", endpoints="localhost:443, db:5432")
    assert result.output.startswith(
        "‼ web-1: 2 certificates; www.example.com (localhost:443) ends in 5 days."
        " No certificate at db:5432."
    )
    assert "www.example.com, example.com, 10.0.0.1" in result.output
    assert fleet.hosts["web-1"].shells[0].startswith("set -- localhost:443 db:5432\n")


@pytest.mark.parametrize(
    ("days", "verdict"),
    [(-2, Verdict.ACT), (3, Verdict.ACT), (20, Verdict.LOOK), (90, Verdict.FINE)],
)
def test_certificates_are_judged_by_the_days_left(days: int, verdict: Verdict) -> None:
    """A week is urgent, a month worth a look."""
    found = [Certificate(where="a:443", ends_s=NOW + days * DAY + 10, hosts=("a",))]
    assert judge_certificates(found, NOW).verdict is verdict


def test_no_certificate_at_all_is_no_good_news() -> None:
    """It could not be told."""
    found = [Certificate(where="a:443", ends_s=None)]
    assert judge_certificates(found, NOW).verdict is Verdict.UNKNOWN


@given(st.text(max_size=400))
def test_the_parser_of_certificates_takes_anything(text: str) -> None:
    """And what it finds was named by a line."""
    _now, found = parse_certificates(text)
    assert all(each.where in text for each in found)


@given(st.text(max_size=60))
def test_an_endpoint_is_never_an_option_or_shell(text: str) -> None:
    """What passes is host:port and nothing else."""
    found = endpoints_of(text)
    if not isinstance(found, str):
        for each in found:
            assert each[0] != "-"
            assert not set(each) & set(" ;|&$`'\"<>()\n/\\")


@pytest.mark.parametrize("text", ["-x:443", "a:0", "a:99999", "a b;c", "http://a", "a:443:1"])
def test_odd_endpoints_are_refused(text: str) -> None:
    """With a sentence."""
    assert isinstance(endpoints_of(text), str)


async def test_one_look_at_several_servers() -> None:
    """The worst first, in a table; one out of reach is a row, not an error."""
    fleet = sites("a", "b", "c", host=lambda: FakeHost(files={"/proc/meminfo": MEMINFO}))
    fleet.hosts["b"].unreachable = "b does not answer."
    result = await fleet.call("memory_usage", server="all")
    lines = result.output.splitlines()
    assert lines[0] == "⚠ 1 of 3 servers gave no answer: b; 2 servers fine."
    assert lines[4] == "| b | ? b does not answer. |"
    assert not result.is_error
    assert result.servers == ("a", "b", "c")


async def test_a_look_that_reaches_nobody_is_an_error() -> None:
    """There is nothing to show."""
    fleet = sites("a", "b", host=lambda: FakeHost(unreachable="no answer."))
    assert (await fleet.call("memory_usage", server="all")).is_error


TEXT = "\n".join(f"line {number}" for number in range(1, 1_001)).encode()


@pytest.mark.parametrize(
    ("arguments", "head", "first"),
    [
        ({}, "Lines 1 to 200, of 1000 lines", "1: line 1"),
        ({"from_line": 990}, "Lines 990 to 1000,", "990: line 990"),
        ({"from_line": -2}, "Lines 999 to 1000,", "999: line 999"),
        ({"grep": "LINE 99", "lines": 2}, "Lines 99 to 990 that hold 'LINE 99'", "99: line 99"),
        ({"from_line": 2_000}, "No line from line 2000 on is there", ""),
        ({"grep": "none"}, "No line holds that text", ""),
    ],
)
def test_parts_of_an_artifact(arguments: dict[str, str | int], head: str, first: str) -> None:
    """By number, from the end, by text; and how to go on."""
    shown = part_of(TEXT, arguments)
    assert shown.startswith(head)
    assert first in shown


async def test_another_tenants_artifact_does_not_exist() -> None:
    """Nor does one with an odd id."""
    fleet = sites("a")
    fleet.artifacts.kept["art_0"] = ("ten_2", b"secret")
    for name in ("art_0", "art_1", "../x/y"):
        result = await fleet.tools["read_artifact"].run(fleet.context(), {"id": name})
        assert result.is_error
        assert "secret" not in result.output
