"""What IT0 adds to a model call: time, CPU, and how many turns one process carries.

Four children on one fake provider take turns in short rounds, so that a noisy minute hits
all of them: the bare SDK three times (``messages.stream()``, which most people write,
``messages.create(stream=True)``, and that over aiohttp) and IT0's core on SQLite. Then
``it0 up`` behind its HTTP API: turns per second with 20 clients, and 200 streams at once.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench import _house
from bench._child import Child
from bench._report import Report, median, quantile, verdict
from tests.support.processes import free_port

BARE, CREATE, LEAN, IT0 = "SDK stream()", "SDK create()", "create() on aiohttp", "IT0"
ALL = (BARE, CREATE, LEAN, IT0)


@dataclass(slots=True)
class Measured:
    """Of one contestant, over all rounds; milliseconds."""

    request: list[float] = field(default_factory=list)
    """From the message to the arrival of the model request at the provider."""
    first: list[float] = field(default_factory=list)
    """From the message to the first visible text."""
    cpu: list[float] = field(default_factory=list)
    """CPU per turn, one figure a round."""


def overhead(upstream: Child, children: Mapping[str, Child], shape: Shape) -> dict[str, Measured]:
    """Run the rounds."""
    found = {name: Measured() for name in children}
    text = f"hello [[text {shape.words}]]" + (" [[chunk 0]]" if shape.burst else "")
    key = f"{shape.words}{'b' if shape.burst else 'p'}"
    for child in children.values():
        child.ask({"tag": f"warm{key}{child.pid}", "turns": 10, "text": text})
    for number in range(shape.rounds):
        order = list(children) if number % 2 else list(reversed(children))
        for name in order:
            tag = f"r{number}-{key}-{children[name].pid}"
            said = children[name].ask({"tag": tag, "turns": shape.turns, "text": text})
            with urllib.request.urlopen(f"{upstream.greeting}/arrivals", timeout=10) as answer:
                arrivals = json.load(answer)
            measured = found[name]
            measured.cpu.append(said["cpu_s"] * 1000 / shape.turns)
            for turn in said["turns"]:
                measured.request.append((arrivals[turn["tag"]] - turn["start"]) * 1000)
                measured.first.append((turn["first"] - turn["start"]) * 1000)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How much work: rounds of turns, each answered with so many words (deltas)."""

    rounds: int
    turns: int
    words: int
    burst: bool = False
    """All deltas in one network write, instead of one after another."""

    def __str__(self) -> str:
        return f"{self.words} deltas{' in one burst' if self.burst else ''}"


def time_table(found: Mapping[str, Measured], shape: Shape) -> Report:
    """Milliseconds beside the bare loop's, and the difference."""
    report = Report(f"time, ms ({shape})", (*ALL, "IT0 - stream()"))
    for what, pick, share, bound in (
        ("message to model request, median", "request", 0.5, 8),
        ("message to model request, p95", "request", 0.95, 25),
        ("message to first visible text, median", "first", 0.5, 8),
        ("message to first visible text, p95", "first", 0.95, 25),
    ):
        figures = {name: quantile(getattr(m, pick), share) for name, m in found.items()}
        added = figures[IT0] - figures[BARE]
        cells = [f"{figures[name]:.1f}" for name in ALL]
        report.row(what, *cells, f"{added:+.1f}", value=added, at_most=bound)
    return report


def cpu_table(by_shape: Mapping[Shape, Mapping[str, Measured]], judged: Shape) -> Report:
    """CPU per turn; the ratio is bound for one shape of answer, and told for the others."""
    report = Report("CPU per turn, ms", (*ALL, "IT0 / stream()", "IT0 / leanest"))
    for shape, found in by_shape.items():
        cpu = {name: median(measured.cpu) for name, measured in found.items()}
        cells = [f"{cpu[name]:.1f}" for name in ALL]
        ratio = cpu[IT0] / cpu[BARE]
        cells += [f"{ratio:.2f}", f"{cpu[IT0] / cpu[LEAN]:.2f}"]
        value = ratio if shape == judged else None
        report.row(str(shape), *cells, value=value, at_most=2.0)
    return report


def load_table(upstream: Child, work: Path, load: Load) -> Report:
    """The same over the HTTP API of one process."""
    house = _house.furnish(work / "served")
    port = free_port()
    report = Report("one process over HTTP", ("figure",))
    with (
        _house.start(house.data_dir, port, upstream.greeting, IT0_TURN_SLOTS="300"),
        Child("bench._clients") as clients,
    ):
        ask = {"port": port, "token": house.token}
        clients.ask(ask | {"clients": 2, "turns": 2, "text": "warm [[text 5]]"})
        text = f"hello [[text {load.words}]]"
        done = clients.ask(ask | {"clients": load.clients, "turns": load.turns, "text": text})
        seconds = max(end for *_, end in done) - min(start for _, start, *_ in done)
        rate = sum(ok for ok, *_ in done) / seconds
        what = f"streaming turns a second, {load.clients} clients, {load.words} deltas"
        report.row(what, f"{rate:.1f}", value=rate, at_least=40)
        waits = [(first - start) * 1000 for _, start, first, _ in done]
        report.row("first visible text under that load, median ms", f"{median(waits):.0f}")
        report.row("first visible text under that load, p95 ms", f"{quantile(waits, 0.95):.0f}")
        _many_at_once(report, clients, ask, load)
    return report


def _many_at_once(report: Report, clients: Child, ask: dict[str, str | int], load: Load) -> None:
    text = f"many [[text 60]] [[chunk {load.many_chunk_ms}]]"
    done = clients.ask(ask | {"clients": load.many, "turns": 1, "text": text})
    failed = sum(not ok for ok, *_ in done)
    together = max(first for _, _, first, _ in done) < min(end for *_, end in done)
    report.row(f"failed of {load.many} concurrent turns", str(failed), value=failed, at_most=0)
    shown = "yes" if together else "no"
    what = "all of them streaming at one moment"
    report.row(what, shown, value=float(together), at_least=1)
    waits = [(first - start) * 1000 for _, start, first, _ in done]
    report.row("first visible text of all, p95 ms", f"{quantile(waits, 0.95):.0f}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many clients ask how often over HTTP, and how many stream at once."""

    clients: int
    turns: int
    words: int
    many: int
    many_chunk_ms: int


def main() -> int:
    """Run all three parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--turns", type=int, default=15, help="in a round")
    parser.add_argument("--words", type=int, default=60, help="deltas of the judged answer")
    parser.add_argument("--chunk-ms", type=float, default=2)
    parser.add_argument("--load-turns", type=int, default=25, help="of each of the 20 clients")
    parser.add_argument("--many", type=int, default=200)
    parser.add_argument("--many-chunk-ms", type=int, default=100)
    parser.add_argument("--only", choices=("overhead", "load"))
    given = parser.parse_args()
    load = Load(
        clients=20,
        turns=given.load_turns,
        words=given.words // 3,
        many=given.many,
        many_chunk_ms=given.many_chunk_ms,
    )
    reports: list[Report] = []
    with (
        tempfile.TemporaryDirectory(prefix="it0-bench-") as place,
        Child("bench._upstream", "--chunk-ms", str(given.chunk_ms)) as upstream,
    ):
        if given.only != "load":
            reports += _overhead(upstream, Path(place), given)
        if given.only != "overhead":
            reports.append(load_table(upstream, Path(place), load))
    for report in reports:
        report.show()
    return verdict(*reports)


def _overhead(upstream: Child, work: Path, given: argparse.Namespace) -> list[Report]:
    url, words = upstream.greeting, given.words
    judged = Shape(rounds=given.rounds, turns=given.turns, words=words)
    few = max(given.turns // 4, 1)
    shapes = [
        judged,
        Shape(rounds=given.rounds, turns=given.turns, words=words, burst=True),
        Shape(rounds=given.rounds, turns=few, words=max(words // 3, 1)),
        Shape(rounds=given.rounds, turns=few, words=words * 4),
    ]
    with (
        Child("bench._bare", url, "stream") as bare,
        Child("bench._bare", url, "create") as create,
        Child("bench._bare", url, "lean") as lean,
        Child("bench._core", url, str(work / "core")) as core,
    ):
        children = {BARE: bare, CREATE: create, LEAN: lean, IT0: core}
        found = {shape: overhead(upstream, children, shape) for shape in shapes}
    return [time_table(found[judged], judged), cpu_table(found, judged)]


if __name__ == "__main__":
    sys.exit(main())
