"""Files are stored once, sent again with later turns, and dropped with their last message."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from dataclasses import replace

import pytest
import sqlalchemy as sa

from core.attachments import check_attachments
from core.engines.claude_messages import Transcript
from core.messages import Attachment, InboundMessage
from core.refusals import Rejected
from core.turns import Turn, TurnKind
from storage.conversations import SqlConversations
from storage.database import Database, execute
from storage.erasure import erase
from storage.files import drop_unneeded, let_go, reference, unneeded
from storage.inbox import SqlInbox, _accept, _Offer
from storage.intake import SqlIntake
from storage.postgres import PostgresDatabase
from storage.rows import blob
from tests.contracts.engine_kit import Turn as EngineTurn
from tests.core.image_kit import CANARY, jpeg_with, segment
from tests.storage.kit import WORKER, accept, answer, install, message
from tests.storage.racing import answered, blocked, in_flight, offer_of, rows

FILE = Attachment(name="a.log", media_type="text/plain", data=b"LOG" * 100)
FILE_SIZE = len(FILE.data)
OTHER = Attachment(name="b.log", media_type="text/plain", data=b"OTHER")
PDF = Attachment(name="r.pdf", media_type="application/pdf", data=b"%PDF-1.7 report")


def _photo(comment: bytes) -> Attachment:
    data = jpeg_with(segment(0xFE, comment))
    (checked,) = check_attachments([Attachment(name="p.jpg", media_type="x", data=data)])
    return checked


def _erase(conn: sa.Connection, turn: Turn) -> str | None:
    return erase(conn, turn.tenant_id, turn.user.id, turn.conversation_id, running=None)


def _collect(conn: sa.Connection, most: int = 100) -> int:
    """What the housekeeping does, at one time."""
    let_go(conn, most)
    return drop_unneeded(conn, unneeded(conn, most))


async def _sizes(db: Database) -> list[object]:
    return [row[0] for row in await rows(db, "SELECT size FROM attachments ORDER BY size")]


async def _orphan(db: Database, turn: Turn) -> None:
    """As an older release or an operator's hand may leave it."""
    await db.transaction(
        lambda conn: execute(conn, "DELETE FROM turn_files WHERE turn_id = :id", id=turn.id)
    )


async def test_a_picture_is_stored_once_and_clean(db: Database) -> None:
    """Two photos that differ in their metadata alone are one row under the clean bytes' hash."""
    admin = await install(db)
    photos = _photo(CANARY), _photo(b"another " + CANARY)
    for number, photo in enumerate(photos):
        await answered(db, message(admin, number, attachments=(photo,)))
    ((sha256, data),) = await rows(db, "SELECT sha256, data FROM attachments")
    assert hashlib.sha256(blob(data)).hexdigest() == sha256
    assert CANARY not in blob(data)
    assert blob(data) == photos[0].data
    assert await rows(db, "SELECT COUNT(*) FROM turn_files") == [(2,)]


async def test_files_are_sent_again_with_later_turns(db: Database) -> None:
    """The next turn of the conversation sends image, PDF and log of the one before."""
    files = (_photo(CANARY), PDF, FILE)
    said = message(await install(db), 1, attachments=files)
    await answered(db, said)
    later = replace(said, event_id="api:2", text="and now?", attachments=())
    turn = (await accept(db, later)).leased
    assert turn is not None
    memory = await SqlConversations(db).remember(turn, max_turns=10)
    history = tuple(past.exchange for past in memory.past)
    assert [exchange.attachments for exchange in history] == [files]
    request = EngineTurn().request("and now?", history=history)
    body = json.loads(json.dumps(Transcript(request, ()).body(model="m", max_tokens=9)))
    image, document, log, *_ = body["messages"][0]["content"]
    assert base64.b64decode(image["source"]["data"]) == files[0].data
    assert (document["type"], document["title"]) == ("document", "r.pdf")
    assert FILE.data.decode() in log["text"]


async def test_a_refused_message_stores_nothing(db: Database) -> None:
    """Neither a stranger's files, nor a repeated event's, nor those of a used key."""
    admin = await install(db)
    said = message(admin, 1, attachments=(FILE,))
    await answered(db, said)
    stranger = replace(said.actor, platform="slack", external_id="U404")
    inbox = SqlInbox(db, b"k")
    for refused in (
        replace(said, event_id="api:2", actor=stranger, attachments=(OTHER,)),
        replace(said, attachments=(OTHER,)),
        replace(said, event_id="api:3", conversation_id="conv_none", attachments=(OTHER,)),
    ):
        answer_ = await inbox.accept(
            refused, kind=TurnKind.MESSAGE, title="t", worker=None, tenant_limit=9
        )
        assert isinstance(answer_, Rejected)
    assert await _sizes(db) == [FILE_SIZE]


async def test_files_of_the_turn_that_deletes_are_collected(db: Database) -> None:
    """A conversation that was deleted from inside keeps that turn's files until it has ended."""
    admin = await install(db)
    turn = (await accept(db, message(admin, 1, attachments=(FILE,)))).leased
    assert turn is not None
    kept = await answered(db, message(admin, 2, attachments=(OTHER,)))

    def delete(conn: sa.Connection) -> str | None:
        return erase(conn, turn.tenant_id, admin.id, turn.conversation_id, running=turn.id)

    assert await db.transaction(delete) is None
    assert await db.transaction(_collect) == 0
    assert await _sizes(db) == [len(OTHER.data), FILE_SIZE]
    await answer(db, turn)
    assert await db.transaction(_collect) == 1
    assert await _sizes(db) == [len(OTHER.data)]
    assert await rows(db, "SELECT turn_id FROM turn_files") == [(kept.id,)]
    assert await db.transaction(_collect) == 0


async def test_files_that_no_turn_names_are_collected_in_steps(db: Database) -> None:
    """At most as many at once as the housekeeping asks for, and never one that is needed."""
    admin = await install(db)
    files = [replace(FILE, data=bytes((65, number))) for number in range(5)]
    turns = [await answered(db, message(admin, n, attachments=(f,))) for n, f in enumerate(files)]
    for turn in turns[:4]:
        await _orphan(db, turn)
    counts = [await db.transaction(_collect, 3) for _ in range(3)]
    assert counts == [3, 1, 0]
    assert await rows(db, "SELECT data FROM attachments") == [(files[4].data,)]


async def test_a_collected_file_can_be_sent_again(db: Database) -> None:
    """The same bytes come back as a row of their own."""
    admin = await install(db)
    await db.transaction(_erase, await answered(db, message(admin, 1, attachments=(FILE,))))
    assert await _sizes(db) == []
    await answered(db, message(admin, 2, attachments=(FILE,)))
    assert await _sizes(db) == [FILE_SIZE]


async def test_files_that_a_turn_fetched_are_dropped_with_it(db: Database) -> None:
    """Files of a chat platform, which come in during the turn, are counted like the others."""
    admin = await install(db)
    turn = (await accept(db, message(admin, 1, attachments=(FILE,)))).leased
    assert turn is not None
    turn = await SqlIntake(db).take_in(turn, (OTHER, FILE), "text")
    assert await _sizes(db) == [len(OTHER.data), FILE_SIZE]
    await answer(db, turn)
    assert await db.transaction(_erase, turn) is None
    assert await _sizes(db) == []


def _accept_quietly(conn: sa.Connection, said: InboundMessage, offer: _Offer) -> None:
    _accept(conn, said, offer)


@pytest.mark.postgres
@pytest.mark.parametrize("accept_first", [True, False])
async def test_a_file_that_comes_in_while_it_is_collected_is_kept(
    pg: PostgresDatabase, *, accept_first: bool
) -> None:
    """Whichever of the two begins first, the message that was accepted has its file."""
    admin = await install(pg)
    await _orphan(pg, await answered(pg, message(admin, 1, attachments=(FILE,))))
    said = message(admin, 2, attachments=(FILE,))
    offer = replace(offer_of(), files=(reference(FILE),))
    later: asyncio.Future[int | None]
    async with in_flight(pg) as other:
        if accept_first:
            await other.run_sync(_accept_quietly, said, offer)
            later = asyncio.ensure_future(pg.transaction(_collect))
        else:
            assert await other.run_sync(_collect) == 1
            later = asyncio.ensure_future(pg.transaction(_accept_quietly, said, offer))
        await blocked(pg)
    assert await later == (0 if accept_first else None)
    assert await _sizes(pg) == [FILE_SIZE]


@pytest.mark.postgres
async def test_two_erasures_at_once_leave_no_file(pg: PostgresDatabase) -> None:
    """Each sees the other's message until it ends; the later one drops what both had."""
    admin = await install(pg)
    first, second = [
        await answered(pg, message(admin, number, attachments=(FILE, OTHER))) for number in (1, 2)
    ]
    async with in_flight(pg) as other:
        assert await other.run_sync(_erase, first) is None
        later = asyncio.ensure_future(pg.transaction(_erase, second))
        await blocked(pg)
        assert await _sizes(pg) == [len(OTHER.data), FILE_SIZE]
    assert await later is None
    assert await _sizes(pg) == []


@pytest.mark.postgres
async def test_two_messages_with_the_same_new_file_at_once(pg: PostgresDatabase) -> None:
    """The second waits for the first, and both have the one row."""
    admin = await install(pg)
    offer = replace(offer_of(WORKER), files=(reference(FILE),))
    async with in_flight(pg) as other:
        await other.run_sync(_accept_quietly, message(admin, 1, attachments=(FILE,)), offer)
        said = message(admin, 2, attachments=(FILE,))
        later = asyncio.ensure_future(pg.transaction(_accept_quietly, said, offer))
        await blocked(pg)
    await later
    assert await _sizes(pg) == [FILE_SIZE]
    assert await rows(pg, "SELECT COUNT(*) FROM turn_files") == [(2,)]
