"""Installations that backups are taken from and restored into."""

from __future__ import annotations

import zipfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage.archive import MANIFEST
from storage.backup import Installation, backup
from storage.database import Database
from storage.lock import DataDirectoryLock
from tests.storage.kit import (
    fill,
    postgres_database,
    sqlite_database,
)
from tests.support.postgres import PostgresServer

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@dataclass(frozen=True)
class Places:
    """Makes installations of either kind that do not exist yet."""

    root: Path
    request: pytest.FixtureRequest
    urls: list[str]

    def new(self, kind: str, name: str, *, secret: str | None = None) -> Installation:
        """A data directory, and a database in it or on the server."""
        data_dir = self.root / name
        if kind == "sqlite":
            return Installation(data_dir=data_dir, database=data_dir / "it0.db", secret=secret)
        server: PostgresServer = self.request.getfixturevalue("postgres_server")
        self.urls.append(server.create_database())
        return Installation(data_dir=data_dir, database=self.urls[-1], secret=secret)


@asynccontextmanager
async def opened(place: Installation) -> AsyncGenerator[Database]:
    """The installation's database, migrated."""
    if isinstance(place.database, Path):
        async with sqlite_database(place.database) as db:
            yield db
    else:
        async with postgres_database(place.database) as db:
            yield db


def lines(file: Path) -> dict[str, bytes]:
    """Every member as it was written, but the manifest, which has the time."""
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != MANIFEST}


def changed(
    file: Path, change: Callable[[str, bytes], bytes | None], extra: dict[str, bytes] | None = None
) -> Path:
    """A copy in which each member went through a function; None leaves it out."""
    copy = file.with_name(f"changed-{file.name}")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
        for name, data in (extra or {}).items():
            new.writestr(name, data)
    return copy


def untouched(place: Installation) -> bool:
    """Whether a refused restore left nothing but the lock file behind."""
    left = {path.name for path in place.data_dir.rglob("*")} if place.data_dir.exists() else set()
    return left <= {"it0.lock"}


async def saved(places: Places, *, turns: int = 3) -> tuple[Installation, Path]:
    """An installation with that many turns, and its backup."""
    source = places.new("sqlite", "source")
    async with opened(source) as db:
        await fill(db, source.data_dir, turns=turns)
    file = places.root / "it0.backup"
    await backup(source, file)
    return source, file


@contextmanager
def locked(place: Installation) -> Iterator[None]:
    """`it0 up` holds the data directory."""
    lock = DataDirectoryLock(place.data_dir)
    try:
        yield
    finally:
        lock.release()
