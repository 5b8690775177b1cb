"""PostgreSQL through asyncpg: the same repository functions by ``run_sync``."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import asyncpg
import sqlalchemy as sa
import structlog
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from core.errors import It0Error, StorageBusy, StorageFull, StorageUnreachable
from core.words import sentence
from storage.database import Fn, P, R, shielded

_RETRIES = 3
_CONNECT_S = 5
_CLOSE_S = 10
COMMAND_S = 30.0
"""Longest answer to one statement: a network that swallows packets must not stop a heartbeat."""
DRIVER_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
_log = structlog.get_logger()


class PostgresDatabase:
    """A pool of connections; any number of processes may share the server."""

    exclusive = False

    def __init__(self, url: str, *, size: int = 10, command_s: float | None = COMMAND_S) -> None:
        """``url`` begins with ``postgresql+asyncpg://``; connects at the first use.

        ``command_s`` is the longest answer to one statement; None for as long as it takes.
        """
        self._url = url
        self.engine: AsyncEngine = create_async_engine(
            url,
            pool_size=size,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=False,
            connect_args={"timeout": _CONNECT_S, "command_timeout": command_s},
        )
        self._open: set[asyncio.Task[Any]] = set()

    def patient(self) -> PostgresDatabase:
        """One more connection to the same database, for what takes long: migrations."""
        return PostgresDatabase(self._url, size=1, command_s=None)

    async def transaction(self, fn: Fn[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``fn`` and commit; deadlocks and serialisation failures are run again.

        A cancelled caller does not cut the transaction: it commits or fails by itself.
        """
        work = asyncio.create_task(self._transaction(fn, *args, **kwargs))
        self._open.add(work)
        work.add_done_callback(self._open.discard)
        return await shielded(work)

    async def read(self, fn: Fn[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``fn``; the same as a transaction on this database."""
        return await self.transaction(fn, *args, **kwargs)

    async def close(self) -> None:
        """Let transactions end whose callers have gone, then close the pool."""
        if self._open:
            await asyncio.wait(self._open, timeout=_CLOSE_S)
        await self.engine.dispose()

    async def _transaction(self, fn: Fn[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        work = partial(_call, fn, args, kwargs)
        for tries_left in range(_RETRIES, -1, -1):
            commit_sent = False
            try:
                async with self.engine.connect() as conn:
                    transaction = await conn.begin()
                    result = await conn.run_sync(work)
                    commit_sent = True
                    await transaction.commit()
                    return result
            except It0Error:
                raise
            except (exc.SQLAlchemyError, *DRIVER_ERRORS) as error:
                if not (tries_left and _worth_repeating(error, commit_sent=commit_sent)):
                    raise translated(error, commit_sent=commit_sent) from error
            await asyncio.sleep(random.uniform(0.005, 0.05))  # noqa: S311  # jitter, no secret
        raise AssertionError  # the last try returned or raised

    def _listener_arguments(self) -> dict[str, Any]:
        """What the pool gives to asyncpg: it reads the URL's options in its own way."""
        dialect, url = self.engine.dialect, self.engine.url
        arguments = dict(dialect.create_connect_args(url)[1])
        for name in ("prepared_statement_cache_size", "prepared_statement_name_func"):
            arguments.pop(name, None)
        return arguments | {"timeout": _CONNECT_S, "command_timeout": COMMAND_S}

    async def listen(self, channels: dict[str, Callable[[str], None]]) -> None:
        """Call back on NOTIFY until cancelled; reconnects, and wakes all after a gap."""
        while True:
            try:
                await self._listen_once(channels)
            except DRIVER_ERRORS as error:
                _log.warning("listen.lost", error=type(error).__name__)
            await asyncio.sleep(1)

    async def _listen_once(self, channels: dict[str, Callable[[str], None]]) -> None:
        conn = await asyncpg.connect(**self._listener_arguments())
        lost = asyncio.Event()
        conn.add_termination_listener(lambda _: lost.set())
        try:
            for channel, callback in channels.items():

                def heard(
                    _conn: object,
                    _pid: int,
                    _channel: str,
                    payload: object,
                    callback: Callable[[str], None] = callback,
                ) -> None:
                    callback(str(payload))

                await conn.add_listener(channel, heard)
                callback("")
            await lost.wait()
        finally:
            await conn.close(timeout=2)


def _sqlstate(error: BaseException) -> str:
    original = getattr(error, "orig", error)
    return str(getattr(original, "sqlstate", None) or getattr(original, "pgcode", None) or "")


def _call(
    fn: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any], conn: sa.Connection
) -> R:
    return fn(conn, *args, **kwargs)


def _worth_repeating(error: Exception, *, commit_sent: bool) -> bool:
    """Whether the transaction surely did not commit and may well succeed now."""
    if _sqlstate(error) in {"40P01", "40001"}:  # deadlock, serialisation failure
        return True
    # A pooled connection that died while nobody looked. (Lost during COMMIT: nobody knows.)
    return not commit_sent and bool(getattr(error, "connection_invalidated", False))


_PASSING = frozenset({"25006", "57014", "55006"})
"""Read-only after a fail-over, cancelled, in use: asked again it may work; nothing was stored."""


def translated(error: Exception, *, commit_sent: bool = False) -> Exception:
    """Turn the driver's error into one of ours, with a sentence."""
    state = _sqlstate(error)
    if state.startswith("53"):
        return StorageFull(
            sentence(
                "PostgreSQL is out of space or connections. Free some and try again; "
                "nothing was stored."
            )
        )
    if state == "55P03":  # lock_timeout, in migrations
        return StorageBusy(
            sentence(
                "PostgreSQL is busy: another session holds a lock that is needed here. Try again, "
                "or end that session; nothing was changed."
            )
        )
    gone = state.startswith(("08", "57P", "28", "3D")) or isinstance(error, OSError)
    gone = gone or getattr(error, "connection_invalidated", False)
    gone = gone or isinstance(error, exc.InterfaceError | exc.TimeoutError | asyncpg.InterfaceError)
    gone = gone or (isinstance(error, exc.OperationalError) and not state)
    if gone and commit_sent:
        return StorageUnreachable(
            sentence(
                "PostgreSQL went away while it was storing; whether it did is unknown. Look before "
                "you try again, and check IT0_DATABASE_URL and that the server runs."
            )
        )
    if gone:
        return StorageUnreachable(
            sentence(
                "PostgreSQL cannot be reached. Check IT0_DATABASE_URL and that the server runs; "
                "nothing was stored."
            )
        )
    if state in _PASSING and not commit_sent:
        return StorageUnreachable(
            sentence(
                "PostgreSQL did not take it now (it restarts, fails over or is overloaded). Try "
                "again; nothing was stored."
            )
        )
    return error  # a bug of ours: let it be seen
