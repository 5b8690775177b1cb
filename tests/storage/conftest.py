"""What several storage tests get."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

from storage.database import Database
from storage.postgres import PostgresDatabase
from tests.storage.places import KINDS, Places, opened


@pytest.fixture
def places(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Places]:
    """Installations, dropped afterwards."""
    made = Places(tmp_path, request, [])
    yield made
    for url in made.urls:
        request.getfixturevalue("postgres_server").drop_database(url)


@pytest.fixture(params=KINDS)
async def db(request: pytest.FixtureRequest, places: Places) -> AsyncGenerator[Database]:
    """An empty, migrated database of either kind."""
    async with opened(places.new(request.param, "review")) as database:
        yield database


@pytest.fixture
async def pg(places: Places) -> AsyncGenerator[PostgresDatabase]:
    """An empty, migrated PostgreSQL database."""
    async with opened(places.new("postgresql", "review")) as database:
        assert isinstance(database, PostgresDatabase)
        yield database
