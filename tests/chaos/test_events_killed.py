"""kill -9 of the writer, the relay and the consumer of events: nothing is lost or counted twice."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from billing.events import InProcessBus
from core.clock import SystemClock
from storage.consumers import consumers
from storage.database import Database
from storage.metering import settle_lost
from storage.outbox import drained
from storage.reconcile import reconcile
from tests.chaos.events_worker import Spool, opened, relay_of
from tests.storage.kit import install, postgres_database, sqlite_database
from tests.storage.racing import leased, rows
from tests.support.postgres import PostgresServer
from tests.support.processes import Process

KILLS = 21
ROOT = Path(__file__).parents[2]
FAR_MS = 10**14
UNSENT = "SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL"


def play(roles: str, arguments: Sequence[str]) -> Process:
    """Start a process with these roles and wait until it works."""
    command = [sys.executable, "-m", "tests.chaos.events_worker", roles, *arguments]
    process = Process(command, cwd=ROOT)
    process.wait_for("^ready")
    return process


def end(process: Process) -> None:
    """Kill -9, and nothing else; then let go of its output."""
    process.kill()
    process.stop()


def kill_at_random(groups: Sequence[str], arguments: Sequence[str], seed: int) -> None:
    """Run a process a group; kill them in turn, each at a random moment of its work."""
    dice = random.Random(seed)  # a schedule, no secret
    playing = {roles: play(roles, arguments) for roles in groups}
    try:
        for number in range(KILLS):
            roles = groups[number % len(groups)]
            time.sleep(dice.random() * 0.4)
            assert playing[roles].returncode is None, playing[roles].output()
            end(playing[roles])
            playing[roles] = play(roles, arguments)
    finally:
        for process in playing.values():
            end(process)


async def prepared(db: Database) -> tuple[str, str]:
    """An installation with a running turn; its tenant and turn."""
    admin = await install(db)
    turn = await leased(db, admin)
    return admin.tenant_id, turn.id


async def settle_down(db: Database, spool: Spool, turn: str) -> None:
    """What the killed left behind is finished by processes that live."""
    await db.transaction(settle_lost, turn)
    bus = InProcessBus(consumers(db, SystemClock()))
    relay = relay_of(db, bus)
    async with asyncio.timeout(60):
        # Claims of the dead run out; PostgreSQL may still carry out their last words.
        while await rows(db, UNSENT) != [(0,)]:
            if not await relay.step():
                await asyncio.sleep(0.1)
                await db.transaction(settle_lost, turn)
    while await spool.drain(bus):
        pass


async def verify(db: Database, tenant: str) -> dict[str, int]:
    """Aggregates and counters equal the records to the token; each effect is there once."""
    assert await reconcile(db, SystemClock().now_ms()) == ()
    assert await db.read(drained, FAR_MS, tenant)
    figures = (
        "SELECT CAST(SUM({calls}) AS BIGINT), CAST(SUM(input_tokens) AS BIGINT),"
        " CAST(SUM(output_tokens) AS BIGINT), CAST(SUM(cache_read_tokens) AS BIGINT),"
        " CAST(SUM(cache_write_5m_tokens) AS BIGINT), CAST(SUM(cache_write_1h_tokens) AS BIGINT),"
        " CAST(SUM(COALESCE(cost_pico, 0)) AS BIGINT) FROM {table}"
    )
    records = await rows(db, figures.format(calls="1", table="model_calls"))
    assert await rows(db, figures.format(calls="calls", table="usage_days")) == records
    (calls,) = (await rows(db, "SELECT COUNT(*) FROM model_calls WHERE state = 'reserved'"))[0]
    assert calls == 0
    told = await rows(db, "SELECT COUNT(*) FROM turns WHERE event_id LIKE 'notice/changed/%'")
    changes = "SELECT COUNT(*) FROM outbox WHERE kind = 'subscription.changed'"
    assert told == await rows(db, changes)
    numbers = "SELECT COUNT(*), MAX(seq), MAX(c.last_seq) FROM turns, conversations c"
    count, highest, last = (await rows(db, numbers))[0]
    assert count == highest == last
    return {"calls": int(str(records[0][0])), "told": int(str(told[0][0]))}


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.timeout(300)
async def test_three_processes_on_postgresql(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """Each dies seven times; between relay and consumer stands a queue that repeats itself."""
    url = postgres_server.create_database()
    spool = Spool(tmp_path)
    try:
        async with postgres_database(url) as db:
            tenant, turn = await prepared(db)
            arguments = (url, str(tmp_path), tenant, turn)
            kill_at_random(("writer", "relay", "consumer"), arguments, seed=5)
            await settle_down(db, spool, turn)
            done = await verify(db, tenant)
            assert done["calls"] > KILLS
            assert done["told"] > 0
    finally:
        postgres_server.drop_database(url)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_one_process_on_sqlite(tmp_path: Path) -> None:
    """Writer, relay and consumer share the process, and die together."""
    path = tmp_path / "data" / "it0.db"
    spool = Spool(tmp_path)
    async with sqlite_database(path) as db:
        tenant, turn = await prepared(db)
    kill_at_random(("writer,relay,consumer",), (str(path), str(tmp_path), tenant, turn), seed=6)
    async with opened(str(path)) as db:
        await settle_down(db, spool, turn)
        done = await verify(db, tenant)
    assert done["calls"] > KILLS
    assert done["told"] > 0
