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

from core.conversations import Memory
from core.errors import Fenced
from core.inbox import Accepted
from core.messages import Attachment, InboundMessage, Overlap
from core.metering import CallRequest
from core.replies import destination
from core.steps import ToolStep
from core.streams import START, EventId, StreamEvent
from core.tenants import Role, User
from core.turns import MAX_FAILURES, Ending, Outcome, Turn, TurnKind
from storage.conversations import SqlConversations
from storage.database import Database, execute
from storage.deliveries import SqlDeliveries
from storage.erasure import erase
from storage.files import reference
from storage.inbox import SqlInbox, _accept, _Offer
from storage.leases import SqlLeases
from storage.metering import _reserve
from storage.operations import SqlOperations
from storage.people import SqlPeople
from storage.places import NO_CONVERSATION
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


async def _turns(db: Database) -> list[tuple[object, ...]]:
    sql = (
        "SELECT t.text, t.status, c.deleted_at IS NULL FROM turns t JOIN conversations c"
        " ON c.id = t.conversation_id ORDER BY t.created_at, t.id"
    )
    return [(row[0], row[1], bool(row[2])) for row in await _rows(db, sql)]


def _erase(conn: sa.Connection, turn: Turn) -> str | None:
    return erase(conn, turn.tenant_id, turn.user.id, turn.conversation_id, running=None)


def _offer(worker: str | None = None) -> _Offer:
    return _Offer(kind=TurnKind.MESSAGE, title="t", worker=worker, tenant_limit=4, files=())


def _drop_result(conn: sa.Connection, said: InboundMessage, offer: _Offer) -> None:
    _accept(conn, said, offer)


async def _answered(db: Database, said: InboundMessage) -> Turn:
    turn = (await accept(db, said)).leased
    assert turn is not None
    await answer(db, turn)
    return turn


@pytest.mark.postgres
async def test_a_message_that_is_accepted_first_keeps_its_conversation(
    pg: PostgresDatabase,
) -> None:
    """An erasure waits for a message in flight, and then refuses because of it."""
    said = message(await install(pg), 1)
    turn = await _answered(pg, said)
    again = replace(said, event_id="api:2", text="restart nginx")
    async with _in_flight(pg) as other:
        await other.run_sync(_accept, again, _offer())
        erasing = asyncio.create_task(pg.transaction(_erase, turn))
        await _blocked(pg)
    assert "still working" in str(await erasing)
    assert (await _turns(pg))[1] == ("restart nginx", "queued", True)


@pytest.mark.postgres
@pytest.mark.parametrize("worker", [None, WORKER])
async def test_a_message_behind_an_erasure_begins_a_new_conversation(
    pg: PostgresDatabase, worker: str | None
) -> None:
    """Nothing is stored in a conversation that was deleted while the message came in."""
    said = message(await install(pg), 1)
    turn = await _answered(pg, said)
    again = replace(said, event_id="api:2", text="secret")
    async with _in_flight(pg) as other:
        assert await other.run_sync(_erase, turn) is None
        accepting = asyncio.create_task(accept(pg, again, worker=worker))
        await _blocked(pg)
    accepted = await accepting
    assert accepted.conversation_id != turn.conversation_id
    assert (await _turns(pg))[1][2]


@pytest.mark.postgres
async def test_a_named_conversation_that_is_erased_meanwhile_is_not_found(
    pg: PostgresDatabase,
) -> None:
    """A message that names a conversation does not go to another one."""
    said = message(await install(pg), 1)
    turn = await _answered(pg, said)
    named = replace(said, event_id="api:3", conversation_id=turn.conversation_id)
    async with _in_flight(pg) as other:
        assert await other.run_sync(_erase, turn) is None
        accepting = asyncio.create_task(pg.transaction(_accept, named, _offer()))
        await _blocked(pg)
    assert await accepting == NO_CONVERSATION


@pytest.mark.postgres
async def test_no_place_is_left_pointing_at_an_erased_conversation(pg: PostgresDatabase) -> None:
    """/resume of a conversation that is being erased finds it gone."""
    admin = await install(pg)
    turn = await _answered(pg, message(admin, 1))
    elsewhere = await _leased(pg, admin, 2)
    async with _in_flight(pg) as other:
        assert await other.run_sync(_erase, turn) is None
        conversations = SqlConversations(pg)
        resuming = asyncio.create_task(
            conversations.resume_conversation(elsewhere, turn.conversation_id)
        )
        await _blocked(pg)
    assert not await resuming


async def test_a_place_that_points_at_a_deleted_conversation_begins_anew(db: Database) -> None:
    """However it came to point there, nothing is stored in what was deleted."""
    said = message(await install(db), 1)
    turn = await _answered(db, said)
    await db.transaction(lambda c: execute(c, "UPDATE conversations SET deleted_at = 1"))
    fresh = await accept(db, replace(said, event_id="api:2"))
    assert fresh.conversation_id != turn.conversation_id
    again = await accept(db, replace(said, event_id="api:3"))
    assert again.conversation_id == fresh.conversation_id


async def test_an_erased_reply_is_not_posted_later(db: Database) -> None:
    """Whatever was still to be delivered of an erased conversation is not delivered."""
    admin = await install(db)
    turn = await _leased(db, admin)
    await answer(db, turn, deliver=True)
    await db.transaction(_overdue)
    assert await db.transaction(_erase, turn) is None
    due = SqlDeliveries(db)
    assert await due.claim_undelivered(WORKER, platforms=("api",), hold_ms=1, limit=5) == ()
    await due.redeliver(destination(turn))
    assert await due.claim_undelivered(WORKER, platforms=("api",), hold_ms=1, limit=5) == ()


async def test_a_file_is_kept_while_any_message_needs_it(db: Database) -> None:
    """Erasing one of two conversations with the same file keeps it, erasing both drops it."""
    admin = await install(db)
    file = Attachment(name="a", media_type="text/plain", data=b"LOG" * 100)
    first = await _answered(db, message(admin, 1, attachments=(file, file)))
    second = await _answered(db, message(admin, 2, attachments=(file,)))
    await db.transaction(_erase, first)
    assert await _rows(db, "SELECT size FROM attachments") == [(300,)]
    await db.transaction(_erase, second)
    assert await _rows(db, "SELECT size FROM attachments") == []
    assert await _rows(db, "SELECT 1 FROM turn_files") == []


@pytest.mark.postgres
@pytest.mark.parametrize("accept_first", [True, False])
async def test_a_file_that_comes_in_while_it_is_erased_is_kept(
    pg: PostgresDatabase, *, accept_first: bool
) -> None:
    """Whichever of the two begins first, the message that was accepted has its file."""
    admin = await install(pg)
    file = Attachment(name="a", media_type="text/plain", data=b"LOG" * 100)
    turn = await _answered(pg, message(admin, 1, attachments=(file,)))
    said = message(admin, 2, attachments=(file,))
    offer = replace(_offer(), files=(reference(file),))
    async with _in_flight(pg) as other:
        if accept_first:
            await other.run_sync(_accept, said, offer)
            later = asyncio.ensure_future(pg.transaction(_erase, turn))
        else:
            assert await other.run_sync(_erase, turn) is None
            later = asyncio.ensure_future(pg.transaction(_drop_result, said, offer))
        await _blocked(pg)
    assert await later is None
    assert await _rows(pg, "SELECT size FROM attachments") == [(300,)]


async def test_a_burst_takes_no_more_slots_than_a_tenant_may(db: Database) -> None:
    """The limit is counted where the lease is taken; what is over it waits in the queue."""
    admin = await install(db)

    async def say(number: int) -> bool:
        accepted = await db.transaction(_accept, message(admin, number), _offer(worker=WORKER))
        assert isinstance(accepted, Accepted)
        return accepted.leased is not None

    if db.exclusive:
        leased = await asyncio.gather(*(say(number) for number in range(8)))
    else:
        leased = [await say(number) for number in range(8)]
    assert leased.count(True) == 4
    statuses = await _rows(db, "SELECT status, COUNT(*) FROM turns GROUP BY status ORDER BY 1")
    assert statuses == [("queued", 4), ("running", 4)]


async def test_housekeeping_forgets_everything_in_small_steps(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is old goes, batch by batch; what is recent stays."""
    monkeypatch.setattr("storage.operations.BATCH", 2)
    admin = await install(db)
    for number in range(6):
        turn = await _answered(db, message(admin, number))
        said = replace(message(admin, number), event_id=f"api:stop{number}", text="/stop")
        await SqlInbox(db).stop(said)
        if number:
            await db.transaction(_age, turn, f"turn_{number:012x}")
    assert await SqlOperations(db).housekeep() == 5
    assert await _rows(db, "SELECT COUNT(*) FROM turn_events") == [(1,)]
    assert await _rows(db, "SELECT COUNT(*) FROM controls") == [(1,)]


def _age(conn: sa.Connection, turn: Turn, old: str) -> None:
    execute(conn, "UPDATE turn_events SET turn_id = :old WHERE turn_id = :id", id=turn.id, old=old)
    execute(conn, "UPDATE turns SET id = :old WHERE id = :id", id=turn.id, old=old)
    sql = "UPDATE controls SET created_at = 1 WHERE conversation_id = :cid"
    execute(conn, sql, cid=turn.conversation_id)


async def test_a_reply_for_a_platform_that_is_gone_is_given_up(db: Database) -> None:
    """After two days nobody waits for a platform that no process serves."""
    turn = await _leased(db, await install(db))
    await answer(db, turn, deliver=True)
    await SqlOperations(db).housekeep()
    assert (await SqlOperations(db).queue_state()).undelivered == 1
    await db.transaction(lambda c: execute(c, "UPDATE turns SET finished_at = 1"))
    await SqlOperations(db).housekeep()
    assert (await SqlOperations(db).queue_state()).undelivered == 0


async def _long_conversation(db: Database, outputs: tuple[tuple[str, ...], ...]) -> Turn:
    """A conversation with a turn for each tuple of tool outputs, and the turn after them."""
    said = message(await install(db), 1)
    log = _log(db)
    for number, steps in enumerate(outputs):
        turn = (await accept(db, replace(said, event_id=f"api:long{number}"))).leased
        assert turn is not None
        for output in steps:
            await log.record(turn, ToolStep(tool_call_id="t", name="disk", output=output))
        await _finish(db, turn)
    last = (await accept(db, replace(said, event_id="api:last"))).leased
    assert last is not None
    return last


def _outputs(memory: Memory) -> list[list[str]]:
    return [
        [step.output for step in past.exchange.steps if isinstance(step, ToolStep)]
        for past in memory.past
    ]


async def test_memory_keeps_the_newest_steps_that_fit(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns beyond the bound are remembered without their tool results, never with half."""
    monkeypatch.setattr("storage.steps.STEP_CHARS", 3_000)
    big = "x" * 1000
    turn = await _long_conversation(db, (("a",), (big, "b", big), ("c", "d"), (big, "e")))
    memory = await SqlConversations(db).remember(turn, max_turns=10)
    assert _outputs(memory) == [[], [], ["c", "d"], [big, "e"]]
    assert [past.exchange.reply for past in memory.past] == ["part\n\n_Stopped._"] * 4
    assert not memory.older


async def test_memory_reads_many_steps_in_their_order(db: Database) -> None:
    """However many steps there are, they come back as they were committed."""
    first, second = tuple(map(str, range(100))), tuple(map(str, range(100, 140)))
    turn = await _long_conversation(db, (first, second))
    memory = await SqlConversations(db).remember(turn, max_turns=10)
    assert _outputs(memory) == [list(first), list(second)]


async def test_memory_says_that_there_are_older_turns(db: Database) -> None:
    """Core can tell a long conversation from one that is whole."""
    turn = await _long_conversation(db, (("a",), ("b",), ("c",)))
    store = SqlConversations(db)
    cut = await store.remember(turn, max_turns=2)
    assert (_outputs(cut), cut.older) == ([["b"], ["c"]], True)
    assert not (await store.remember(turn, max_turns=3)).older
    await store.save_summary(turn, upto_seq=1, text="s", settlement=None)
    assert not (await store.remember(turn, max_turns=2)).older
