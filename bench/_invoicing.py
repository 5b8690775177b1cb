"""A process that bills everything that is due, and measures itself."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import structlog

from billing.invoices import Party
from core.clock import SystemClock
from storage.billing_run import BillingRun
from storage.database import Database
from storage.postgres import PostgresDatabase
from storage.sqlite import SqliteDatabase


def opened(where: str) -> Database:
    """The database at a URL or path."""
    if where.startswith("postgresql"):
        return PostgresDatabase(where, size=2)
    return SqliteDatabase(Path(where), SystemClock())


def most_kb() -> int:
    """The most memory that this program held so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError


async def bill(where: str, at_ms: int) -> dict[str, float]:
    """One run; seconds, CPU seconds, and the megabytes that it added to the process."""
    db = opened(where)
    run = BillingRun(db, SystemClock(), Party(name="Bench"))
    await run.run(0)  # connects and prepares; nothing is due in 1970
    before = most_kb()
    wall, cpu = time.perf_counter(), time.process_time()
    report = await run.run(at_ms)
    done = {
        "seconds": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "grown_mb": (most_kb() - before) / 1024,
        "billed": report.billed,
        "failed": report.failed,
    }
    await db.close()
    return done


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    print("ready", flush=True)
    print(json.dumps(asyncio.run(bill(sys.argv[1], int(sys.argv[2])))), flush=True)
