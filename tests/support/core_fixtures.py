"""Fixtures that build sites; a ``conftest`` re-exports those it wants."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
import structlog

from core.logs import configure_logs
from storage.tables import metadata
from tests.support.core_kit import Site, copy_sqlite, make_template, postgres_site, sqlite_site
from tests.support.postgres import PostgresServer

DATABASES = ("sqlite", pytest.param("postgres", marks=pytest.mark.postgres))


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a migrated, installed database."""
    directory = tmp_path_factory.mktemp("template") / "data"
    asyncio.run(make_template(sqlite_site(directory)))
    return directory


@pytest.fixture(scope="session")
def migrated_postgres(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The URL of a migrated PostgreSQL database that tests use one after the other."""
    url = postgres_server.create_database()
    directory = tmp_path_factory.mktemp("postgres") / "data"
    asyncio.run(make_template(postgres_site(directory, postgres_server, url)))
    return url


@pytest.fixture
def postgres_place(migrated_postgres: str, postgres_server: PostgresServer, tmp_path: Path) -> Site:
    """An empty site on PostgreSQL."""
    asyncio.run(_empty(migrated_postgres))
    return postgres_site(tmp_path / "data", postgres_server, migrated_postgres)


async def _empty(url: str) -> None:
    """Cut off whoever is left, and forget every row."""
    conn = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await conn.execute("SET session_replication_role = replica")  # the audit log's guards rest
        await conn.execute(f"TRUNCATE {', '.join(metadata.tables)}")
    finally:
        await conn.close()


@pytest.fixture(params=DATABASES)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """A site of the test's own, on each database."""
    if request.param == "postgres":
        place: Site = request.getfixturevalue("postgres_place")
        return place
    return copy_sqlite(request.getfixturevalue("sqlite_template"), tmp_path / "data")


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    """Logs as in production; structlog's own default draws every crash with all its locals."""
    configure_logs(json=True)
    yield
    structlog.reset_defaults()
