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
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event, pool

from core.clock import Clock
from core.errors import StorageBusy, StorageFailure, StorageFull
from core.words import sentence
from storage.database import CLOCK, DRIVER, Fn, P, R

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


_Done = tuple[_Job, object, BaseException | None]


class _Thread:
    """One thread with one connection that runs jobs in order, in shared transactions."""

    def __init__(self, name: str, path: Path, clock: Clock, *, writes: bool) -> None:
        self._engine = _engine(path, clock, writes=writes)
        self._begin = "BEGIN IMMEDIATE" if writes else "BEGIN"
        self._conn: sa.Connection | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[sa.Connection], _T]) -> _T:
        if self._closed:
            raise StorageFailure(
                sentence("IT0 is shutting down; nothing was stored. Try again soon.")
            )
        future: asyncio.Future[_T] = self._loop.create_future()
        self._jobs.put(_Job(work, future))
        return await future

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        open_for_more = True
        while open_for_more:
            batch: list[_Job] = []
            job = self._jobs.get()
            while job is not None:
                batch.append(job)
                if len(batch) == _MAX_GROUP or self._jobs.empty():
                    break
                job = self._jobs.get()
            open_for_more = job is not None
            if batch:
                self._answer(self._commit(batch))
        self._disconnect()

    def _answer(self, done: list[_Done]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_resolve, done)

    def _commit(self, batch: list[_Job]) -> list[_Done]:
        try:
            conn = self._connected()
            driver: sqlite3.Connection = conn.info[DRIVER]
            driver.execute(self._begin)
            if len(batch) == 1:
                done: list[_Done] = [(batch[0], batch[0].work(conn), None)]
            else:
                done = [_guarded(conn, driver, job) for job in batch]
            driver.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody may be told "stored"
            self._roll_back()
            failure = translated(error)
            return [(job, None, failure) for job in batch]
        return done

    def _connected(self) -> sa.Connection:
        if self._conn is None:
            self._conn = self._engine.connect()
        return self._conn

    def _roll_back(self) -> None:
        if self._conn is None:
            return
        driver: sqlite3.Connection = self._conn.info[DRIVER]
        try:
            if driver.in_transaction:
                driver.execute("ROLLBACK")
        except sqlite3.Error:
            self._disconnect()  # the next transaction starts with a fresh connection

    def _disconnect(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None
        self._engine.dispose()


def _guarded(conn: sa.Connection, driver: sqlite3.Connection, job: _Job) -> _Done:
    """Run one of several jobs in a savepoint of its own."""
    driver.execute("SAVEPOINT job")
    try:
        result = job.work(conn)
    except Exception as error:
        if not driver.in_transaction:
            raise _undone(error) from error
        driver.execute("ROLLBACK TO job")
        driver.execute("RELEASE job")
        return job, None, translated(error)
    driver.execute("RELEASE job")
    return job, result, None


def _undone(error: Exception) -> Exception:
    """SQLite itself rolled everybody's work back, as it does on a full disk."""
    failure = translated(error)
    if isinstance(failure, StorageFailure):
        return failure
    return StorageFailure(
        sentence("The database undid a transaction; nothing was stored. Try again.")
    )


def _resolve(done: list[_Done]) -> None:
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
        self._writer = _Thread("sqlite-writer", path, clock, writes=True)
        self._reader = _Thread("sqlite-reader", path, clock, writes=False)

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


def _engine(path: Path, clock: Clock, *, writes: bool) -> sa.Engine:
    """An engine that leaves BEGIN and COMMIT to the thread that owns its one connection."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=pool.NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"check_same_thread": False, "cached_statements": 512},
    )

    @event.listens_for(engine, "connect")
    def _connect(driver: sqlite3.Connection, record: pool.ConnectionPoolEntry) -> None:
        record.info[CLOCK] = clock
        record.info[DRIVER] = driver
        driver.isolation_level = None  # the driver must not BEGIN for us
        for pragma in _PRAGMAS:
            driver.execute(f"PRAGMA {pragma}")
        if not writes:
            driver.execute("PRAGMA query_only=ON")

    return engine


def translated(error: Exception) -> Exception:
    """Turn the driver's error into one of ours, with a sentence; others pass."""
    original = getattr(error, "orig", error)
    if not isinstance(original, sqlite3.Error):
        return error
    code = getattr(original, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StorageBusy(
            sentence(
                "The database is locked by another program. Close what has it open (a backup, "
                "a database browser) and try again; nothing was stored."
            )
        )
    if code is not None and code & 0xFF in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
        return StorageFull(
            sentence(
                "The database could not be written: the disk is full or failing. Free some "
                "space and try again; nothing was stored."
            )
        )
    if code is not None and code & 0xFF in {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_PERM,
    }:
        return StorageFailure(
            sentence(
                "The database file cannot be used ({problem}). Check its permissions, or "
                "restore a backup with `it0 restore FILE`.",
                problem=str(original),
            )
        )
    return error
