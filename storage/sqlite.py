"""SQLite: one writer thread with group commit, one reader thread, a lock on the directory.

Functions that queue while the last COMMIT runs share the next one, each in a savepoint of
its own, so one that fails does not undo its neighbours. ``synchronous=FULL``: a commit that
was acknowledged survives a power loss.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, pool

from core.clock import Clock
from core.errors import StorageBusy, StorageFailure, StorageFull
from storage.database import CLOCK, Fn, P, R

MINIMUM = (3, 35, 0)
"""RETURNING needs SQLite 3.35 (sqlite.org/lang_returning.html)."""

BUSY_MS = 5_000
"""How long another process may hold the write lock before a request is refused."""

_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    f"busy_timeout={BUSY_MS}",
    "foreign_keys=ON",
    "wal_autocheckpoint=1000",
    "cache_size=-8000",
)
_MAX_GROUP = 256
_T = TypeVar("_T")


class _Job:
    __slots__ = ("future", "work")

    def __init__(self, work: Callable[[sa.Connection], Any], future: asyncio.Future[Any]) -> None:
        self.work = work
        self.future = future


class _Thread:
    """One thread with one connection that runs jobs in order, in shared transactions."""

    def __init__(self, name: str, url: str, clock: Clock, *, writes: bool) -> None:
        self._engine = _engine(url, clock, writes=writes)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._writes = writes
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[sa.Connection], _T]) -> _T:
        future: asyncio.Future[_T] = self._loop.create_future()
        self._jobs.put(_Job(work, future))
        return await future

    async def close(self) -> None:
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._engine.dispose()

    def _run(self) -> None:
        open_for_more = True
        while open_for_more:
            first = self._jobs.get()
            if first is None:
                return
            batch = [first]
            while len(batch) < _MAX_GROUP:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    open_for_more = False
                    break
                batch.append(job)
            done = self._commit(batch)
            self._loop.call_soon_threadsafe(_resolve, done)

    def _commit(self, batch: list[_Job]) -> list[tuple[_Job, object, BaseException | None]]:
        try:
            with self._engine.begin() as conn:
                if len(batch) == 1:
                    return [(batch[0], batch[0].work(conn), None)]
                return [self._guarded(conn, job) for job in batch]
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody may be told "stored"
            failure = translated(error)
            return [(job, None, failure) for job in batch]

    @staticmethod
    def _guarded(conn: sa.Connection, job: _Job) -> tuple[_Job, object, BaseException | None]:
        conn.exec_driver_sql("SAVEPOINT job")
        try:
            result = job.work(conn)
        except Exception as error:  # noqa: BLE001  # handed to the one who asked
            conn.exec_driver_sql("ROLLBACK TO job")
            conn.exec_driver_sql("RELEASE job")
            return job, None, translated(error)
        conn.exec_driver_sql("RELEASE job")
        return job, result, None


def _resolve(done: list[tuple[_Job, object, BaseException | None]]) -> None:
    for job, result, error in done:
        if job.future.done():
            continue
        if error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)


class SqliteDatabase:
    """The embedded default. Start it inside the running event loop."""

    exclusive = True

    def __init__(self, path: Path, clock: Clock) -> None:
        """Open the file, creating it if needed. Raises ``StorageFailure`` with a sentence."""
        if sqlite3.sqlite_version_info < MINIMUM:
            raise StorageFailure(
                f"SQLite {sqlite3.sqlite_version} is too old: 3.35 or newer is needed. "
                "Use a newer Python, or PostgreSQL (IT0_DATABASE_URL)."
            )
        self.path = path
        url = f"sqlite:///{path}"
        self._writer = _Thread("sqlite-writer", url, clock, writes=True)
        self._reader = _Thread("sqlite-reader", url, clock, writes=False)

    async def transaction(self, fn: Fn[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``fn`` on the writer thread; returns after the shared COMMIT."""
        return await self._writer.run(partial(_call, fn, args, kwargs))

    async def read(self, fn: Fn[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``fn`` on the reader thread, on a snapshot of what is committed."""
        return await self._reader.run(partial(_call, fn, args, kwargs))

    async def close(self) -> None:
        """Finish the queue and close the file."""
        await self._reader.close()
        await self._writer.close()


def _call(
    fn: Callable[..., _T], args: tuple[Any, ...], kwargs: dict[str, Any], conn: sa.Connection
) -> _T:
    return fn(conn, *args, **kwargs)


def _engine(url: str, clock: Clock, *, writes: bool) -> sa.Engine:
    engine = sa.create_engine(
        url, poolclass=pool.StaticPool, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _connect(dbapi: sqlite3.Connection, record: pool.ConnectionPoolEntry) -> None:
        record.info[CLOCK] = clock
        dbapi.isolation_level = None  # the driver must not BEGIN for us
        for pragma in _PRAGMAS:
            dbapi.execute(f"PRAGMA {pragma}")
        if not writes:
            dbapi.execute("PRAGMA query_only=ON")

    @event.listens_for(engine, "begin")
    def _begin(conn: sa.Connection) -> None:
        conn.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def translated(error: Exception) -> Exception:
    """Turn the driver's error into one of ours, with a sentence; others pass."""
    original = getattr(error, "orig", error)
    if not isinstance(original, sqlite3.Error):
        return error
    code = getattr(original, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StorageBusy(
            "The database is locked by another program. Close what has it open (a backup, "
            "a database browser) and try again; nothing was stored."
        )
    if code is not None and code & 0xFF in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        return StorageFull(
            "The database could not be written: the disk is full or failing. Free some "
            "space and try again; nothing was stored."
        )
    if code is not None and code & 0xFF in {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
    }:
        return StorageFailure(
            f"The database file cannot be used ({original}). Check its permissions, or "
            "restore a backup with `it0 restore FILE`."
        )
    return error
