"""The monthly run over 100, 1,000 and 10,000 teams: seconds, memory, and a run that is killed.

Each team is on the Pro plan and went over its allowance, so that each gets an invoice of two
lines, its bookings and its event. The run is a process of its own. Over the most teams it is
also killed in the middle and started again: no invoice may be missing or made twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from bench._child import ROOT
from bench._invoicing import opened
from bench._report import Report, verdict
from billing.periods import Period, month_of
from storage.billing_accounts import account
from storage.database import execute
from storage.migrate import migrate_postgres, migrate_sqlite
from storage.plan_versions import seed, versions_by_id
from storage.postgres import PostgresDatabase
from storage.quota import set_limits
from storage.rows import integer
from storage.subscription_state import begin, limits_for
from tests.support.postgres import PostgresServer

NOVEMBER = month_of(int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 1000)
AT_MS = NOVEMBER.end_ms + 3_600_000
BATCH = 250
USED = 1_234_567


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run, from start to end."""

    teams: int
    seconds: float
    cpu: float
    grown_mb: float
    billed: int
    failed: int


def furnish(conn: sa.Connection, first: int, last: int) -> None:
    """Teams on the Pro plan whose month is over."""
    seed(conn)
    pro = versions_by_id(conn)["pro-1"]
    period = Period(NOVEMBER.start_ms, NOVEMBER.end_ms)
    for number in range(first, last):
        tenant = f"ten_{number:06}"
        account(conn, tenant, NOVEMBER.start_ms)
        begin(conn, tenant, pro, "USD", period, 0)
        limits = limits_for(conn, tenant, NOVEMBER, NOVEMBER.start_ms)
        set_limits(conn, tenant, NOVEMBER, limits)
    execute(conn, "UPDATE quota_counters SET used = :used WHERE used = 0", used=USED)


async def prepared(where: str, teams: int) -> None:
    """A migrated database with so many teams."""
    if not where.startswith("postgresql"):
        migrate_sqlite(Path(where))
    db = opened(where)
    if isinstance(db, PostgresDatabase):
        await migrate_postgres(db)
    for first in range(0, teams, BATCH):
        await db.transaction(furnish, first, min(first + BATCH, teams))
    await db.close()


def billed(where: str, teams: int) -> Measured:
    """Bill them in a process."""
    with started(where) as process:
        assert process.stdout is not None
        found = json.loads(process.stdout.read())
    return Measured(teams=teams, **found)


@contextmanager
def started(where: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs the bills."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench._invoicing", where, str(AT_MS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()


def killed(where: str, teams: int) -> int:
    """Kill a run when it has done half; returns how many invoices there were then."""
    with started(where):
        while (done := asyncio.run(counted(where))[0]) < teams // 2:
            time.sleep(0.2)
    return done


async def counted(where: str) -> tuple[int, int, int, int]:
    """Invoices, teams with one, the last number, and bookings that do not sum to zero."""
    db = opened(where)
    try:
        return await db.read(_counts)
    finally:
        await db.close()


def _counts(conn: sa.Connection) -> tuple[int, int, int, int]:
    odd = "GROUP BY transaction_id, currency HAVING SUM(amount) <> 0"
    row = execute(
        conn,
        "SELECT (SELECT COUNT(*) FROM invoices),"
        " (SELECT COUNT(DISTINCT tenant_id) FROM invoices),"
        " (SELECT COALESCE(MAX(last), 0) FROM invoice_counters),"
        f" (SELECT COUNT(*) FROM (SELECT transaction_id FROM ledger_entries {odd}) wrong)",
    ).one()
    return integer(row[0]), integer(row[1]), integer(row[2]), integer(row[3])


@dataclass(slots=True)
class Places:
    """Makes empty databases of one kind."""

    kind: str
    root: Path
    server: PostgresServer | None

    def new(self, name: str) -> str:
        """A path or URL."""
        return self.server.create_database() if self.server else str(self.root / f"{name}.db")


def growth(places: Places, sizes: list[int]) -> Report:
    """The same run over more and more teams."""
    report = Report(
        f"the monthly run, {places.kind}",
        ("seconds", "ms a team", "CPU ms a team", "memory grew by, MB"),
    )
    runs = []
    for teams in sizes:
        where = places.new(f"t{teams}")
        asyncio.run(prepared(where, teams))
        run = billed(where, teams)
        runs.append(run)
        report.row(
            f"{teams:,} teams",
            f"{run.seconds:.1f}",
            f"{run.seconds * 1000 / teams:.2f}",
            f"{run.cpu * 1000 / teams:.2f}",
            f"{run.grown_mb:.1f}",
            value=teams - run.billed + run.failed,
            at_most=0,
            bound="all billed",
        )
    few, many = runs[0], runs[-1]
    ratio = (many.cpu / many.teams) / (few.cpu / few.teams)
    what = f"CPU a team, {many.teams:,} against {few.teams:,} teams"
    report.row(what, f"{ratio:.2f}", value=ratio, at_most=2.0)
    more = many.grown_mb - few.grown_mb
    what = f"memory, {many.teams:,} against {few.teams:,} teams"
    report.row(what, f"{more:+.1f} MB", value=more, at_most=16)
    return report


def restarted(places: Places, teams: int) -> Report:
    """A run that is killed in the middle, and the next one."""
    where = places.new("killed")
    asyncio.run(prepared(where, teams))
    before = killed(where, teams)
    billed(where, teams)
    invoices, with_one, last, odd = asyncio.run(counted(where))
    report = Report(f"killed after {before:,} of {teams:,} teams, {places.kind}", ("figure",))
    wrong = abs(invoices - teams) + abs(with_one - teams)
    report.row("invoices missing or twice", str(wrong), value=wrong, at_most=0)
    gaps = last - invoices
    report.row("numbers left out", str(gaps), value=gaps, at_most=0)
    report.row("bookings that do not sum to zero", str(odd), value=odd, at_most=0)
    return report


def main() -> int:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teams", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--postgres", action="store_true", help="besides SQLite")
    given = parser.parse_args()
    reports: list[Report] = []
    with tempfile.TemporaryDirectory(prefix="it0-bench-") as place, ExitStack() as stack:
        kinds = [Places("SQLite", Path(place), None)]
        if given.postgres:
            server = stack.enter_context(PostgresServer(fsync=True))
            kinds.append(Places("PostgreSQL", Path(place), server))
        for places in kinds:
            reports += [growth(places, given.teams), restarted(places, given.teams[-1])]
    for report in reports:
        report.show()
    return verdict(*reports)


if __name__ == "__main__":
    sys.exit(main())
