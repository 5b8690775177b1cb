"""The benchmarks run, in a tiny form; what they measure is judged by ``make bench`` alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench._report import Report, median, quantile, verdict
from bench.soak import slope

ROOT = Path(__file__).parent.parent.parent

TINY = {
    "fleet": (
        "--servers 4 --rounds 1",
        ("one fact from 4 servers", "IT0 to asyncssh, warm"),
    ),
    "turn_overhead": (
        "--rounds=1 --turns=2 --words=6 --load-turns=1 --many=8 --many-chunk-ms=10",
        ("message to model request, median", "CPU per turn", "failed of 8 concurrent turns"),
    ),
    "startup": (
        "--starts=1 --conversations=240",
        ("it0 up, fresh directory", "240 idle conversations", "offline engine"),
    ),
    "chat_load": (
        "--short",
        (
            "one chat at rest (python-telegram-bot)",
            "telegram, 4 chats, short instant answers",
            "one chat at rest (slack-bolt)",
            "slack, 4 chats, short instant answers",
            "calls into running penalties",
        ),
    ),
    "engine_overhead": (
        "--rounds=1 --turns=1 --words=6 --first-byte-ms 30 --processes 1 --rest-s=0.1",
        ("warm: message to first text, median", "its children", "Meter.reserve itself"),
    ),
    "gateway": (
        "--clients 1 --rounds=1 --requests=4 --words=4",
        ("to first visible text, median", "Meter.reserve itself", "CPU of a request"),
    ),
    "invoicing": ("--teams 8", ("8 teams", "invoices missing or twice", "All bounds hold")),
    "metering": ("--rounds=1 --seconds=0.2 --clients 2", ("2 clients, 20 tenants",)),
    "page": (
        "--rounds=1 --deltas=20",
        ("server's write, p95", "transferred, KB", "deltas that never came"),
    ),
    "soak": ("--turns=80 --blocks=5", ("80 turns in one process", "slope after the warm-up")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_benchmark_runs_and_prints_its_table(name: str) -> None:
    """Each ends by itself with its table and a verdict, and no turn in it fails."""
    arguments, rows = TINY[name]
    ended = subprocess.run(
        [sys.executable, "-m", f"bench.{name}", *arguments.split()],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert ended.returncode in (0, 1), ended.stderr
    assert "Traceback" not in ended.stderr
    for row in rows:
        assert row in ended.stdout
    assert "without an answer" not in _broken(ended.stdout)
    assert "second answers" not in _broken(ended.stdout)
    assert "concurrent turns" not in _broken(ended.stdout)


def _broken(output: str) -> str:
    """The verdict, which names the bounds that do not hold on this machine at this moment."""
    last = output.strip().splitlines()[-1]
    assert last.startswith(("All bounds hold", "Above its bound"))
    return last


def test_every_benchmark_has_a_tiny_form() -> None:
    """A new benchmark cannot rot unseen."""
    assert {path.stem for path in (ROOT / "bench").glob("[a-z]*.py")} == set(TINY)


def test_a_bound_that_does_not_hold_fails_the_benchmark(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The row is marked, named in the verdict, and the exit status is 1."""
    report = Report("figures", ("ms",))
    report.row("fast enough", "3", value=3, at_most=8)
    report.row("too slow", "9", value=9, at_most=8)
    report.row("too few", "1", value=1, at_least=2)
    report.show()
    assert verdict(report) == 1
    printed = capsys.readouterr().out
    assert "| fast enough | 3  | <= 8" in printed
    assert "Above its bound: too slow; too few." in printed


def test_all_bounds_held_is_success() -> None:
    """Nothing above its bound: exit status 0; a row without a bound judges nothing."""
    report = Report("figures", ("ms",))
    report.row("information", "1000")
    report.row("fast", "1", value=1, at_most=1)
    assert verdict(report) == 0


def test_figures_are_what_they_say() -> None:
    """Median and quantiles are interpolated; a line's slope is its least-squares rise."""
    assert median([3, 1, 2]) == 2
    assert median([1, 2, 3, 4]) == 2.5
    assert quantile([0, 10], 0.95) == 9.5
    assert slope([(0, 1), (1, 3), (2, 5)]) == 2
    assert slope([(0, 7), (1, 7), (2, 7)]) == 0
