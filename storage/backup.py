"""`it0 backup FILE`: one consistent snapshot of everything, while IT0 runs and writes.

SQLite gives the snapshot to a read connection of its own (WAL: nobody waits for it),
PostgreSQL to a REPEATABLE READ transaction. Tables are read as they are in the database, so
that a schema which is not this version's can be saved too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc

from core.errors import StorageFailure
from core.keys import KEY_FILE, Keys
from storage import sqlite
from storage.archive import ArchiveWriter, BackupFailed, Manifest, writing
from storage.migrate import check_known, revision, sqlite_engine
from storage.postgres import DRIVER_ERRORS, PostgresDatabase
from storage.postgres import translated as postgres_translated

LEFT_OUT = frozenset({"alembic_version", "workers"})
"""Tables that say how a database is used now, not what it holds."""

_BATCH = 100
_BLOB_BATCH = 2
"""Rows read at a time; a file may have 10 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What is saved, or restored into."""

    data_dir: Path
    database: Path | str
    """The SQLite file, or the ``postgresql+asyncpg://`` URL."""
    secret: str | None = field(default=None, repr=False)
    """``IT0_SECRET_KEY``; without it the data directory's key counts."""


async def backup(place: Installation, file: Path, *, with_key: bool = True) -> Manifest:
    """Write everything to a new file. Raises ``BackupFailed`` or ``StorageFailure``.

    The data directory's secret key goes with it: whoever has the file has everything.
    Without the key the file can be restored only where the key is known.
    """
    if isinstance(place.database, Path):
        return await asyncio.to_thread(_from_sqlite, place, place.database, file, with_key=with_key)
    return await _from_postgres(place, place.database, file, with_key=with_key)


def _from_sqlite(place: Installation, path: Path, file: Path, *, with_key: bool) -> Manifest:
    if not path.exists():
        raise BackupFailed(f"There is no database {path} yet: nothing to back up.")
    engine = sqlite_engine(path, begin="BEGIN")
    try:
        with engine.begin() as conn:
            conn.exec_driver_sql("PRAGMA query_only=ON")
            return _write(conn, place, file, with_key=with_key)
    except exc.SQLAlchemyError as error:
        raise sqlite.translated(error) from error
    finally:
        engine.dispose()


async def _from_postgres(place: Installation, url: str, file: Path, *, with_key: bool) -> Manifest:
    db = PostgresDatabase(url, size=1, command_s=None)
    try:
        async with db.engine.connect() as plain:
            conn = await plain.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            return await conn.run_sync(lambda sync: _write(sync, place, file, with_key=with_key))
    except (exc.SQLAlchemyError, *DRIVER_ERRORS) as error:
        raise postgres_translated(error) from error
    finally:
        await db.close()


def _write(conn: sa.Connection, place: Installation, file: Path, *, with_key: bool) -> Manifest:
    schema = revision(conn)
    if schema is None:
        raise BackupFailed("The database is empty: nothing to back up.")
    check_known(schema)
    key = _own_key(conn, place) if with_key else None
    with writing(file) as writer:
        for name in sorted(set(sa.inspect(conn).get_table_names()) - LEFT_OUT):
            _write_table(conn, writer, name)
        return writer.end(schema, datetime.now(UTC).isoformat(timespec="seconds"), key)


def _write_table(conn: sa.Connection, writer: ArchiveWriter, name: str) -> None:
    table = sa.Table(name, sa.MetaData(), autoload_with=conn)
    blobs = any(isinstance(column.type, sa.LargeBinary) for column in table.columns)
    order = [_bytewise(conn, column) for column in table.primary_key.columns]
    result = conn.execution_options(
        stream_results=True, yield_per=_BLOB_BATCH if blobs else _BATCH
    ).execute(sa.select(table).order_by(*order))
    writer.add_table(name, tuple(table.columns.keys()), result)


def _bytewise(conn: sa.Connection, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """Order text as SQLite does, whatever language the server was set up for."""
    if conn.dialect.name == "postgresql" and isinstance(column.type, sa.Text):
        return sa.collate(column, "C")
    return column


def _own_key(conn: sa.Connection, place: Installation) -> str | None:
    """The data directory's key, when it is the one this database was made with."""
    try:
        key = (place.data_dir / KEY_FILE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StorageFailure(
            f"{place.data_dir / KEY_FILE} cannot be read, and the backup needs it. Correct its "
            "permissions, or leave the key out."
        ) from error
    kept = conn.execute(
        sa.text("SELECT value FROM installation WHERE key = 'key_fingerprint'")
    ).scalar_one_or_none()
    return key if kept in {None, Keys(key).fingerprint()} else None
