"""What the storage tests share: migrated databases, and an installation with a bit of everything."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy as sa

from core.audit import AuditEntry
from core.clock import SystemClock
from core.inbox import Accepted
from core.keys import Keys, load_or_make
from core.messages import Actor, Attachment, ConversationAddress, InboundMessage
from core.metering import CallRequest, Settlement, Usage
from core.replies import Part
from core.sinks import destination
from core.steps import ModelStep, ToolStep
from core.streams import EventId, StreamEvent
from core.tenants import User
from core.turns import Ending, Outcome, Turn, TurnKind
from storage.database import Database, execute
from storage.deliveries import SqlDeliveries
from storage.inbox import SqlInbox
from storage.installation import SqlInstallation
from storage.leases import SqlLeases
from storage.metering import RecordingMeter
from storage.migrate import migrate_postgres, migrate_sqlite
from storage.people import LOCAL_PLATFORM, SqlPeople
from storage.postgres import PostgresDatabase
from storage.sqlite import SqliteDatabase
from storage.turnlog import SqlTurnLog

WORKER = "w_1"
UGLY = 'ümläut 漢字 🐘 "quotes" \\back\\slash\nline\ttab  ]}, \u2028'


@asynccontextmanager
async def sqlite_database(path: Path) -> AsyncGenerator[SqliteDatabase]:
    """A migrated SQLite database."""
    path.parent.mkdir(parents=True, exist_ok=True)
    migrate_sqlite(path)
    db = SqliteDatabase(path, SystemClock())
    try:
        yield db
    finally:
        await db.close()


@asynccontextmanager
async def postgres_database(url: str) -> AsyncGenerator[PostgresDatabase]:
    """A migrated PostgreSQL database."""
    db = PostgresDatabase(url, size=4)
    try:
        await migrate_postgres(db)
        yield db
    finally:
        await db.close()


def message(user: User, number: int, *, attachments: tuple[Attachment, ...] = ()) -> InboundMessage:
    """The message with that event number, in a conversation of its own."""
    return InboundMessage(
        event_id=f"api:{number}",
        address=ConversationAddress(
            platform="api", workspace="", channel=user.id, thread=str(number)
        ),
        actor=Actor(platform=LOCAL_PLATFORM, workspace="", external_id=user.id),
        text=f"{number}: {UGLY}",
        attachments=attachments,
    )


async def accept(db: Database, said: InboundMessage, *, worker: str | None = WORKER) -> Accepted:
    """Store a message, leased to the worker."""
    accepted = await SqlInbox(db, b"k").accept(
        said,
        kind=TurnKind.MESSAGE,
        title=said.text[:40],
        worker=worker,
        tenant_limit=99,
    )
    assert isinstance(accepted, Accepted)
    return accepted


async def install(db: Database, data_dir: Path | None = None) -> User:
    """The first tenant and its admin, under the data directory's key."""
    if data_dir is not None:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: ASYNC240  # one quick call
        key = Keys(load_or_make(data_dir))
        assert await SqlInstallation(db).key_matches(key.fingerprint())
    admin = await SqlPeople(db).install(tenant_name="Team Ü", admin_email="a@example.org")
    await SqlLeases(db).beat(WORKER, 10_000, ())
    return admin


async def answer(db: Database, turn: Turn, *, deliver: bool = False) -> None:
    """Run a leased turn to its end, with a model call, a tool step, audit and live events.

    With ``deliver`` the reply is left to the sweeper.
    """
    log = SqlTurnLog(db, b"k" * 32, WORKER)
    call = f"{turn.id}.{turn.attempt}.1"
    await RecordingMeter(db).reserve(
        CallRequest(
            id=call,
            tenant_id=turn.tenant_id,
            conversation_id=turn.conversation_id,
            turn_id=turn.id,
            user_id=turn.user.id,
            engine="scripted",
            model="m",
            estimated_input=10,
            max_output=20,
        )
    )
    usage = Usage(input_tokens=11, output_tokens=7)
    step = ModelStep(call_id=call, engine="scripted", model="m", text=UGLY, usage=usage)
    await log.record(turn, step, settlement=Settlement(call_id=call, usage=usage))
    entry = AuditEntry(actor=turn.user.id, action="tool.ran", turn_id=turn.id, detail={"n": 1})
    await log.record(turn, ToolStep(tool_call_id="t", name="disk", output="ok"), audit=entry)
    if deliver:
        part = Part(number=1, ref="ref", digest="d")
        await SqlDeliveries(db).save_part(destination(turn), part, turn.epoch)
    await log.finish(
        turn,
        Ending(outcome=Outcome.ANSWERED, reply=UGLY, engine="scripted"),
        events=(StreamEvent(EventId(turn.attempt, 1), "text_delta", '{"text": "x"}'),),
        settlements=(),
        deliver=deliver,
    )
    if deliver:
        await SqlDeliveries(db).release(turn)


async def fill(db: Database, data_dir: Path | None = None, *, turns: int = 7) -> User:
    """An installation with finished, undelivered and queued turns, and binary files."""
    admin = await install(db, data_dir)
    for number in range(turns):
        data = bytes(range(256)) * (number * 20)
        files = (Attachment(name="ä.bin", media_type="text/plain", data=data),)
        accepted = await accept(db, message(admin, number, attachments=files))
        assert accepted.leased is not None
        await answer(db, accepted.leased, deliver=number == 0)
    await accept(db, message(admin, 10_000), worker=None)
    return admin


async def write(db: Database, sql: str, **values: str | int) -> None:
    """Write behind the code's back."""

    def work(conn: sa.Connection) -> None:
        execute(conn, sql, **values)

    await db.transaction(work)
