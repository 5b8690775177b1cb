from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress

import pytest
import sqlalchemy as sa

from core.errors import NotFound, StorageFailure, StorageFull, StorageUnreachable
from storage.database import execute
from storage.migrate import migrate_postgres
from storage.postgres import PostgresDatabase
from tests.storage.kit import postgres_database
from tests.support.postgres import PostgresServer
from tests.support.processes import free_port

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database of the test's own."""
    made = postgres_server.create_database()
    yield made
    postgres_server.drop_database(made)


@pytest.fixture
async def db(url: str) -> AsyncGenerator[PostgresDatabase]:
    """A migrated database."""
    async with postgres_database(url) as database:
        yield database


def _put(conn: sa.Connection, key: str) -> str:
    execute(conn, "INSERT INTO installation (key, value) VALUES (:k, '')", k=key)
    return key


def _keys(conn: sa.Connection) -> list[object]:
    return [row[0] for row in execute(conn, "SELECT key FROM installation ORDER BY key")]


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen within 20 seconds")


async def test_a_failing_function_is_rolled_back(db: PostgresDatabase) -> None:
    """What a function wrote before it failed is not there; its error reaches the caller."""

    def fail(conn: sa.Connection) -> None:
        _put(conn, "x")
        raise NotFound("x")

    with pytest.raises(NotFound):
        await db.transaction(fail)
    assert await db.read(_keys) == []


async def _stored(db: PostgresDatabase, key: str) -> None:
    """Wait until a transaction that nobody waits for has committed."""
    for _ in range(500):
        if await db.read(_keys) == [key]:
            return
        await asyncio.sleep(0.02)
    pytest.fail("the transaction was cut")


async def test_cancelled_caller_does_not_cut_the_transaction(db: PostgresDatabase) -> None:
    """A caller that is cancelled in the middle leaves the transaction to commit by itself."""

    def slow(conn: sa.Connection) -> None:
        _put(conn, "x")
        execute(conn, "SELECT pg_sleep(0.2)")

    for delay in (0.0, 0.05, 0.15):
        task = asyncio.create_task(db.transaction(slow))
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _stored(db, "x")
        await db.transaction(lambda conn: execute(conn, "DELETE FROM installation"))


async def test_cut_connections_are_not_noticed(db: PostgresDatabase, url: str) -> None:
    """Pooled connections that were cut while idle are replaced; no caller sees an error."""
    await asyncio.gather(*(db.transaction(_put, f"a{n}") for n in range(8)))
    assert await _terminate_all(url) >= 1
    results = await asyncio.gather(*(db.transaction(_put, f"b{n}") for n in range(8)))
    assert sorted(results) == [f"b{n}" for n in range(8)]


async def _terminate_all(url: str) -> int:
    """Cut every connection of the pool, from a connection outside it."""
    other = PostgresDatabase(url, size=1)
    try:
        cut = await other.transaction(
            lambda conn: execute(
                conn,
                "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            ).one()
        )
    finally:
        await other.close()
    return int(str(cut[0]))


async def test_cut_in_the_middle_is_run_again(db: PostgresDatabase, url: str) -> None:
    """A transaction whose connection dies before its COMMIT runs again, whole and once."""
    tries: list[int] = []

    def slow(conn: sa.Connection) -> None:
        tries.append(1)
        _put(conn, "x")
        if len(tries) == 1:
            execute(conn, "SELECT pg_sleep(30)")

    task = asyncio.create_task(db.transaction(slow))
    await _until(lambda: bool(tries))
    await asyncio.sleep(0.1)
    await _terminate_all(url)
    await asyncio.wait_for(task, 10)
    assert len(tries) == 2
    assert await db.read(_keys) == ["x"]


async def test_deadlock_is_run_again(db: PostgresDatabase) -> None:
    """Two transactions that lock in opposite order both succeed."""
    await db.transaction(_put, "a")
    await db.transaction(_put, "b")

    def lock(conn: sa.Connection, first: str, second: str) -> None:
        update = "UPDATE installation SET value = value || 'x' WHERE key = :k"
        execute(conn, update, k=first)
        execute(conn, "SELECT pg_sleep(0.2)")
        execute(conn, update, k=second)

    await asyncio.gather(db.transaction(lock, "a", "b"), db.transaction(lock, "b", "a"))
    rows = await db.read(lambda c: execute(c, "SELECT value FROM installation").all())
    assert [row[0] for row in rows] == ["xx", "xx"]


async def test_serialisation_failure_is_run_again(db: PostgresDatabase) -> None:
    """A serialisation failure is retried a bounded number of times, then told."""
    tries: list[int] = []

    def fail(conn: sa.Connection, until: int) -> int:
        tries.append(1)
        if len(tries) <= until:
            execute(conn, "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$")
        return len(tries)

    assert await db.transaction(fail, 3) == 4
    tries.clear()
    with pytest.raises(sa.exc.DBAPIError):
        await db.transaction(fail, 99)
    assert len(tries) == 4


@pytest.mark.parametrize("state", ["25006", "57014", "55006"])
async def test_a_server_that_cannot_just_now_has_a_sentence(
    db: PostgresDatabase, state: str
) -> None:
    """A fail-over or a cancelled statement is no bug of ours: whoever asked may ask again."""

    def refuse(conn: sa.Connection) -> None:
        execute(conn, f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$")

    with pytest.raises(StorageUnreachable, match="Try again"):
        await db.transaction(refuse)


async def test_out_of_space_has_a_sentence(db: PostgresDatabase) -> None:
    """A full disk becomes ``StorageFull``."""

    def full(conn: sa.Connection) -> None:
        execute(conn, "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100'; END $$")

    with pytest.raises(StorageFull, match="out of space"):
        await db.transaction(full)


@pytest.mark.parametrize("kind", ["nobody listens", "no such database"])
async def test_unreachable_has_a_sentence(url: str, kind: str) -> None:
    """A server that is not there, or has no such database, is told in a sentence."""
    if kind == "nobody listens":
        bad = f"postgresql+asyncpg://postgres@127.0.0.1:{free_port()}/x"
    else:
        bad = url.rsplit("/", 1)[0] + "/missing"
    db = PostgresDatabase(bad, size=1)
    try:
        with pytest.raises(StorageUnreachable, match="IT0_DATABASE_URL"):
            await db.transaction(_keys)
    finally:
        await db.close()


class _Heard:
    """What LISTEN delivered."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.payloads: list[str] = []
        self._more = asyncio.Event()

    def __call__(self, payload: str) -> None:
        """Note it."""
        self.payloads.append(payload)
        self._more.set()

    async def until(self, payload: str, *, times: int = 1) -> None:
        """Wait until it was heard that often."""
        async with asyncio.timeout(20):
            while self.payloads.count(payload) < times:
                self._more.clear()
                await self._more.wait()


async def test_listen_reconnects_and_wakes(db: PostgresDatabase, url: str) -> None:
    """NOTIFY is heard; after a cut the listener reconnects and wakes for what it missed."""
    heard = _Heard()
    listening = asyncio.create_task(db.listen({"turns": heard}))
    try:
        await heard.until("")
        await db.transaction(lambda conn: execute(conn, "SELECT pg_notify('turns', 'one')"))
        await heard.until("one")
        await _terminate_all(url)
        await heard.until("", times=2)
        await db.transaction(lambda conn: execute(conn, "SELECT pg_notify('turns', 'two')"))
        await heard.until("two")
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


@pytest.fixture
def durable_server() -> Iterator[PostgresServer]:
    """A server that may be killed: it keeps PostgreSQL's own durability."""
    with PostgresServer(fsync=True) as server:
        yield server


async def test_server_killed_and_restarted(durable_server: PostgresServer) -> None:
    """While a killed server is away there are sentences; afterwards all that was acknowledged."""
    async with postgres_database(durable_server.create_database()) as db:
        heard = _Heard()
        listening = asyncio.create_task(db.listen({"turns": heard}))
        await heard.until("")
        acknowledged = await _write_through_a_crash(db, durable_server)
        await heard.until("", times=2)
        stored = set(map(str, await db.read(_keys)))
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
    assert len(acknowledged["before"]) >= 20
    assert len(acknowledged["after"]) == 12
    assert acknowledged["before"] | acknowledged["after"] <= stored


async def _write_through_a_crash(
    db: PostgresDatabase, server: PostgresServer
) -> dict[str, set[str]]:
    acknowledged: dict[str, set[str]] = {"before": set(), "after": set()}
    restarted = asyncio.Event()
    numbers = itertools.count()

    async def write() -> None:
        left = 3
        while left:
            when = "after" if restarted.is_set() else "before"
            try:
                key = await db.transaction(_put, str(next(numbers)))
            except StorageFailure:
                await asyncio.sleep(0.05)
                continue
            acknowledged[when].add(key)
            left -= when == "after"

    lanes = [asyncio.create_task(write()) for _ in range(4)]
    await _until(lambda: len(acknowledged["before"]) >= 20)
    await asyncio.to_thread(server.kill)
    with pytest.raises(StorageUnreachable):
        await db.transaction(_keys)
    await asyncio.to_thread(server.start)
    restarted.set()
    await asyncio.gather(*lanes)
    return acknowledged


async def test_listen_understands_the_options_of_the_url(url: str) -> None:
    """What SQLAlchemy reads from the URL reaches LISTEN in the same way."""
    db = PostgresDatabase(f"{url}?ssl=disable&prepared_statement_cache_size=50", size=1)
    heard = _Heard()
    listening = asyncio.create_task(db.listen({"turns": heard}))
    try:
        await heard.until("")
        await db.transaction(lambda conn: execute(conn, "SELECT pg_notify('turns', 'one')"))
        await heard.until("one")
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await db.close()


class _Line:
    """A network between the pool and the server that can swallow what it carries."""

    def __init__(self, url: str) -> None:
        """To the server of the URL."""
        self._target = sa.make_url(url)
        self.swallow: Callable[[bytes], bool] = lambda _data: False
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[str]:
        """The URL of the near end."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        url = self._target.set(host="127.0.0.1", port=port)
        try:
            yield url.render_as_string(hide_password=False)
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, onward = await asyncio.open_connection(self._target.host, self._target.port)
        for reader, writer in ((near, onward), (far, back)):
            self._tasks.add(asyncio.create_task(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if not self.swallow(data):
                    writer.write(data)
        writer.close()


async def test_a_silent_network_is_noticed(url: str) -> None:
    """A statement that gets no answer fails in time; the next one uses a new connection."""
    line = _Line(url)
    async with line.open() as near:
        db = PostgresDatabase(near, size=1, command_s=0.5)
        await migrate_postgres(db)
        assert await db.read(_keys) == []
        line.swallow = lambda _data: True
        async with asyncio.timeout(20):
            with pytest.raises(StorageUnreachable, match="nothing was stored"):
                await db.transaction(_put, "x")
        line.swallow = lambda _data: False
        assert await db.transaction(_put, "y") == "y"
        assert await db.read(_keys) == ["y"]
        await db.close()


async def test_a_lost_answer_to_a_commit_is_not_called_a_failure(url: str) -> None:
    """Nobody knows whether it was stored, and the sentence says so; it is not run again."""
    line = _Line(url)
    async with line.open() as near:
        db = PostgresDatabase(near, size=1, command_s=0.5)
        await migrate_postgres(db)
        assert await db.read(_keys) == []
        line.swallow = lambda data: data.startswith(b"C") and b"COMMIT" in data
        with pytest.raises(StorageUnreachable, match="unknown"):
            await db.transaction(_put, "x")
        await db.close()
