"""Claims, limits, and who is to blame when a worker dies."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import sqlalchemy as sa

from core.inbox import Accepted
from core.steps import ToolStep
from core.streams import START
from core.tenants import Role, User
from core.turns import MAX_FAILURES, Ending, Outcome
from storage.database import Database, execute
from storage.deliveries import SqlDeliveries
from storage.inbox import _accept
from storage.leases import SqlLeases
from storage.people import SqlPeople
from storage.streams import SqlStreamLog
from tests.storage.kit import WORKER, accept, install, message
from tests.storage.racing import (
    leased,
    offer_of,
    rows,
    turn_log,
)


async def _die(db: Database, *workers: str) -> None:
    """The workers stop beating; the next beat of another finds them dead."""

    def expire(conn: sa.Connection) -> None:
        for worker in workers:
            execute(conn, "UPDATE workers SET expires_at = 0 WHERE id = :id", id=worker)

    await db.transaction(expire)


async def _blame(db: Database) -> list[tuple[object, ...]]:
    sql = "SELECT t.thread, t.failures, t.crowded FROM turns t WHERE status = 'queued' ORDER BY 1"
    return await rows(db, sql)


async def test_a_death_is_blamed_on_what_ran_in_that_worker(db: Database) -> None:
    """A turn that ran alone is to blame, whoever else died, and whatever was being delivered."""
    admin, leases = await install(db), SqlLeases(db)
    for worker in ("w_a", "w_b", "w_c"):
        await leases.beat(worker, 10_000, ())
    alone, finished = message(admin, 1), message(admin, 2)
    await accept(db, alone, worker="w_a")
    delivering = (await accept(db, finished, worker="w_a")).leased
    assert delivering is not None
    ending = Ending(outcome=Outcome.ANSWERED, reply="r")
    await turn_log(db).finish(delivering, ending, events=(), settlements=(), deliver=True)
    for number in (3, 4):
        await accept(db, message(admin, number), worker="w_b")
    await _die(db, "w_a", "w_b")
    assert (await leases.beat("w_c", 10_000, ())).reaped == 4
    assert await _blame(db) == [("1", 1, 0), ("3", 0, 1), ("4", 0, 1)]
    assert await rows(db, "SELECT 1 FROM conversations WHERE lease_owner IS NOT NULL") == []


async def test_a_lease_that_got_lost_is_no_crash(db: Database) -> None:
    """A lease whose commit went unheard comes back without a failure of its turn."""
    admin, leases = await install(db), SqlLeases(db)
    await accept(db, message(admin, 1))
    await leases.beat(WORKER, 10_000, ())
    assert (await leases.beat(WORKER, 10_000, ())).reaped == 1
    assert await _blame(db) == [("1", 0, 1)]


async def test_only_a_tool_that_ran_clears_what_a_turn_is_blamed_for(db: Database) -> None:
    """A refused or failed tool call is no progress."""
    admin, leases = await install(db), SqlLeases(db)
    turn = await leased(db, admin)
    await leases.hand_back(turn, settlements=(), failed=True, pause_ms=0)
    (turn,) = await leases.claim(WORKER, 1, 1)
    step = ToolStep(tool_call_id="x", name="n", output="no", is_error=True)
    await turn_log(db).record(turn, step)
    assert await rows(db, "SELECT failures FROM turns") == [(1,)]
    await turn_log(db).record(turn, replace(step, is_error=False))
    assert await rows(db, "SELECT failures FROM turns") == [(0,)]


async def _spoil(db: Database, turn_id: str) -> None:
    await db.transaction(
        lambda c: execute(c, "UPDATE turns SET kind = 'newer' WHERE id = :id", id=turn_id)
    )


async def _ready(db: Database) -> None:
    await db.transaction(lambda c: execute(c, "UPDATE conversations SET ready_at = 0"))


async def test_an_unreadable_turn_does_not_stop_the_queue(db: Database) -> None:
    """The other conversations are claimed; the one that cannot be read waits a minute."""
    admin, leases = await install(db), SqlLeases(db)
    bad = await accept(db, message(admin, 1), worker=None)
    good = await accept(db, message(admin, 2), worker=None)
    await _spoil(db, bad.turn_id)
    assert [turn.id for turn in await leases.claim(WORKER, 5, 5)] == [good.turn_id]
    assert await leases.claim(WORKER, 5, 5) == ()
    left = await rows(db, "SELECT status, failures FROM turns WHERE id = :id", id=bad.turn_id)
    assert left == [("queued", 1)]
    waits = "SELECT ready_at - updated_at >= 60000 FROM conversations WHERE lease_owner IS NULL"
    assert [bool(row[0]) for row in await rows(db, waits)] == [True]


async def test_an_unreadable_turn_is_given_up_with_a_notice(db: Database) -> None:
    """After some tries it ends as failed, says so, and the conversation goes on behind it."""
    admin, leases = await install(db), SqlLeases(db)
    said = message(admin, 1)
    bad = await accept(db, said, worker=None)
    following = await accept(db, replace(said, event_id="api:next"), worker=None)
    await _spoil(db, bad.turn_id)
    for _ in range(MAX_FAILURES):
        assert await leases.claim(WORKER, 5, 5) == ()
        await _ready(db)
    assert [turn.id for turn in await leases.claim(WORKER, 5, 5)] == [following.turn_id]
    state = await SqlStreamLog(db).read_stream(bad.tenant_id, bad.turn_id, START)
    assert state.final is not None
    assert "could not be read back" in json.loads(state.final.data)["notice"]
    (due,) = await SqlDeliveries(db).claim_undelivered(
        WORKER, platforms=("api",), hold_ms=1000, limit=5
    )
    assert "could not be read back" in due.text


async def test_a_message_that_is_gone_does_not_block_its_conversation(db: Database) -> None:
    """A cursor that points at no turn moves on."""
    admin, leases = await install(db), SqlLeases(db)
    said = message(admin, 1)
    gone = await accept(db, said, worker=None)
    following = await accept(db, replace(said, event_id="api:next"), worker=None)
    await db.transaction(lambda c: execute(c, "DELETE FROM turns WHERE id = :id", id=gone.turn_id))
    assert await leases.claim(WORKER, 5, 5) == ()
    assert [turn.id for turn in await leases.claim(WORKER, 5, 5)] == [following.turn_id]


async def test_a_clock_that_was_set_back_blocks_no_conversation(db: Database) -> None:
    """A ready time that no pause explains is one of another clock; a near one is kept."""
    admin, leases = await install(db), SqlLeases(db)
    for number, ahead in ((1, 3_600_000), (2, 60_000)):
        accepted = await accept(db, message(admin, number), worker=None)

        def postpone(conn: sa.Connection, cid: str, ms: int) -> None:
            sql = "UPDATE conversations SET ready_at = {now} + :ms WHERE id = :cid"
            execute(conn, sql, cid=cid, ms=ms)

        await db.transaction(postpone, accepted.conversation_id, ahead)
    assert [turn.address.thread for turn in await leases.claim(WORKER, 5, 5)] == ["1"]


async def test_a_tenant_alone_may_use_every_slot_but_one(db: Database) -> None:
    """Its limit keeps slots for others who wait; alone it leaves one, whatever its turns do."""
    admin, leases = await install(db), SqlLeases(db)
    for number in range(6):
        await accept(db, message(admin, number), worker=None)
    assert len(await leases.claim(WORKER, 4, 2)) == 3
    assert await leases.claim(WORKER, 1, 2) == ()


async def test_a_tenant_limit_counts_this_workers_slots_alone(db: Database) -> None:
    """What a tenant runs elsewhere lowers its rank, but not what it may run here."""
    admin, leases = await install(db), SqlLeases(db)
    tenant = await SqlPeople(db).add_tenant("B")
    other = await SqlPeople(db).add_user(tenant.id, email="b@b.org", name="b", role=Role.ADMIN)
    assert isinstance(other, User)
    for worker in ("w_a", "w_b"):
        await leases.beat(worker, 10_000, ())
    for number in range(4):
        await accept(db, message(admin, number), worker="w_a")
    for number in range(10, 14):
        await accept(db, message(admin, number), worker=None)
    await accept(db, message(other, 20), worker=None)
    claimed = await leases.claim("w_b", 10, 2)
    assert sorted(turn.address.thread for turn in claimed) == ["10", "11", "20"]


async def test_a_burst_takes_no_more_slots_than_a_tenant_may(db: Database) -> None:
    """The limit is counted where the lease is taken; what is over it waits in the queue."""
    admin = await install(db)

    async def say(number: int) -> bool:
        accepted = await db.transaction(_accept, message(admin, number), offer_of(worker=WORKER))
        assert isinstance(accepted, Accepted)
        return accepted.leased is not None

    if db.exclusive:
        leased = await asyncio.gather(*(say(number) for number in range(8)))
    else:
        leased = [await say(number) for number in range(8)]
    assert leased.count(True) == 4
    statuses = await rows(db, "SELECT status, COUNT(*) FROM turns GROUP BY status ORDER BY 1")
    assert statuses == [("queued", 4), ("running", 4)]
