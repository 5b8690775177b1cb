"""The three Claude engines side by side: time to the first text, CPU and memory.

One process with all engines, as an installation has it, on one fake provider. In every round
each engine begins a conversation (its first turn) and goes on with it (warm turns), so that a
noisy minute hits all of them; the rounds alternate between a provider that sends its first
byte after a realistic time and one that sends it at once. Then memory, by the number of live
processes, and what the gateway adds (``bench.gateway`` with one client).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import gateway
from bench._child import Child
from bench._report import Report, quantile, verdict

API, SDK, CLI = "claude_api", "claude_agent_sdk", "claude_code_cli"
ENGINES = (API, SDK, CLI)
MOST_RATIO = 1.5
"""Of a warm SDK turn's median first text to the plain API's, with a realistic provider."""


@dataclass(slots=True)
class Measured:
    """Of one engine at one time to first byte, turns of one kind; milliseconds."""

    request: list[float] = field(default_factory=list)
    """From the message to the arrival of the model request at the provider."""
    first: list[float] = field(default_factory=list)
    """From the message to the first visible text."""
    end: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Of IT0's own process."""
    children: list[float] = field(default_factory=list)
    """Of the processes below it."""


@dataclass(slots=True)
class Found:
    """Of one engine at one time to first byte."""

    cold: Measured = field(default_factory=Measured)
    """The first turn of a conversation."""
    warm: Measured = field(default_factory=Measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How much work: rounds of conversations, warm turns in each, deltas of an answer."""

    rounds: int
    turns: int
    words: int
    chunk_ms: int
    first_byte_ms: tuple[int, ...]
    engines: tuple[str, ...]


def measure(upstream: Child, house: Child, shape: Shape) -> dict[int, dict[str, Found]]:
    """The rounds, by the provider's time to first byte and by engine."""
    found = {delay: {name: Found() for name in shape.engines} for delay in shape.first_byte_ms}
    for number in range(shape.rounds):
        for delay in shape.first_byte_ms:
            turned = number % len(shape.engines)
            for name in (*shape.engines[turned:], *shape.engines[:turned]):
                turns = _conversation(
                    upstream, house, f"r{number}d{delay}{name}", name, delay, shape
                )
                _note(turns[:1], found[delay][name].cold)
                _note(turns[1:], found[delay][name].warm)
    return found


def _conversation(
    upstream: Child, house: Child, thread: str, engine: str, delay: int, shape: Shape
) -> list[dict[str, float]]:
    text = f"hello [[text {shape.words}]] [[chunk {shape.chunk_ms}]] [[delay {delay}]]"
    asked = {"engine": engine, "thread": thread, "text": text}
    done: list[dict[str, float]] = house.ask(asked | {"tag": thread, "turns": 1 + shape.turns})
    if engine == SDK:
        house.ask({"forget": thread})
    with urllib.request.urlopen(f"{upstream.greeting}/arrivals", timeout=10) as answer:
        arrivals = json.load(answer)
    return [turn | {"arrived": arrivals[str(turn["tag"])]} for turn in done]


def _note(turns: Sequence[Mapping[str, float]], into: Measured) -> None:
    for turn in turns:
        into.request.append((turn["arrived"] - turn["start"]) * 1000)
        into.first.append((turn["first"] - turn["start"]) * 1000)
        into.end.append((turn["end"] - turn["start"]) * 1000)
        into.cpu.append(turn["cpu_s"] * 1000)
        into.children.append(turn["children_s"] * 1000)


def time_table(found: Mapping[str, Found], delay: int) -> Report:
    """Milliseconds of each engine; the bound is for a provider that takes a realistic time."""
    names = tuple(found)
    report = Report(f"first byte after {delay} ms; ms", (*names, "SDK - API", "SDK / API"))
    for what, kind, pick, share in (
        ("warm: message to model request, median", "warm", "request", 0.5),
        ("warm: message to first text, median", "warm", "first", 0.5),
        ("warm: message to first text, p95", "warm", "first", 0.95),
        ("warm: message to the end, median", "warm", "end", 0.5),
        ("cold: message to first text, median", "cold", "first", 0.5),
        ("cold: message to first text, longest", "cold", "first", 1.0),
    ):
        figures = {n: quantile(getattr(getattr(found[n], kind), pick), share) for n in names}
        ratio = figures[SDK] / figures[API]
        judged = delay > 0 and (kind, pick, share) == ("warm", "first", 0.5)
        cells = [f"{figures[name]:.1f}" for name in names]
        report.row(
            what,
            *cells,
            f"{figures[SDK] - figures[API]:+.1f}",
            f"{ratio:.2f}",
            value=ratio if judged else None,
            at_most=MOST_RATIO,
        )
    return report


def cpu_table(found: Mapping[int, Mapping[str, Found]]) -> Report:
    """The mean of all turns: children are counted in ticks of 10 ms."""
    names = tuple(next(iter(found.values())))
    report = Report("CPU per turn, mean ms", names)
    for kind in ("warm", "cold"):
        for whose, pick in (("IT0's process", "cpu"), ("its children", "children")):
            figures = [
                _mean([ms for at in found.values() for ms in getattr(getattr(at[n], kind), pick)])
                for n in names
            ]
            report.row(f"{kind}: {whose}", *(f"{figure:.0f}" for figure in figures))
    return report


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def memory_table(house: Child, counts: Sequence[int], rest_s: float) -> Report:
    """What live processes hold after two turns each, and what waiting costs."""
    columns = ("PSS together", "PSS each", "of its own each")
    report = Report("live processes of claude_agent_sdk, MB", columns)
    for number in range(max(counts)):
        thread = f"memory{number}"
        asked = {"engine": SDK, "thread": thread, "text": "hello [[text 20]]"}
        house.ask(asked | {"tag": thread, "turns": 2})
        weighed = house.ask({"memory": True})
        if number + 1 in counts:
            pss, own = ([part[index] for part in weighed] for index in (0, 1))
            figures = (sum(pss), _mean(pss), _mean(own))
            report.row(f"{len(weighed)}", *(f"{figure:.0f}" for figure in figures))
    for when in ("at once", "later"):
        _, children = house.ask({"idle_s": rest_s})
        used = f"{children / rest_s / max(counts) * 1000:.1f}"
        report.row(f"CPU each while all wait, ms a second, {when}", used)
    return report


def gateway_table(upstream: Child, place: str, rounds: int) -> Report:
    """What the gateway adds with one client; all of it is in ``bench.gateway``."""
    shape = gateway.Shape(rounds=rounds, requests=30, rate=40, words=20, body_bytes=24 * 1024)
    with (
        Child("bench._gateway", upstream.greeting, place) as way,
        Child("bench._gateway_clients") as clients,
    ):
        return gateway.table(gateway.measure(gateway.Stage(upstream, way, clients), 1, shape), 1)


def main() -> int:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--turns", type=int, default=6, help="warm ones in a round")
    parser.add_argument("--words", type=int, default=60, help="deltas of an answer")
    parser.add_argument("--chunk-ms", type=int, default=2)
    parser.add_argument("--first-byte-ms", type=int, nargs="+", default=[300, 0])
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rest-s", type=float, default=10, help="how long waiting is measured")
    given = parser.parse_args()
    shape = Shape(
        rounds=given.rounds,
        turns=given.turns,
        words=given.words,
        chunk_ms=given.chunk_ms,
        first_byte_ms=tuple(given.first_byte_ms),
        engines=tuple(dict.fromkeys((API, SDK, *given.engines))),
    )
    reports: list[Report] = []
    with tempfile.TemporaryDirectory(prefix="it0-bench-") as place, Child("bench._upstream") as up:
        Path(place).chmod(0o711)  # as root, the processes run as somebody else below it
        with Child("bench._engines", up.greeting, f"{place}/core") as house:
            _conversation(up, house, "begin", API, 0, shape)  # imports, connections
            found = measure(up, house, shape)
            reports += [time_table(by_engine, delay) for delay, by_engine in found.items()]
            reports.append(cpu_table(found))
            reports.append(memory_table(house, given.processes, given.rest_s))
        Path(place, "gateway").mkdir()
        reports.append(gateway_table(up, f"{place}/gateway", max(given.rounds // 2, 1)))
    for report in reports:
        report.show()
    return verdict(*reports)


if __name__ == "__main__":
    sys.exit(main())
