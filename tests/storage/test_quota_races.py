"""Many at once: the room of two admits two, from however many tasks and processes."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import AsyncExitStack
from functools import partial

import pytest
import sqlalchemy as sa

from billing.desk import Budget
from billing.meter import Admitted
from billing.quota import LEASE_MS
from core.metering import Settlement, Usage
from storage import budgets
from storage.admission import reserve, sweep
from storage.database import Database, execute
from storage.metering import settle
from storage.postgres import PostgresDatabase
from storage.subscription_state import current
from tests.storage.payment_places import db, migrated_file, migrated_url, place
from tests.storage.quota_kit import NOV, Team, team
from tests.storage.racing import blocked, in_flight, rows

__all__ = ["db", "migrated_file", "migrated_url", "place"]

ROOM_OF_TWO = 4_000 + 1_255
"""Tokens: two calls, and not quite enough for the smallest third one."""
OPEN = "SELECT COUNT(*) FROM model_calls"
_PROCESSES = 4


async def admitted(ours: Team, turns: range) -> int:
    """How many of the calls are, when all ask at once."""
    answers = await asyncio.gather(*(ours.reserve(ours.call(turn)) for turn in turns))
    return sum(isinstance(answer, Admitted) for answer in answers)


async def test_the_room_of_two_admits_two_of_two_hundred(db: Database) -> None:
    """From many tasks of one process; what was refused left nothing."""
    ours = await team(db, turns=200)
    await ours.limit(ROOM_OF_TWO, ROOM_OF_TWO)
    assert await admitted(ours, range(1, 201)) == 2
    assert await ours.counter() == (0, 4_000, 0)
    assert await rows(db, OPEN) == [(2,)]


async def test_a_month_that_has_no_counter_yet_has_one_limit(db: Database) -> None:
    """All first calls of an unknown team at once share what its plan includes."""
    ours = await team(db, turns=60)
    assert await admitted(ours, range(1, 61)) == 50
    assert await ours.counter() == (0, 100_000, 0)


async def test_the_budget_of_two_admits_two(db: Database) -> None:
    """Whose counter is made by the first of them."""
    ours = await team(db, turns=30)
    await ours.limit(10**9, 10**9)
    budget = Budget(scope="user", subject="", tokens=ROOM_OF_TWO)
    await db.transaction(budgets.set_budget, ours.id, budget, "usr", NOV)
    assert await admitted(ours, range(1, 31)) == 2
    assert await rows(db, "SELECT used, reserved FROM budget_counters") == [(0, 4_000)]


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
async def test_four_processes_share_the_room_of_two(place: str, db: PostgresDatabase) -> None:
    """Two hundred calls from four processes at once: two are admitted."""
    ours = await team(db, turns=200)
    await ours.limit(ROOM_OF_TWO, ROOM_OF_TWO)
    async with AsyncExitStack() as stack:
        racers = [await _racer(stack, place, ours, number) for number in range(_PROCESSES)]
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write(b"go\n")
        counts = [int((await _line(racer)).decode()) for racer in racers]
    assert sum(counts) == 2
    assert await ours.counter() == (0, 4_000, 0)
    assert await rows(db, OPEN) == [(2,)]


async def _racer(stack: AsyncExitStack, url: str, ours: Team, number: int) -> Process:
    share = ours.turns // _PROCESSES
    first, last = number * share + 1, (number + 1) * share
    racer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.storage.quota_racer", url, ours.id, str(first), str(last)),
        stdin=PIPE,
        stdout=PIPE,
    )
    stack.push_async_callback(racer.wait)
    assert await _line(racer) == b"ready\n"
    return racer


async def _line(racer: Process) -> bytes:
    assert racer.stdout is not None
    return await asyncio.wait_for(racer.stdout.readline(), 60)


async def test_settlements_sweeps_and_calls_at_once_agree(db: Database) -> None:
    """Whatever order they come in: what is used is the calls' sum, and nothing stays held."""
    ours = await team(db, turns=40)
    await ours.limit(10**9, 10**9)
    await asyncio.gather(*(ours.admitted(ours.call(turn)) for turn in range(1, 21)))
    await asyncio.gather(
        *(ours.settle(ours.call(turn), turn) for turn in range(1, 21)),
        *(sweep(db, NOV + LEASE_MS + 1) for _ in range(4)),
        *(ours.use(ours.call(turn), turn) for turn in range(21, 41)),
        *(ours.settle(ours.call(turn), turn) for turn in range(1, 21)),
    )
    assert await ours.counter() == (820, 0, 0)
    assert await rows(db, "SELECT COUNT(DISTINCT position), MAX(position) FROM model_calls") == [
        (40, 820)
    ]


@pytest.mark.postgres
@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
async def test_a_settlement_and_the_sweep_give_a_hold_back_once(db: PostgresDatabase) -> None:
    """A sweep passes over a call that is being settled."""
    ours = await team(db)
    await ours.limit(9_000, 9_000)
    await ours.admitted(ours.call())
    settlement = Settlement(call_id=ours.call().id, usage=Usage(input_tokens=5))
    async with in_flight(db) as conn:
        await conn.run_sync(settle, settlement)
        assert await sweep(db, NOV + LEASE_MS + 1) == 0
    assert await ours.counter() == (5, 0, 0)


@pytest.mark.postgres
@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
async def test_limits_of_a_plan_that_changes_meanwhile_are_the_new_ones(
    db: PostgresDatabase,
) -> None:
    """The month's first call waits for the change, and does not write the old limits after it."""
    ours = await team(db)
    await db.transaction(current, ours.id, NOV)

    def change(conn: sa.Connection) -> None:
        current(conn, ours.id, NOV, lock="{row}")
        execute(conn, "UPDATE plan_segments SET version_id = 'pro-1', starts_at = 0")
        execute(conn, "UPDATE subscriptions SET version_id = 'pro-1'")

    async with in_flight(db) as conn:
        await conn.run_sync(change)
        asking = asyncio.create_task(ours.reserve(ours.call()))
        await blocked(db)
    await asking
    assert await rows(db, "SELECT soft, hard FROM quota_counters") == [(1_000_000, 1_500_000)]


@pytest.mark.postgres
@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
async def test_a_settlement_is_on_the_counter_that_is_just_made(db: PostgresDatabase) -> None:
    """The first call under the team's first budget commits while another call is settled."""
    ours = await team(db, turns=2)
    await ours.limit(10**9, 10**9)
    await ours.admitted(ours.call(1))
    budget = Budget(scope="user", subject="", tokens=10**6)
    await db.transaction(budgets.set_budget, ours.id, budget, "usr", NOV)
    async with in_flight(db) as conn:
        await conn.run_sync(partial(reserve, overage=True), ours.call(2), NOV)
        settling = asyncio.create_task(ours.settle(ours.call(1), 33))
        await blocked(db)
    await settling
    assert await rows(db, "SELECT used, reserved FROM budget_counters") == [(33, 2_000)]
