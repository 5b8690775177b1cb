"""Databases of the payment tests: migrated once for a module, empty for each test."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from core.clock import SystemClock
from storage.columns import metadata
from storage.database import Database, execute
from storage.migrate import migrate_postgres, migrate_sqlite
from storage.postgres import PostgresDatabase
from storage.sqlite import SqliteDatabase
from tests.storage.places import KINDS
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="module")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database to copy."""
    path = tmp_path_factory.mktemp("payments") / "it0.db"
    migrate_sqlite(path)
    return path


@pytest.fixture(scope="module")
def migrated_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A PostgreSQL database that the tests of a module use in turn."""
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.create_database()

    async def migrate() -> None:
        db = PostgresDatabase(url, size=1)
        await migrate_postgres(db)
        await db.close()

    asyncio.run(migrate())
    yield url
    server.drop_database(url)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Where the test's database is."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("migrated_url"))
    template: Path = request.getfixturevalue("migrated_file")
    return Path(shutil.copy(template, tmp_path / "it0.db"))


@pytest.fixture
async def db(place: str | Path) -> AsyncGenerator[Database]:
    """An empty database of either kind."""
    if isinstance(place, Path):
        sqlite = SqliteDatabase(place, SystemClock())
        yield sqlite
        await sqlite.close()
        return
    postgres = PostgresDatabase(place, size=4)
    yield postgres
    await emptied(postgres)


@pytest.fixture
async def pg(migrated_url: str) -> AsyncGenerator[PostgresDatabase]:
    """An empty PostgreSQL database."""
    postgres = PostgresDatabase(migrated_url, size=4)
    yield postgres
    await emptied(postgres)


async def emptied(db: PostgresDatabase) -> None:
    """Leave nothing to the next test."""
    await db.transaction(_empty)
    await db.close()


def _empty(conn: sa.Connection) -> None:
    tables = [table.name for table in metadata.sorted_tables]
    blocks = ";".join(f"DELETE FROM {name}" for name in reversed(tables))
    # The audit log refuses to be emptied; a superuser of the test's own server may do it.
    execute(conn, "SET LOCAL session_replication_role = replica")
    execute(conn, f"DO $$ BEGIN {blocks}; END $$")
