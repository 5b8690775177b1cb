"""Fences of a turn that has ended, deliveries and housekeeping."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import sqlalchemy as sa

from core.errors import Fenced
from core.messages import Overlap
from core.metering import CallRequest
from core.sinks import destination
from core.steps import ToolStep
from core.streams import START, EventId, StreamEvent
from core.turns import Turn
from storage.conversations import SqlConversations
from storage.database import Database, execute
from storage.deliveries import SqlDeliveries
from storage.inbox import SqlInbox
from storage.leases import SqlLeases
from storage.metering import record_call
from storage.operations import SqlOperations
from storage.postgres import PostgresDatabase
from storage.streams import SqlStreamLog
from storage.turnlog import _absorb
from tests.storage.kit import WORKER, accept, answer, install, message
from tests.storage.racing import (
    answered,
    blocked,
    finish,
    in_flight,
    leased,
    overdue,
    rows,
    turn_log,
)


async def test_a_sweep_claims_only_replies_that_it_can_deliver(db: Database) -> None:
    """A platform that this process does not serve keeps its replies, and delays no others."""
    admin = await install(db)
    for number, platform in enumerate(("slack", "web")):
        said = message(admin, number)
        said = replace(said, address=replace(said.address, platform=platform))
        turn = (await accept(db, said)).leased
        assert turn is not None
        await answer(db, turn, deliver=True)
        await db.transaction(overdue)
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
    await db.transaction(overdue)
    due, to = SqlDeliveries(db), destination(turn)
    (reply,) = await due.claim_undelivered(WORKER, platforms=("api",), hold_ms=0, limit=1)
    assert await due.renew(reply.to, WORKER, 60_000)
    assert await due.claim_undelivered("w_2", platforms=("api",), hold_ms=0, limit=1) == ()
    assert not await due.renew(to, "w_2", 60_000)
    await due.delivered(to, epoch=None, problem="")
    assert not await due.renew(to, WORKER, 60_000)


@pytest.mark.postgres
async def test_a_stop_during_an_absorb_ends_the_absorbed_messages_too(pg: PostgresDatabase) -> None:
    """The cursor moves past messages that joined in a transaction which was still open."""
    admin = await install(pg)
    said = message(admin, 1)
    turn = await leased(pg, admin)
    steer = replace(said, event_id="api:steer", overlap=Overlap.STEER)
    assert (await accept(pg, steer)).leased is None
    async with in_flight(pg) as other:
        assert await other.run_sync(_absorb, turn) == (said.text,)
        finishing = asyncio.create_task(finish(pg, turn))
        await blocked(pg)
    await finishing
    turns = await rows(pg, "SELECT status, outcome FROM turns ORDER BY seq")
    assert turns == [("done", "cancelled"), ("done", "steered")]
    assert await rows(pg, "SELECT done_seq FROM conversations") == [(2,)]
    assert await SqlLeases(pg).claim(WORKER, 5, 5) == ()


@pytest.mark.postgres
async def test_a_reservation_in_flight_does_not_outlive_its_turn(pg: PostgresDatabase) -> None:
    """A call whose reservation commits while the turn ends is settled with it."""
    turn = await leased(pg, await install(pg))
    async with in_flight(pg) as other:
        await other.run_sync(record_call, _call(turn), 1)
        finishing = asyncio.create_task(finish(pg, turn))
        await blocked(pg)
    await finishing
    assert await rows(pg, "SELECT state FROM model_calls") == [("estimated",)]
    with pytest.raises(Fenced):
        await pg.transaction(record_call, replace(_call(turn), id=f"{turn.id}.1.2"), 1)


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
    turn = await leased(db, await install(db))
    await finish(db, turn, _event(1), _event(2))
    log, step = turn_log(db), ToolStep(tool_call_id="x", name="n", output="late")
    with pytest.raises(Fenced):
        await log.record(turn, step)
    with pytest.raises(Fenced):
        await log.save_events(turn, (_event(1),))
    with pytest.raises(Fenced):
        await finish(db, turn)
    with pytest.raises(Fenced):
        await SqlConversations(db).save_summary(turn, upto_seq=1, text="s", settlement=None)
    assert await rows(db, "SELECT COUNT(*) FROM turn_steps") == [(0,)]


async def test_a_late_batch_of_events_does_not_cut_its_longer_self(db: Database) -> None:
    """Of two writes of one batch the longer one stays, whichever arrives last."""
    turn = await leased(db, await install(db))
    log = turn_log(db)
    for count in (1, 3, 2):
        await log.save_events(turn, tuple(_event(n + 1) for n in range(count)))
    state = await SqlStreamLog(db).read_stream(turn.tenant_id, turn.id, START)
    assert [event.id.number for event in state.events] == [1, 2, 3]


async def test_housekeeping_forgets_everything_in_small_steps(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is old goes, batch by batch; what is recent stays."""
    monkeypatch.setattr("storage.operations.BATCH", 2)
    admin = await install(db)
    for number in range(6):
        turn = await answered(db, message(admin, number))
        said = replace(message(admin, number), event_id=f"api:stop{number}", text="/stop")
        await SqlInbox(db, b"k").stop(said)
        if number:
            await db.transaction(_age, turn, f"turn_{number:012x}")
    assert await SqlOperations(db).housekeep() == 5
    assert await rows(db, "SELECT COUNT(*) FROM turn_events") == [(1,)]
    assert await rows(db, "SELECT COUNT(*) FROM controls") == [(1,)]


def _age(conn: sa.Connection, turn: Turn, old: str) -> None:
    execute(conn, "UPDATE turn_events SET turn_id = :old WHERE turn_id = :id", id=turn.id, old=old)
    execute(conn, "UPDATE turns SET id = :old WHERE id = :id", id=turn.id, old=old)
    sql = "UPDATE controls SET created_at = 1 WHERE conversation_id = :cid"
    execute(conn, sql, cid=turn.conversation_id)


async def test_a_reply_for_a_platform_that_is_gone_is_given_up(db: Database) -> None:
    """After two days nobody waits for a platform that no process serves."""
    turn = await leased(db, await install(db))
    await answer(db, turn, deliver=True)
    await SqlOperations(db).housekeep()
    assert (await SqlOperations(db).queue_state()).undelivered == 1
    await db.transaction(lambda c: execute(c, "UPDATE turns SET finished_at = 1"))
    await SqlOperations(db).housekeep()
    assert (await SqlOperations(db).queue_state()).undelivered == 0
