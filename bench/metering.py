"""What admitting and settling a model call costs: reserve and settle, on both databases.

Clients make pairs of a reservation and a settlement as fast as they are answered, spread over
twenty tenants, then all of them on one. PostgreSQL runs with fsync on. Beside every row stands
the CPU of this process for a pair, and of a fixed loop: the machine may be busy.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from itertools import count as count_from
from pathlib import Path

from bench._report import Report, median, quantile, verdict
from billing.periods import month_of
from core.clock import SystemClock
from core.metering import Settlement, Usage
from storage.database import Database
from storage.metering import settle
from storage.migrate import migrate_postgres, migrate_sqlite
from storage.postgres import PostgresDatabase
from storage.sqlite import SqliteDatabase
from tests.storage.quota_kit import FAR, Team, team
from tests.support.postgres import PostgresServer

TENANTS = 20
COLUMNS = ("reserve p50", "p95", "settle p50", "p95", "pairs/s", "CPU ms/pair", "loop s")
_LOOP = 10**6


@dataclass(slots=True)
class Measured:
    """One shape over all rounds; milliseconds, pairs a second, CPU milliseconds a pair."""

    reserve: list[float] = field(default_factory=list)
    settle: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    loop: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How many clients, on how many tenants."""

    clients: int
    tenants: int

    def __str__(self) -> str:
        tenants = "one tenant" if self.tenants == 1 else f"{self.tenants} tenants"
        return f"{self.clients} client{'s' * (self.clients > 1)}, {tenants}"


class Stage:
    """Teams whose turns run, on one database."""

    def __init__(self, db: Database, teams: list[Team]) -> None:
        """Wire them."""
        self.db = db
        self.teams = teams
        self._numbers = count_from(1)

    async def round(self, shape: Shape, seconds: float, found: Measured) -> None:
        """All clients at once, for so long."""
        found.loop.append(_loop_s())
        start, cpu = time.monotonic(), time.process_time()
        until = start + seconds
        pairs = await asyncio.gather(
            *(self._client(number, shape, until, found) for number in range(shape.clients))
        )
        found.rate.append(sum(pairs) / (time.monotonic() - start))
        found.cpu.append((time.process_time() - cpu) * 1000 / max(sum(pairs), 1))

    async def _client(self, number: int, shape: Shape, until: float, found: Measured) -> int:
        ours, made = self.teams[number % shape.tenants], 0
        clock = SystemClock()
        while time.monotonic() < until:
            call = ours.call(number + 1, next(self._numbers))
            start = time.monotonic()
            await ours.admitted(call, at_ms=clock.now_ms())
            held = time.monotonic()
            usage = Usage(input_tokens=900, output_tokens=300)
            await self.db.transaction(settle, Settlement(call_id=call.id, usage=usage))
            found.reserve.append((held - start) * 1000)
            found.settle.append((time.monotonic() - held) * 1000)
            made += 1
        return made


def _loop_s() -> float:
    """CPU seconds of a fixed loop: how fast the machine is just now."""
    start = time.process_time()
    for _ in range(_LOOP):
        pass
    return time.process_time() - start


@contextlib.asynccontextmanager
async def stage(where: Path | str, clients: int) -> AsyncGenerator[Stage]:
    """A migrated database with teams of so many running turns each."""
    db: SqliteDatabase | PostgresDatabase
    if isinstance(where, Path):
        migrate_sqlite(where)
        db = SqliteDatabase(where, SystemClock())
    else:
        db = PostgresDatabase(where)
        await migrate_postgres(db)
    try:
        teams = [await team(db, f"ten_{n}", turns=clients) for n in range(TENANTS)]
        for ours in teams:
            await ours.limit(FAR, FAR, month=month_of(SystemClock().now_ms()))
        yield Stage(db, teams)
    finally:
        await db.close()


async def measure(
    places: Mapping[str, Path | str], shapes: list[Shape], *, rounds: int, seconds: float
) -> dict[str, dict[Shape, Measured]]:
    """Every shape on every database, in turns, so that a noisy minute hits all of them."""
    most = max(shape.clients for shape in shapes)
    found = {name: {shape: Measured() for shape in shapes} for name in places}
    async with contextlib.AsyncExitStack() as stack:
        stages = {
            name: await stack.enter_async_context(stage(where, most))
            for name, where in places.items()
        }
        for _ in range(rounds):
            for shape in shapes:
                for name, on in stages.items():
                    await on.round(shape, seconds, found[name][shape])
    return found


def table(name: str, found: Mapping[Shape, Measured]) -> Report:
    """Medians and 95th percentiles; what is judged is the CPU under load."""
    report = Report(f"reserve and settle on {name}, ms", COLUMNS)
    for shape, measured in found.items():
        figures = [
            *(f"{quantile(measured.reserve, share):.1f}" for share in (0.5, 0.95)),
            *(f"{quantile(measured.settle, share):.1f}" for share in (0.5, 0.95)),
            f"{median(measured.rate):.0f}",
            f"{median(measured.cpu):.2f}",
            f"{median(measured.loop):.3f}",
        ]
        judged = shape.clients > 1 and shape.tenants > 1
        value = median(measured.cpu) if judged else None
        report.row(str(shape), *figures, value=value, at_most=6)
    return report


def main() -> int:
    """Measure both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of a round")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 10, 50])
    given = parser.parse_args()
    shapes = [Shape(clients=clients, tenants=TENANTS) for clients in given.clients]
    shapes.append(Shape(clients=max(given.clients), tenants=1))
    with (
        tempfile.TemporaryDirectory(prefix="it0-bench-") as work,
        PostgresServer(fsync=True) as server,
    ):
        places: dict[str, Path | str] = {"SQLite": Path(work) / "it0.db"}
        places["PostgreSQL"] = server.create_database()
        measured = asyncio.run(measure(places, shapes, rounds=given.rounds, seconds=given.seconds))
    reports = [table(name, found) for name, found in measured.items()]
    for report in reports:
        report.show()
    return verdict(*reports)


if __name__ == "__main__":
    sys.exit(main())
