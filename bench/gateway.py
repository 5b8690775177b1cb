"""What the gateway adds to a streaming request, beside the provider asked directly.

One fake provider, one gateway and one process of clients take turns in short rounds: the
provider alone, through the gateway with a meter that does nothing, and with quotas on SQLite,
whose own ``reserve`` is measured and taken off. The CPU time is the gateway's process alone, and
with quotas holds reservation and settlement.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bench._child import Child
from bench._report import Report, median, quantile, verdict

ALONE, GATEWAY, METERED = "provider alone", "gateway, no meter", "gateway, quotas"
METERS = {GATEWAY: "none", METERED: "sqlite"}
_MOST_MS = 2.0
_MOST_CPU_MS = 12.0
"""A quarter of what LiteLLM's proxy takes for the same work: 48 to 60 ms on the same machine."""


@dataclass(slots=True)
class Measured:
    """Of one contestant, over all rounds; milliseconds."""

    first: list[float] = field(default_factory=list)
    """From the request to the first visible text."""
    end: list[float] = field(default_factory=list)
    reserve: list[float] = field(default_factory=list)
    """What the meter took of it."""
    rest: list[float] = field(default_factory=list)
    """To the first visible text, without what the meter took of that very request."""
    rest_end: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    """Of the gateway's whole process for one request, by round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How much work: rounds, requests of each round, and what is asked."""

    rounds: int
    requests: int
    """Of all clients together."""
    rate: float
    """Requests a second, of all clients together."""
    words: int
    body_bytes: int


class Stage:
    """The processes that take part."""

    def __init__(self, upstream: Child, gateway: Child, clients: Child) -> None:
        """Keep them."""
        self._upstream = upstream
        self._gateway = gateway
        self._clients = clients

    def run(self, name: str, count: int, shape: Shape, into: Measured) -> None:
        """One round of one contestant."""
        place: dict[str, Any] = {
            "url": self._upstream.greeting,
            "secrets": ["sk-bench"] * count,
        }
        if name in METERS:
            place = self._gateway.ask({"meter": METERS[name], "clients": count})
        each = max(shape.requests // count, 1)
        done = self._clients.ask(
            place
            | {
                "requests": each,
                "pause_s": count / shape.rate,
                "text": f"hello [[text {shape.words}]]",
                "body_bytes": shape.body_bytes,
            }
        )
        took = [[0.0] * each] * count
        if name in METERS:
            ended = self._gateway.ask({})
            took = ended["took"]
            into.cpu_ms.append(ended["cpu_s"] * 1000 / (each * count))
        for timings, reserves in zip(done, took, strict=True):
            for (first, end), reserve in zip(timings, reserves, strict=True):
                into.first.append(first)
                into.end.append(end)
                into.reserve.append(reserve)
                into.rest.append(first - reserve)
                into.rest_end.append(end - reserve)


def measure(stage: Stage, count: int, shape: Shape) -> dict[str, Measured]:
    """The rounds with so many clients, each beginning with another contestant."""
    names = (ALONE, GATEWAY, METERED)
    found = {name: Measured() for name in names}
    for name in names:
        stage.run(name, count, shape, Measured())  # connections, caches
    for number in range(shape.rounds):
        for offset in range(len(names)):
            name = names[(number + offset) % len(names)]
            stage.run(name, count, shape, found[name])
    return found


def table(found: dict[str, Measured], count: int) -> Report:
    """Milliseconds, and what is added beyond the meter's own time."""
    report = Report(
        f"{count} client{'s' if count > 1 else ''}, ms",
        (ALONE, GATEWAY, METERED, "added, no meter", "added beyond reserve"),
    )
    for what, pick in (("to first visible text", "first"), ("to the end", "end")):
        for label, share in (("median", 0.5), ("p95", 0.95)):
            figures = [quantile(_of(found[name], pick), share) for name in found]
            rest = found[METERED].rest if pick == "first" else found[METERED].rest_end
            added = (figures[1] - figures[0], quantile(rest, share) - figures[0])
            cells = [f"{figure:.2f}" for figure in figures] + [f"{more:+.2f}" for more in added]
            judged = pick == "first" and label == "median"
            value = max(added) if judged else None
            report.row(f"{what}, {label}", *cells, value=value, at_most=_MOST_MS)
    reserve = found[METERED].reserve
    took = f"{median(reserve):.2f} / {quantile(reserve, 0.95):.2f}"
    report.row("Meter.reserve itself, median / p95", "", "", took)
    plain, metered = median(found[GATEWAY].cpu_ms), median(found[METERED].cpu_ms)
    cells = ["", f"{plain:.1f}", f"{metered:.1f}"]
    report.row("CPU of a request", *cells, value=metered, at_most=_MOST_CPU_MS)
    return report


def _of(measured: Measured, pick: str) -> Sequence[float]:
    return measured.first if pick == "first" else measured.end


def main() -> int:
    """Measure with each number of clients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=60, help="in a round, of all clients")
    parser.add_argument("--rate", type=float, default=40, help="requests a second, of all clients")
    parser.add_argument("--words", type=int, default=20, help="deltas of each answer")
    parser.add_argument("--chunk-ms", type=float, default=2)
    parser.add_argument("--body-kb", type=int, default=24)
    given = parser.parse_args()
    shape = Shape(
        rounds=given.rounds,
        requests=given.requests,
        rate=given.rate,
        words=given.words,
        body_bytes=given.body_kb * 1024,
    )
    reports: list[Report] = []
    with (
        tempfile.TemporaryDirectory(prefix="it0-bench-") as place,
        Child("bench._upstream", "--chunk-ms", str(given.chunk_ms)) as upstream,
        Child("bench._gateway", upstream.greeting, place) as gateway,
        Child("bench._gateway_clients") as clients,
    ):
        stage = Stage(upstream, gateway, clients)
        for count in given.clients:
            reports.append(table(measure(stage, count, shape), count))
            reports[-1].show()
    return verdict(*reports)


if __name__ == "__main__":
    sys.exit(main())
