from __future__ import annotations

import asyncio
import os
import pwd
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from core.clock import SystemClock
from core.errors import NotFound, StorageBusy, StorageFailure, StorageFull
from storage import sqlite
from storage.database import execute
from storage.migrate import migrate_sqlite
from storage.sqlite import SqliteDatabase
from tests.storage.kit import sqlite_database
from tests.support.processes import Process

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def db(tmp_path: Path) -> AsyncGenerator[SqliteDatabase]:
    """A migrated database."""
    async with sqlite_database(tmp_path / "it0.db") as database:
        yield database


def _put(conn: sa.Connection, key: str, value: str = "") -> str:
    execute(conn, "INSERT INTO installation (key, value) VALUES (:k, :v)", k=key, v=value)
    return key


def _put_and_fail(conn: sa.Connection, key: str) -> None:
    _put(conn, key)
    raise NotFound(key)


def _keys(conn: sa.Connection) -> list[object]:
    rows = execute(conn, "SELECT key FROM installation ORDER BY rowid").all()
    return [row[0] for row in rows]


def _hold(_conn: sa.Connection, started: threading.Event, release: threading.Event) -> None:
    started.set()
    assert release.wait(10)


@asynccontextmanager
async def _busy(db: SqliteDatabase) -> AsyncGenerator[None]:
    """What is queued inside waits for the writer, and so shares the next commit."""
    started, release = threading.Event(), threading.Event()
    holding = asyncio.create_task(db.transaction(_hold, started, release))
    assert await asyncio.to_thread(started.wait, 10)
    yield
    await asyncio.sleep(0)  # tasks that were made inside put their work into the queue
    release.set()
    await holding


async def test_a_failing_function_does_not_undo_its_neighbours(db: SqliteDatabase) -> None:
    """In a shared commit the one that fails is undone alone; order is kept."""
    async with _busy(db):
        jobs = [
            asyncio.create_task(db.transaction(_put_and_fail if n % 3 == 1 else _put, f"k{n}"))
            for n in range(9)
        ]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(result) for result in results] == [str, NotFound, str] * 3
    assert await db.read(_keys) == ["k0", "k2", "k3", "k5", "k6", "k8"]


async def test_waiting_functions_share_a_commit(db: SqliteDatabase) -> None:
    """Functions that queue while another runs are committed together, not one by one."""
    seen: list[int] = []

    def count(conn: sa.Connection) -> None:
        seen.append(int(str(execute(conn, "SELECT COUNT(*) FROM installation").one()[0])))
        _put(conn, str(len(seen)))
        with sqlite3.connect(f"file:{db.path}?mode=ro", uri=True) as other:
            committed.append(other.execute("SELECT COUNT(*) FROM installation").fetchone()[0])
        other.close()

    committed: list[int] = []
    async with _busy(db):
        jobs = [asyncio.create_task(db.transaction(count)) for _ in range(5)]
    await asyncio.gather(*jobs)
    assert seen == [0, 1, 2, 3, 4]
    assert committed == [0, 0, 0, 0, 0]


async def test_an_integrity_error_is_the_callers_alone(db: SqliteDatabase) -> None:
    """A database error in one function of a group reaches its caller and nobody else."""
    async with _busy(db):
        jobs = [asyncio.create_task(db.transaction(_put, key)) for key in ("a", "a", "b")]
    first, second, third = await asyncio.gather(*jobs, return_exceptions=True)
    assert (first, third) == ("a", "b")
    assert isinstance(second, sqlite3.IntegrityError)


async def test_cancelled_caller_leaves_the_transaction_whole(db: SqliteDatabase) -> None:
    """A caller that is cancelled while its function waits does not cut it."""
    async with _busy(db):
        waiting = asyncio.create_task(db.transaction(_put, "waiting"))
        await asyncio.sleep(0)
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await db.transaction(_put, "after")
    assert await db.read(_keys) == ["waiting", "after"]


async def test_reads_cannot_write(db: SqliteDatabase) -> None:
    """A function given to ``read`` cannot change anything."""
    with pytest.raises(StorageFailure, match="readonly"):
        await db.read(_put, "x")
    await db.transaction(_put, "y")
    assert await db.read(_keys) == ["y"]


async def test_read_sees_what_was_acknowledged(db: SqliteDatabase) -> None:
    """A read that begins after a commit's answer sees that commit."""
    for number in range(50):
        await db.transaction(_put, str(number))
        assert len(await db.read(_keys)) == number + 1


async def test_durability_settings(db: SqliteDatabase) -> None:
    """Commits are WAL with ``synchronous=FULL``: they survive a power loss."""

    def pragmas(conn: sa.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "busy_timeout")
        return [execute(conn, f"PRAGMA {name}").one()[0] for name in names]

    assert await db.transaction(pragmas) == ["wal", 2, sqlite.BUSY_MS]


async def test_after_close_nothing_is_accepted(tmp_path: Path) -> None:
    """What is queued at the close is still committed; what comes later gets a sentence."""
    async with sqlite_database(tmp_path / "it0.db") as db:
        async with _busy(db):
            queued = asyncio.create_task(db.transaction(_put, "queued"))
            await asyncio.sleep(0)
            closing = asyncio.create_task(db.close())
        await asyncio.gather(queued, closing)
        with pytest.raises(StorageFailure, match="shutting down"):
            await asyncio.wait_for(db.transaction(_put, "late"), 5)
    with sqlite3.connect(tmp_path / "it0.db") as check:
        assert check.execute("SELECT key FROM installation").fetchall() == [("queued",)]
    check.close()


# -- faults -------------------------------------------------------------------------------

_LOCKER = """
import sqlite3, sys, time
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
conn.execute("BEGIN IMMEDIATE")
print("locked")
time.sleep(60)
"""


async def test_locked_by_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another program holds the write lock, writes get a sentence; reads go on."""
    pragmas = [p for p in sqlite._PRAGMAS if not p.startswith("busy")] + ["busy_timeout=50"]
    monkeypatch.setattr(sqlite, "_PRAGMAS", tuple(pragmas))
    async with sqlite_database(tmp_path / "it0.db") as db:
        await db.transaction(_put, "before")
        with Process([sys.executable, "-c", _LOCKER, str(db.path)]) as locker:
            locker.wait_for("locked")
            with pytest.raises(StorageBusy, match="locked by another program"):
                await db.transaction(_put, "during")
            assert await db.read(_keys) == ["before"]
        await db.transaction(_put, "after")
        assert await db.read(_keys) == ["before", "after"]


async def test_full_database(db: SqliteDatabase) -> None:
    """A full database refuses with a sentence, keeps what it has, and recovers."""

    def limit(conn: sa.Connection, pages: int) -> None:
        execute(conn, f"PRAGMA max_page_count={pages}").all()

    await db.transaction(_put, "small")
    await db.transaction(limit, 1)  # SQLite raises it to the present size
    with pytest.raises(StorageFull, match="disk is full"):
        await db.transaction(_put, "big", "x" * 500_000)
    await db.transaction(limit, 1_000_000)
    await db.transaction(_put, "big", "x" * 500_000)
    assert await db.read(_keys) == ["small", "big"]


async def test_full_database_in_a_group(db: SqliteDatabase) -> None:
    """When SQLite itself rolls a shared transaction back, nobody is told that it was stored."""

    def limit(conn: sa.Connection, pages: int) -> None:
        execute(conn, f"PRAGMA max_page_count={pages}").all()

    await db.transaction(limit, 1)
    async with _busy(db):
        jobs = [
            asyncio.create_task(db.transaction(_put, key, value))
            for key, value in (("a", ""), ("b", "x" * 500_000), ("c", ""))
        ]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    stored = await db.read(_keys)
    assert isinstance(results[1], StorageFull)
    assert [result for result in results if isinstance(result, str)] == stored
    assert all(isinstance(result, str | StorageFull) for result in results)
    await db.transaction(limit, 1_000_000)
    await db.transaction(_put, "later")


async def test_transaction_that_sqlite_rolled_back(db: SqliteDatabase) -> None:
    """A rollback behind our back fails every function of the group, with no false answer."""

    def roll_back(conn: sa.Connection) -> None:
        execute(conn, "ROLLBACK")
        raise NotFound("x")

    async with _busy(db):
        jobs = [
            asyncio.create_task(db.transaction(_put, "a")),
            asyncio.create_task(db.transaction(roll_back)),
            asyncio.create_task(db.transaction(_put, "b")),
        ]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert [type(result) for result in results] == [StorageFailure] * 3
    with pytest.raises(sqlite3.OperationalError, match="no transaction"):
        await db.transaction(lambda conn: execute(conn, "ROLLBACK"))
    assert await db.read(_keys) == []


async def test_corrupt_file_and_recovery(tmp_path: Path) -> None:
    """A file that is no database gets a sentence; once it is replaced, work goes on."""
    path = tmp_path / "it0.db"
    path.write_bytes(b"this is not a database" * 1000)
    with pytest.raises(StorageFailure, match="cannot be used"):
        migrate_sqlite(path)
    db = SqliteDatabase(path, SystemClock())
    try:
        for work in (db.read, db.transaction):
            with pytest.raises(StorageFailure, match="it0 restore"):
                await work(_keys)
        path.unlink()
        migrate_sqlite(path)
        await db.transaction(_put, "fine")
        assert await db.read(_keys) == ["fine"]
    finally:
        await db.close()


async def test_directory_that_is_not_there(tmp_path: Path) -> None:
    """A database that cannot be opened gets a sentence."""
    db = SqliteDatabase(tmp_path / "missing" / "it0.db", SystemClock())
    try:
        with pytest.raises(StorageFailure, match="permissions"):
            await db.transaction(_keys)
    finally:
        await db.close()


_READ_ONLY = """
import asyncio, sys
from pathlib import Path
from core.clock import SystemClock
from core.errors import StorageFailure
from storage.migrate import migrate_sqlite
try:
    migrate_sqlite(Path(sys.argv[1]))
except StorageFailure as failure:
    print(type(failure).__name__, failure.sentence)
"""


def test_read_only_directory(tmp_path: Path) -> None:
    """In a directory that is not writable for us there is a sentence, not a traceback."""
    tmp_path.chmod(0o555)
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    directory = tmp_path
    for parent in directory.parents:
        if user is not None and not parent.stat().st_mode & 0o001:
            directory = Path("/proc/self")  # closed to everybody, also where /tmp is closed
    done = subprocess.run(
        [sys.executable, "-c", _READ_ONLY, str(directory / "it0.db")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        user=None if user is None or directory != tmp_path else user.pw_uid,
    )
    tmp_path.chmod(0o755)
    assert done.stdout.startswith("StorageFailure The database file cannot be used"), done.stderr


def test_old_sqlite_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SQLite without RETURNING is refused with a sentence that says what to do."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(StorageFailure, match=r"too old: 3\.35 or newer is needed"):
        SqliteDatabase(tmp_path / "it0.db", SystemClock())


# -- kill -9 ------------------------------------------------------------------------------

_WRITER = """
import asyncio, sys
from pathlib import Path
from core.clock import SystemClock
from storage.database import execute
from storage.sqlite import SqliteDatabase

def put(conn, number):
    execute(conn, "INSERT INTO installation (key, value) VALUES (:k, :v)",
            k=f"{number:09d}", v="x" * 200)
    return number

async def write(db, first, step):
    number = first
    while True:
        print("done", await db.transaction(put, number), flush=True)
        number += step

async def main():
    db = SqliteDatabase(Path(sys.argv[1]), SystemClock())
    start = int(sys.argv[2])
    await asyncio.gather(*(write(db, start + lane, 8) for lane in range(8)))

asyncio.run(main())
"""


def _kill_rounds(path: Path, rounds: int) -> None:
    migrate_sqlite(path)
    for number in range(rounds):
        start = 1_000_000 * (number + 1)
        with Process([sys.executable, "-c", _WRITER, str(path), str(start)], cwd=ROOT) as writer:
            writer.wait_for(rf"^done {start + 40 + 16 * number}$")
            writer.kill()
            said = writer.output().split("\n")[:-1]  # the last line may be cut
        acknowledged = {f"{int(line.split()[1]):09d}" for line in said}
        with sqlite3.connect(path) as check:
            stored = {row[0] for row in check.execute("SELECT key FROM installation")}
            assert check.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        check.close()
        assert acknowledged <= stored
        assert len(acknowledged) > 5


def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """Whatever was acknowledged before a kill -9 is there afterwards, and the file is sound."""
    _kill_rounds(tmp_path / "it0.db", 2)


@pytest.mark.slow
def test_kill_9_many_times(tmp_path: Path) -> None:
    """The same, over and over on one file."""
    _kill_rounds(tmp_path / "it0.db", 25)
