"""Erasing a conversation while messages come in, and what becomes of its files."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import sqlalchemy as sa

from core.commands_conversations import Resumed
from core.messages import Attachment, InboundMessage
from core.refusals import NO_CONVERSATION
from core.sinks import destination
from core.turns import Turn
from storage.conversations import SqlConversations
from storage.database import Database, execute
from storage.deliveries import SqlDeliveries
from storage.erasure import erase
from storage.files import reference
from storage.inbox import _accept, _Offer
from storage.postgres import PostgresDatabase
from tests.storage.kit import WORKER, accept, answer, install, message
from tests.storage.racing import (
    answered,
    blocked,
    in_flight,
    leased,
    offer_of,
    overdue,
    rows,
)


async def _turns(db: Database) -> list[tuple[object, ...]]:
    sql = (
        "SELECT t.text, t.status, c.deleted_at IS NULL FROM turns t JOIN conversations c"
        " ON c.id = t.conversation_id ORDER BY t.created_at, t.id"
    )
    return [(row[0], row[1], bool(row[2])) for row in await rows(db, sql)]


def _erase(conn: sa.Connection, turn: Turn) -> str | None:
    return erase(conn, turn.tenant_id, turn.user.id, turn.conversation_id, running=None)


def _drop_result(conn: sa.Connection, said: InboundMessage, offer: _Offer) -> None:
    _accept(conn, said, offer)


@pytest.mark.postgres
async def test_a_message_that_is_accepted_first_keeps_its_conversation(
    pg: PostgresDatabase,
) -> None:
    """An erasure waits for a message in flight, and then refuses because of it."""
    said = message(await install(pg), 1)
    turn = await answered(pg, said)
    again = replace(said, event_id="api:2", text="restart nginx")
    async with in_flight(pg) as other:
        await other.run_sync(_accept, again, offer_of())
        erasing = asyncio.create_task(pg.transaction(_erase, turn))
        await blocked(pg)
    assert "still working" in str(await erasing)
    assert (await _turns(pg))[1] == ("restart nginx", "queued", True)


@pytest.mark.postgres
@pytest.mark.parametrize("worker", [None, WORKER])
async def test_a_message_behind_an_erasure_begins_a_new_conversation(
    pg: PostgresDatabase, worker: str | None
) -> None:
    """Nothing is stored in a conversation that was deleted while the message came in."""
    said = message(await install(pg), 1)
    turn = await answered(pg, said)
    again = replace(said, event_id="api:2", text="secret")
    async with in_flight(pg) as other:
        assert await other.run_sync(_erase, turn) is None
        accepting = asyncio.create_task(accept(pg, again, worker=worker))
        await blocked(pg)
    accepted = await accepting
    assert accepted.conversation_id != turn.conversation_id
    assert (await _turns(pg))[1][2]


@pytest.mark.postgres
async def test_a_named_conversation_that_is_erased_meanwhile_is_not_found(
    pg: PostgresDatabase,
) -> None:
    """A message that names a conversation does not go to another one."""
    said = message(await install(pg), 1)
    turn = await answered(pg, said)
    named = replace(said, event_id="api:3", conversation_id=turn.conversation_id)
    async with in_flight(pg) as other:
        assert await other.run_sync(_erase, turn) is None
        accepting = asyncio.create_task(pg.transaction(_accept, named, offer_of()))
        await blocked(pg)
    assert await accepting == NO_CONVERSATION


@pytest.mark.postgres
async def test_no_place_is_left_pointing_at_an_erased_conversation(pg: PostgresDatabase) -> None:
    """/resume of a conversation that is being erased finds it gone."""
    admin = await install(pg)
    turn = await answered(pg, message(admin, 1))
    elsewhere = await leased(pg, admin, 2)
    async with in_flight(pg) as other:
        assert await other.run_sync(_erase, turn) is None
        conversations = SqlConversations(pg)
        resuming = asyncio.create_task(
            conversations.resume_conversation(elsewhere, turn.conversation_id)
        )
        await blocked(pg)
    assert await resuming is Resumed.GONE


async def test_a_place_that_points_at_a_deleted_conversation_begins_anew(db: Database) -> None:
    """However it came to point there, nothing is stored in what was deleted."""
    said = message(await install(db), 1)
    turn = await answered(db, said)
    await db.transaction(lambda c: execute(c, "UPDATE conversations SET deleted_at = 1"))
    fresh = await accept(db, replace(said, event_id="api:2"))
    assert fresh.conversation_id != turn.conversation_id
    again = await accept(db, replace(said, event_id="api:3"))
    assert again.conversation_id == fresh.conversation_id


async def test_an_erased_reply_is_not_posted_later(db: Database) -> None:
    """Whatever was still to be delivered of an erased conversation is not delivered."""
    admin = await install(db)
    turn = await leased(db, admin)
    await answer(db, turn, deliver=True)
    await db.transaction(overdue)
    assert await db.transaction(_erase, turn) is None
    due = SqlDeliveries(db)
    assert await due.claim_undelivered(WORKER, platforms=("api",), hold_ms=1, limit=5) == ()
    await due.redeliver(destination(turn))
    assert await due.claim_undelivered(WORKER, platforms=("api",), hold_ms=1, limit=5) == ()


async def test_a_file_is_kept_while_any_message_needs_it(db: Database) -> None:
    """Erasing one of two conversations with the same file keeps it, erasing both drops it."""
    admin = await install(db)
    file = Attachment(name="a", media_type="text/plain", data=b"LOG" * 100)
    first = await answered(db, message(admin, 1, attachments=(file, file)))
    second = await answered(db, message(admin, 2, attachments=(file,)))
    await db.transaction(_erase, first)
    assert await rows(db, "SELECT size FROM attachments") == [(300,)]
    await db.transaction(_erase, second)
    assert await rows(db, "SELECT size FROM attachments") == []
    assert await rows(db, "SELECT 1 FROM turn_files") == []


@pytest.mark.postgres
@pytest.mark.parametrize("accept_first", [True, False])
async def test_a_file_that_comes_in_while_it_is_erased_is_kept(
    pg: PostgresDatabase, *, accept_first: bool
) -> None:
    """Whichever of the two begins first, the message that was accepted has its file."""
    admin = await install(pg)
    file = Attachment(name="a", media_type="text/plain", data=b"LOG" * 100)
    turn = await answered(pg, message(admin, 1, attachments=(file,)))
    said = message(admin, 2, attachments=(file,))
    offer = replace(offer_of(), files=(reference(file),))
    async with in_flight(pg) as other:
        if accept_first:
            await other.run_sync(_accept, said, offer)
            later = asyncio.ensure_future(pg.transaction(_erase, turn))
        else:
            assert await other.run_sync(_erase, turn) is None
            later = asyncio.ensure_future(pg.transaction(_drop_result, said, offer))
        await blocked(pg)
    assert await later is None
    assert await rows(pg, "SELECT size FROM attachments") == [(300,)]
