"""Thousands of turns through one process, to see whether its memory stays flat.

Eight clients ask over HTTP, each now and then in a new conversation, the way people do; the
resident memory is read from outside after every block of turns. After the warm-up a line is
fitted through it. Flat means: the line rises by less than ``FLAT_KB`` in 1,000 turns, so that
a million turns would not cost 100 MB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import _house
from bench._child import Child
from bench._report import Report, verdict
from bench.startup import cpu_of, rss_kb
from tests.support.processes import free_port

FLAT_KB = 100
CLIENTS = 8


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: by how much the second coordinate grows with the first."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def soak(data_dir: Path, upstream: str, turns: int, blocks: int) -> Report:
    """Run the turns in blocks and judge what is left in memory."""
    house, port = _house.furnish(data_dir), free_port()
    each = max(turns // blocks // CLIENTS, 1)
    samples: list[tuple[float, float]] = []
    failed = 0
    with _house.start(data_dir, port, upstream) as process, Child("bench._clients") as clients:
        cpu_before = 0.0
        for block in range(blocks):
            done = clients.ask(
                {
                    "port": port,
                    "token": house.token,
                    "clients": CLIENTS,
                    "turns": each,
                    "keep": 10,
                    "text": "soak [[text 40]]",
                }
            )
            failed += sum(not ok for ok, *_ in done)
            samples.append(((block + 1) * each * CLIENTS / 1000, rss_kb(process.pid)))
            cpu_before = cpu_before or cpu_of(process.pid)
        cpu_s = cpu_of(process.pid) - cpu_before
    stored = sum(path.stat().st_size for path in data_dir.glob("it0.db*"))
    return _judge(samples, failed, cpu_s, stored)


def _judge(samples: list[tuple[float, float]], failed: int, cpu_s: float, stored: int) -> Report:
    thousands = samples[-1][0]
    warm = samples[len(samples) * 3 // 10 :]
    rise = slope(warm)
    report = Report(f"{thousands * 1000:,.0f} turns in one process", ("figure",))
    report.row("turns without an answer", str(failed), value=failed, at_most=0)
    report.row("memory after the first block, MB", f"{samples[0][1] / 1024:.1f}")
    report.row("memory after the warm-up (30 %), MB", f"{warm[0][1] / 1024:.1f}")
    report.row("memory at the end, MB", f"{samples[-1][1] / 1024:.1f}")
    tenths = [samples[round((len(samples) - 1) * i / 10)][1] / 1024 for i in range(11)]
    report.row("its way there, MB", " ".join(f"{mb:.0f}" for mb in tenths))
    word = "flat" if rise <= FLAT_KB else "not flat"
    what = "slope after the warm-up, KB in 1,000 turns"
    report.row(what, f"{rise:.1f} ({word})", value=rise, at_most=FLAT_KB)
    measured = thousands * (1 - 1 / len(samples))
    report.row("CPU of the process, ms a turn", f"{cpu_s / max(measured, 1e-9):.1f}")
    report.row("database and its log, KB a turn", f"{stored / 1024 / (thousands * 1000):.2f}")
    return report


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=10_000)
    parser.add_argument("--blocks", type=int, default=50)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="it0-bench-") as place,
        Child("bench._upstream") as upstream,
    ):
        report = soak(Path(place) / "soaked", upstream.greeting, given.turns, given.blocks)
    report.show()
    return verdict(report)


if __name__ == "__main__":
    sys.exit(main())
