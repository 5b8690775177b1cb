from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from core.clock import SystemClock
from core.errors import StorageBusy, StorageFailure
from storage.migrate import (
    HEAD,
    SCRIPTS,
    config_for,
    downgrade,
    migrate_postgres,
    migrate_sqlite,
    require_head,
    revision,
    sqlite_engine,
    upgrade,
)
from storage.postgres import PostgresDatabase
from storage.sqlite import SqliteDatabase
from storage.tables import metadata
from tests.support.postgres import PostgresServer

Work = Callable[[sa.Connection], Any]

INSTALLATION_WIDE = {
    "installation",
    "workers",
    "tenants",
    "pairings",
    "installs",
    "plan_versions",
    "invoice_counters",
    "webhook_events",
}


class Bench:
    """Runs a function in one transaction on a database that nobody migrated."""

    def __init__(self, path: Path | None, url: str | None) -> None:
        """One of the two is given."""
        self.path, self.url = path, url

    async def run(self, work: Work) -> Any:
        """Run and commit."""
        if self.path is not None:
            engine = sqlite_engine(self.path)
            try:
                with engine.begin() as conn:
                    return work(conn)
            finally:
                engine.dispose()
        async with self._postgres() as db, db.engine.begin() as connection:
            return await connection.run_sync(work)

    async def migrate(self) -> None:
        """Do what a start does."""
        if self.path is not None:
            return await asyncio.to_thread(migrate_sqlite, self.path)
        async with self._postgres() as db:
            await migrate_postgres(db)
        return None

    @asynccontextmanager
    async def _postgres(self) -> AsyncGenerator[PostgresDatabase]:
        db = PostgresDatabase(str(self.url), size=2)
        try:
            yield db
        finally:
            await db.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """An empty database of either kind."""
    if request.param == "sqlite":
        yield Bench(tmp_path / "it0.db", None)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.create_database()
    yield Bench(None, url)
    server.drop_database(url)


def _tables(conn: sa.Connection) -> set[str]:
    return set(sa.inspect(conn).get_table_names())


async def test_up_down_up(bench: Bench) -> None:
    """Migrations go up, down to nothing, and up again."""
    await bench.run(upgrade)
    assert await bench.run(_tables) == {*metadata.tables, "alembic_version"}
    await bench.run(lambda conn: downgrade(conn, "base"))
    assert await bench.run(_tables) == {"alembic_version"}
    assert await bench.run(revision) is None
    await bench.run(upgrade)
    assert await bench.run(revision) == HEAD


async def test_migrations_make_the_tables(bench: Bench) -> None:
    """What the migrations make is what ``tables.py`` says: an autogenerate finds no difference."""
    await bench.run(upgrade)

    def difference(conn: sa.Connection) -> list[Any]:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    assert await bench.run(difference) == []


async def test_autogenerate_would_notice(bench: Bench) -> None:
    """The comparison above sees a missing column and a missing index."""
    await bench.run(upgrade)

    def spoil(conn: sa.Connection) -> list[str]:
        conn.execute(sa.text("DROP INDEX turns_finished"))
        conn.execute(sa.text("ALTER TABLE tenants DROP COLUMN engine"))
        found = compare_metadata(MigrationContext.configure(conn), metadata)
        return sorted(entry[0] for entry in found)

    assert await bench.run(spoil) == ["add_column", "add_index"]


async def test_head_constant(bench: Bench) -> None:
    """``HEAD`` is the newest revision script, and there is one line of them."""
    scripts = await bench.run(lambda conn: ScriptDirectory.from_config(config_for(conn)))
    assert scripts.get_heads() == [HEAD]


async def test_migrating_twice_changes_nothing(bench: Bench) -> None:
    """A database at the head is left alone; one that is behind refuses to be used unmigrated."""
    with pytest.raises(StorageFailure, match="it0 migrate"):
        await bench.run(require_head)
    await bench.migrate()
    await bench.migrate()
    await bench.run(require_head)


async def test_newer_database_is_refused(bench: Bench) -> None:
    """A database from a newer version is refused with a sentence, and stays as it is."""
    await bench.migrate()
    await bench.run(lambda c: c.execute(sa.text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(StorageFailure, match="newer version"):
        await bench.migrate()
    assert await bench.run(revision) == "9999"


async def test_migration_that_fails_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that dies half-way leaves no table behind, and the next start succeeds."""
    original = op.create_table

    def create(name: str, *rest: Any, **options: Any) -> Any:
        if name == "turns":
            raise StorageFailure("killed here")
        return original(name, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(op, "create_table", create)
        with pytest.raises(StorageFailure, match="killed here"):
            await bench.migrate()
    assert await bench.run(_tables) == set()
    await bench.migrate()
    assert await bench.run(revision) == HEAD


async def test_concurrent_migrations(bench: Bench) -> None:
    """Processes that start together on an empty database all find it migrated."""
    await asyncio.gather(*(bench.migrate() for _ in range(3)))
    assert await bench.run(revision) == HEAD


@pytest.mark.postgres
async def test_migrations_do_not_wait_for_locks(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On PostgreSQL a migration gives up behind a held lock, with a sentence."""
    url = postgres_server.create_database()
    bench = Bench(None, url)
    await bench.migrate()
    assert "lock_timeout = '10s'" in (SCRIPTS / "env.py").read_text()

    def impatient(conn: sa.Connection) -> None:
        downgrade(conn, "head")  # runs env.py, changes nothing
        assert conn.execute(sa.text("SHOW lock_timeout")).scalar_one() == "10s"
        conn.execute(sa.text("SET LOCAL lock_timeout = '50ms'"))
        conn.execute(sa.text("ALTER TABLE turns ADD COLUMN x INT"))

    db, other = PostgresDatabase(url, size=1), PostgresDatabase(url, size=1)
    try:
        async with other.engine.begin() as conn:
            await conn.execute(sa.text("LOCK TABLE turns IN ACCESS SHARE MODE"))
            with pytest.raises(StorageBusy, match="lock"):
                await db.transaction(impatient)
    finally:
        await db.close()
        await other.close()
        postgres_server.drop_database(url)


async def test_every_row_names_its_tenant() -> None:
    """Every table but the installation's own has a tenant column that is never null."""
    without = {
        name
        for name, table in metadata.tables.items()
        if "tenant_id" not in table.columns or table.columns["tenant_id"].nullable
    }
    assert without == INSTALLATION_WIDE


async def test_times_and_counts_are_bigint() -> None:
    """Columns are TEXT, BIGINT or binary: the types that both databases have exactly."""
    kinds = {type(c.type) for table in metadata.tables.values() for c in table.columns}
    assert kinds == {sa.Text, sa.BigInteger, sa.LargeBinary}


async def test_odd_paths(tmp_path: Path) -> None:
    """A data directory whose name means something in a URL is taken literally."""
    path = tmp_path / "a?b=c#d %20" / "it0.db"
    path.parent.mkdir()
    migrate_sqlite(path)
    db = SqliteDatabase(path, SystemClock())
    await db.read(require_head)
    await db.close()
    assert path.exists()
