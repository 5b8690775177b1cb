"""Defects that a review found, each as the behaviour that it broke."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import Fenced
from core.messages import Overlap
from core.metering import CallRequest
from core.replies import destination
from core.steps import ToolStep
from core.streams import START, EventId, StreamEvent
from core.tenants import Role, User
from core.turns import MAX_FAILURES, Ending, Outcome, Turn
from storage.conversations import SqlConversations
from storage.database import Database, execute
from storage.deliveries import SqlDeliveries
from storage.leases import SqlLeases
from storage.metering import _reserve
from storage.people import SqlPeople
from storage.postgres import PostgresDatabase
from storage.streams import SqlStreamLog
from storage.turnlog import SqlTurnLog, _absorb
from tests.storage.kit import WORKER, accept, answer, install, message
from tests.storage.places import KINDS, Places, opened


@pytest.fixture(params=KINDS)
async def db(request: pytest.FixtureRequest, places: Places) -> AsyncGenerator[Database]:
    """An empty, migrated database of either kind."""
    async with opened(places.new(request.param, "review")) as database:
        yield database


def _overdue(conn: sa.Connection) -> None:
    execute(conn, "UPDATE turns SET deliver_until = 0 WHERE status = 'done'")


async def test_a_sweep_claims_only_replies_that_it_can_deliver(db: Database) -> None:
    """A platform that this process does not serve keeps its replies, and delays no others."""
    admin = await install(db)
    for number, platform in enumerate(("slack", "web")):
        said = message(admin, number)
        said = replace(said, address=replace(said.address, platform=platform))
        turn = (await accept(db, said)).leased
        assert turn is not None
        await answer(db, turn, deliver=True)
        await db.transaction(_overdue)
    due = await SqlDeliveries(db).claim_undelivered(
        WORKER, platforms=("web", "api"), hold_ms=60_000, limit=5
    )
    assert [reply.to.address.platform for reply in due] == ["web"]
    none: tuple[str, ...] = ()
    rest = SqlDeliveries(db)
    assert await rest.claim_undelivered(WORKER, platforms=none, hold_ms=60_000, limit=5) == ()


async def test_a_claim_of_a_reply_is_renewed_by_its_holder_alone(db: Database) -> None:
    """Nobody else, and nobody after the delivery, can prolong a claim."""
    admin = await install(db)
    leases = SqlLeases(db)
    await leases.beat("w_2", 10_000, ())
    await leases.beat(WORKER, 10_000, ())
    turn = (await accept(db, message(admin, 1))).leased
    assert turn is not None
    await answer(db, turn, deliver=True)
    await db.transaction(_overdue)
    due, to = SqlDeliveries(db), destination(turn)
    (reply,) = await due.claim_undelivered(WORKER, platforms=("api",), hold_ms=0, limit=1)
    assert await due.renew(reply.to, WORKER, 60_000)
    assert await due.claim_undelivered("w_2", platforms=("api",), hold_ms=0, limit=1) == ()
    assert not await due.renew(to, "w_2", 60_000)
    await due.delivered(to, epoch=None, problem="")
    assert not await due.renew(to, WORKER, 60_000)


async def _leased(db: Database, admin: User, number: int = 1) -> Turn:
    """A turn of a new conversation, leased to the worker."""
    turn = (await accept(db, message(admin, number))).leased
    assert turn is not None
    return turn


def _log(db: Database) -> SqlTurnLog:
    return SqlTurnLog(db, b"k" * 32, WORKER)


async def _finish(db: Database, turn: Turn, *events: StreamEvent) -> None:
    ending = Ending(outcome=Outcome.CANCELLED, reply="part", notice="Stopped.")
    await _log(db).finish(turn, ending, events=events, settlements=(), deliver=False)


async def _rows(db: Database, sql: str, **params: str | int) -> list[tuple[object, ...]]:
    def fetch(conn: sa.Connection) -> list[tuple[object, ...]]:
        return [tuple(row) for row in execute(conn, sql, **params)]

    return await db.read(fetch)


@asynccontextmanager
async def _in_flight(db: PostgresDatabase) -> AsyncGenerator[AsyncConnection]:
    """A transaction of another connection that stays open: what it ran commits at the end."""
    async with db.engine.connect() as conn:
        transaction = await conn.begin()
        yield conn
        await transaction.commit()


async def _blocked(db: PostgresDatabase) -> None:
    """Wait until a statement waits for a lock of another transaction."""
    waits = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted"
    for _ in range(2000):
        if await _rows(db, waits) != [(0,)]:
            return
        await asyncio.sleep(0.01)
    pytest.fail("nothing waited for a lock within 20 seconds")


@pytest.fixture
async def pg(places: Places) -> AsyncGenerator[PostgresDatabase]:
    """An empty, migrated PostgreSQL database."""
    async with opened(places.new("postgresql", "review")) as database:
        assert isinstance(database, PostgresDatabase)
        yield database


@pytest.mark.postgres
async def test_a_stop_during_an_absorb_ends_the_absorbed_messages_too(pg: PostgresDatabase) -> None:
    """The cursor moves past messages that joined in a transaction which was still open."""
    admin = await install(pg)
    said = message(admin, 1)
    turn = await _leased(pg, admin)
    steer = replace(said, event_id="api:steer", overlap=Overlap.STEER)
    assert (await accept(pg, steer)).leased is None
    async with _in_flight(pg) as other:
        assert await other.run_sync(_absorb, turn) == (said.text,)
        finishing = asyncio.create_task(_finish(pg, turn))
        await _blocked(pg)
    await finishing
    turns = await _rows(pg, "SELECT status, outcome FROM turns ORDER BY seq")
    assert turns == [("done", "cancelled"), ("done", "steered")]
    assert await _rows(pg, "SELECT done_seq FROM conversations") == [(2,)]
    assert await SqlLeases(pg).claim(WORKER, 5, 5) == ()


@pytest.mark.postgres
async def test_a_reservation_in_flight_does_not_outlive_its_turn(pg: PostgresDatabase) -> None:
    """A call whose reservation commits while the turn ends is settled with it."""
    turn = await _leased(pg, await install(pg))
    async with _in_flight(pg) as other:
        await other.run_sync(_reserve, _call(turn))
        finishing = asyncio.create_task(_finish(pg, turn))
        await _blocked(pg)
    await finishing
    assert await _rows(pg, "SELECT state FROM model_calls") == [("estimated",)]
    with pytest.raises(Fenced):
        await pg.transaction(_reserve, replace(_call(turn), id=f"{turn.id}.1.2"))


def _call(turn: Turn) -> CallRequest:
    return CallRequest(
        id=f"{turn.id}.1.1",
        tenant_id=turn.tenant_id,
        conversation_id=turn.conversation_id,
        turn_id=turn.id,
        user_id=turn.user.id,
        engine="e",
        model="m",
        estimated_input=7,
        max_output=20,
    )


def _event(number: int) -> StreamEvent:
    return StreamEvent(EventId(1, number), "text_delta", '{"text": "x"}')


async def test_nothing_is_written_for_a_turn_that_has_ended(db: Database) -> None:
    """Writes that arrive behind the finish are fenced, though nobody took the lease yet."""
    turn = await _leased(db, await install(db))
    await _finish(db, turn, _event(1), _event(2))
    log, step = _log(db), ToolStep(tool_call_id="x", name="n", output="late")
    with pytest.raises(Fenced):
        await log.record(turn, step)
    with pytest.raises(Fenced):
        await log.save_events(turn, (_event(1),))
    with pytest.raises(Fenced):
        await _finish(db, turn)
    with pytest.raises(Fenced):
        await SqlConversations(db).save_summary(turn, upto_seq=1, text="s", settlement=None)
    assert await _rows(db, "SELECT COUNT(*) FROM turn_steps") == [(0,)]


async def test_a_late_batch_of_events_does_not_cut_its_longer_self(db: Database) -> None:
    """Of two writes of one batch the longer one stays, whichever arrives last."""
    turn = await _leased(db, await install(db))
    log = _log(db)
    for count in (1, 3, 2):
        await log.save_events(turn, tuple(_event(n + 1) for n in range(count)))
    state = await SqlStreamLog(db).read_stream(turn.tenant_id, turn.id, START)
    assert [event.id.number for event in state.events] == [1, 2, 3]


async def _die(db: Database, *workers: str) -> None:
    """The workers stop beating; the next beat of another finds them dead."""

    def expire(conn: sa.Connection) -> None:
        for worker in workers:
            execute(conn, "UPDATE workers SET expires_at = 0 WHERE id = :id", id=worker)

    await db.transaction(expire)


async def _blame(db: Database) -> list[tuple[object, ...]]:
    sql = "SELECT t.thread, t.failures, t.crowded FROM turns t WHERE status = 'queued' ORDER BY 1"
    return await _rows(db, sql)


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
    await _log(db).finish(delivering, ending, events=(), settlements=(), deliver=True)
    for number in (3, 4):
        await accept(db, message(admin, number), worker="w_b")
    await _die(db, "w_a", "w_b")
    assert (await leases.beat("w_c", 10_000, ())).reaped == 4
    assert await _blame(db) == [("1", 1, 0), ("3", 0, 1), ("4", 0, 1)]
    assert await _rows(db, "SELECT 1 FROM conversations WHERE lease_owner IS NOT NULL") == []


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
    turn = await _leased(db, admin)
    await leases.hand_back(turn, settlements=(), failed=True, pause_ms=0)
    (turn,) = await leases.claim(WORKER, 1, 1)
    step = ToolStep(tool_call_id="x", name="n", output="no", is_error=True)
    await _log(db).record(turn, step)
    assert await _rows(db, "SELECT failures FROM turns") == [(1,)]
    await _log(db).record(turn, replace(step, is_error=False))
    assert await _rows(db, "SELECT failures FROM turns") == [(0,)]


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
    left = await _rows(db, "SELECT status, failures FROM turns WHERE id = :id", id=bad.turn_id)
    assert left == [("queued", 1)]
    waits = "SELECT ready_at - updated_at >= 60000 FROM conversations WHERE lease_owner IS NULL"
    assert [bool(row[0]) for row in await _rows(db, waits)] == [True]


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


async def test_a_tenant_alone_may_use_every_slot(db: Database) -> None:
    """The limit of a tenant keeps slots for others who wait; alone it binds nobody."""
    admin, leases = await install(db), SqlLeases(db)
    for number in range(6):
        await accept(db, message(admin, number), worker=None)
    assert len(await leases.claim(WORKER, 4, 2)) == 4


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
