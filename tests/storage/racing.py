"""Words of the tests that put two transactions in each other's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from core.messages import InboundMessage
from core.streams import StreamEvent
from core.tenants import User
from core.turns import Ending, Outcome, Turn, TurnKind
from storage.database import Database, execute
from storage.inbox import _Offer
from storage.postgres import PostgresDatabase
from storage.turnlog import SqlTurnLog
from tests.storage.kit import WORKER, accept, answer, message


def overdue(conn: sa.Connection) -> None:
    """The sweep may take every finished reply now."""
    execute(conn, "UPDATE turns SET deliver_until = 0 WHERE status = 'done'")


async def leased(db: Database, admin: User, number: int = 1) -> Turn:
    """A turn of a new conversation, leased to the worker."""
    turn = (await accept(db, message(admin, number))).leased
    assert turn is not None
    return turn


def turn_log(db: Database) -> SqlTurnLog:
    """The log as the worker writes it."""
    return SqlTurnLog(db, b"k" * 32, WORKER)


async def finish(db: Database, turn: Turn, *events: StreamEvent) -> None:
    """End the turn as one that was stopped."""
    ending = Ending(outcome=Outcome.CANCELLED, reply="part", notice="Stopped.")
    await turn_log(db).finish(turn, ending, events=events, settlements=(), deliver=False)


async def rows(db: Database, sql: str, **params: str | int) -> list[tuple[object, ...]]:
    """What a query finds."""

    def fetch(conn: sa.Connection) -> list[tuple[object, ...]]:
        return [tuple(row) for row in execute(conn, sql, **params)]

    return await db.read(fetch)


@asynccontextmanager
async def in_flight(db: PostgresDatabase) -> AsyncGenerator[AsyncConnection]:
    """A transaction of another connection that stays open: what it ran commits at the end."""
    async with db.engine.connect() as conn:
        transaction = await conn.begin()
        yield conn
        await transaction.commit()


async def blocked(db: PostgresDatabase) -> None:
    """Wait until a statement waits for a lock of another transaction."""
    waits = "SELECT COUNT(*) FROM pg_locks WHERE NOT granted"
    for _ in range(2000):
        if await rows(db, waits) != [(0,)]:
            return
        await asyncio.sleep(0.01)
    pytest.fail("nothing waited for a lock within 20 seconds")


def offer_of(worker: str | None = None) -> _Offer:
    """What the inbox adds to a message, for a tenant of four slots."""
    return _Offer(kind=TurnKind.MESSAGE, title="t", worker=worker, tenant_limit=4, files=())


async def answered(db: Database, said: InboundMessage) -> Turn:
    """The turn of a message, run to its end."""
    turn = (await accept(db, said)).leased
    assert turn is not None
    await answer(db, turn)
    return turn
