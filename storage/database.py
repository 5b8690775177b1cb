"""The two databases behind one small port: ``transaction(fn, ...)`` and ``read(fn, ...)``.

A repository function is synchronous and takes a Core connection first. On SQLite it runs on
the one writer thread, in a commit shared with whatever else was waiting; on PostgreSQL the
same function runs through ``AsyncConnection.run_sync`` on asyncpg. Nothing else commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import sqlalchemy as sa

from core.clock import Clock

P = ParamSpec("P")
R = TypeVar("R")

Fn = Callable[Concatenate[sa.Connection, P], R]

CLOCK = "it0.now_ms"
"""Key in ``Connection.info`` of the SQLite clock; PostgreSQL uses the server's."""

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


@lru_cache(maxsize=512)
def _prepare(dialect: str, template: str) -> tuple[sa.TextClause, bool]:
    text = template
    for name, fragment in _FRAGMENTS[dialect].items():
        text = text.replace("{" + name + "}", fragment)
    return sa.text(text), ":now" in text


def execute(
    conn: sa.Connection, template: str, **params: str | int | bytes | None
) -> sa.CursorResult[*tuple[object, ...]]:
    """Run one statement written for both databases.

    ``{now}`` becomes the current time in epoch milliseconds (the server's on PostgreSQL),
    ``{lock}`` ``FOR UPDATE SKIP LOCKED``, ``{row}`` ``FOR UPDATE`` and ``{share}``
    ``FOR SHARE`` where the database has them (SQLite has one writer and needs none).
    """
    clause, wants_now = _prepare(conn.dialect.name, template)
    if wants_now:
        params["now"] = now_ms(conn)
    return conn.execute(clause, params)


def now_ms(conn: sa.Connection) -> int:
    """The database's time in epoch milliseconds."""
    clock: Clock | None = conn.info.get(CLOCK)
    if clock is not None:
        return clock.now_ms()
    return int(conn.execute(_prepare("postgresql", "SELECT {now}")[0]).scalar_one())


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
