"""The two databases behind one small port: ``transaction(fn, ...)`` and ``read(fn, ...)``.

A repository function is synchronous and takes a Core connection first. On SQLite it runs on
the one writer thread, in a commit shared with whatever else was waiting; on PostgreSQL the
same function runs through ``AsyncConnection.run_sync`` on asyncpg. Nothing else commits.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa

from core.clock import Clock

P = ParamSpec("P")
R = TypeVar("R")

Fn = Callable[Concatenate[sa.Connection, P], R]

CLOCK = "it0.now_ms"
"""Key in ``Connection.info`` of the SQLite clock; PostgreSQL uses the server's."""

DRIVER = "it0.driver"
"""Key in ``Connection.info`` of the driver's own SQLite connection."""

_FRAGMENTS = {
    "sqlite": {"now": "CAST(:now AS BIGINT)", "lock": "", "share": "", "row": ""},
    "postgresql": {
        # statement_timestamp, not clock_timestamp: the volatile one defeats the indexes
        "now": "(extract(epoch from statement_timestamp())*1000)::bigint",
        "lock": " FOR UPDATE SKIP LOCKED",
        "share": " FOR SHARE",
        "row": " FOR UPDATE",
    },
}


class Database(Protocol):
    """What the repositories run on."""

    @property
    def exclusive(self) -> bool:
        """Whether this process is the only one that writes (SQLite under its lock)."""

    async def transaction(self, fn: Fn[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``fn`` in one transaction and commit. Raises ``StorageFailure``."""

    async def read(self, fn: Fn[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``fn`` on a snapshot, without writing. Raises ``StorageFailure``."""

    async def close(self) -> None:
        """Finish what runs and disconnect."""


class _Cursor(Protocol):
    """What SQLAlchemy's result and the driver's cursor have in common."""

    def fetchone(self) -> Sequence[object] | None:
        """The next row."""

    def fetchall(self) -> Sequence[Sequence[object]]:
        """The rows that are left."""

    def close(self) -> object:
        """Let go of the statement."""


class Rows:
    """What a statement returned. Read it with one of these, once."""

    __slots__ = ("_cursor",)

    def __init__(self, cursor: _Cursor) -> None:
        """Wrap a cursor of either database."""
        self._cursor = cursor

    def first(self) -> Sequence[object] | None:
        """The first row, or None; the rest is dropped."""
        row = self._cursor.fetchone()
        self._cursor.close()
        return row

    def one(self) -> Sequence[object]:
        """The row that must be there."""
        row = self.first()
        if row is None:
            message = "the statement returned no row"
            raise LookupError(message)
        return row

    def all(self) -> Sequence[Sequence[object]]:
        """Every row."""
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Sequence[object]]:
        """Row by row, without holding them all."""
        while (row := self._cursor.fetchone()) is not None:
            yield row


@lru_cache(maxsize=512)
def _prepare(dialect: str, template: str) -> tuple[str, sa.TextClause, bool]:
    text = template
    for name, fragment in _FRAGMENTS[dialect].items():
        text = text.replace("{" + name + "}", fragment)
    return text, sa.text(text), ":now" in text


def execute(conn: sa.Connection, template: str, **params: str | int | bytes | None) -> Rows:
    """Run one statement written for both databases.

    ``{now}`` becomes the current time in epoch milliseconds (the server's on PostgreSQL),
    ``{lock}`` ``FOR UPDATE SKIP LOCKED``, ``{row}`` ``FOR UPDATE`` and ``{share}``
    ``FOR SHARE`` where the database has them (SQLite has one writer and needs none).

    On SQLite the statement goes straight to the driver, which knows the same named
    parameters: SQLAlchemy's layers would cost two thirds of a transaction's CPU.
    """
    driver: sqlite3.Connection | None = conn.info.get(DRIVER)
    if driver is None:
        return Rows(conn.execute(_prepare(conn.dialect.name, template)[1], params))
    text, _, wants_now = _prepare("sqlite", template)
    if wants_now:
        params["now"] = now_ms(conn)
    return Rows(driver.execute(text, params))


@contextmanager
def savepoint(conn: sa.Connection) -> Generator[None]:
    """Undo only what the block did when it raises; the transaction goes on."""
    driver: sqlite3.Connection | None = conn.info.get(DRIVER)
    if driver is None:
        with conn.begin_nested():
            yield
        return
    driver.execute("SAVEPOINT part")
    try:
        yield
    except BaseException:
        if driver.in_transaction:  # a full disk ends it: what follows then fails too
            driver.execute("ROLLBACK TO part")
        raise
    finally:
        if driver.in_transaction:
            driver.execute("RELEASE part")


def now_ms(conn: sa.Connection) -> int:
    """The database's time in epoch milliseconds."""
    clock: Clock | None = conn.info.get(CLOCK)
    if clock is not None:
        return clock.now_ms()
    return int(conn.execute(_prepare("postgresql", "SELECT {now}")[1]).scalar_one())


async def shielded(work: asyncio.Task[R]) -> R:
    """Wait for a transaction that must not be cut: a cancelled caller leaves it running."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        work.add_done_callback(_swallow)
        raise


def _swallow(task: asyncio.Task[R]) -> None:
    if not task.cancelled():
        task.exception()
