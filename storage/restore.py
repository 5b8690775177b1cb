"""`it0 restore FILE`: a backup of either database into an empty installation of either.

Everything is verified before anything is touched, and loaded in one transaction: into a new
file that takes the database's name at the very end (SQLite), or into the empty database
(PostgreSQL). Leases and workers are not restored: turns that were unfinished run again.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import exc

from core.keys import KEY_FILE, Keys
from storage import sqlite
from storage.archive import ArchiveReader, BackupFailed, Manifest, Value, reading, sync_directory
from storage.backup import LEFT_OUT, Installation
from storage.lock import DataDirectoryLock
from storage.migrate import (
    HEAD,
    check_known,
    downgrade,
    known,
    revision,
    sqlite_engine,
    take_migration_lock,
    upgrade,
)
from storage.postgres import DRIVER_ERRORS, PostgresDatabase
from storage.postgres import translated as postgres_translated

_BATCH_ROWS = 500
_BATCH_BYTES = 4 * 1024 * 1024
_HOLDS_NOTHING = frozenset({"alembic_version", "installation", "workers"})
"""Tables that may have rows in an installation that nobody has used yet."""

_FREE_LEASES = """
UPDATE conversations SET lease_owner = NULL, lease_epoch = lease_epoch + 1
WHERE lease_owner IS NOT NULL
"""
# What was approved may have run since the backup was written: nothing is run on its word again.
_VOID = """
UPDATE approvals SET status = 'void' WHERE status = 'pending' OR (status = 'approved'
 AND (used_at IS NULL OR id IN (SELECT approval_id FROM approval_steps)))
"""
# Who signed out since the backup was written stays out, and a cookie that has changed since would
# pass for a copy: everybody signs in anew.
_SIGN_OUT = ("DELETE FROM web_sessions", "DELETE FROM sign_in_codes")
_REQUEUE = "UPDATE turns SET status = 'queued' WHERE status = 'running'"


async def restore(place: Installation, file: Path) -> Manifest:
    """Load a backup. Raises ``BackupFailed``, ``StorageFailure`` or ``DataDirectoryInUse``.

    On SQLite the data directory must not be in use; on PostgreSQL the database must be
    empty, so no process can be at work in it.
    """
    if isinstance(place.database, Path):
        return await asyncio.to_thread(_into_sqlite, place, place.database, file)
    return await _into_postgres(place, place.database, file)


def _into_sqlite(place: Installation, path: Path, file: Path) -> Manifest:
    with reading(file) as reader:
        _check_schema(reader, file)
        lock = DataDirectoryLock(place.data_dir)
        try:
            new_key = _key_to_write(reader, place, file)
            _require_replaceable(path)
            _forget_interrupted(path)
            temporary = path.with_name(f".{path.name}.{os.getpid()}.restoring")
            try:
                _build(temporary, reader, file)
                if new_key is not None:
                    _write_key(place.data_dir, new_key)
                temporary.rename(path)
                sync_directory(path.parent)
            except OSError as error:
                raise BackupFailed(
                    f"{path} could not be written: {error.strerror}. Nothing was restored."
                ) from error
            finally:
                for leftover in (temporary, Path(f"{temporary}-journal")):
                    with suppress(FileNotFoundError):
                        leftover.unlink()
        finally:
            lock.release()
        return reader.manifest


def _forget_interrupted(path: Path) -> None:
    """Remove what a restore left that was killed; the lock says that none is at work."""
    for leftover in path.parent.glob(f".{path.name}.*.restoring*"):
        leftover.unlink(missing_ok=True)


def _build(temporary: Path, reader: ArchiveReader, file: Path) -> None:
    os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    engine = sqlite_engine(temporary)
    try:
        with engine.begin() as conn:
            _load(conn, reader, file)
    except exc.SQLAlchemyError as error:
        raise _explained(sqlite.translated(error), file) from error
    finally:
        engine.dispose()


def _require_replaceable(path: Path) -> None:
    """Raise ``BackupFailed`` unless there is no database, or one that nobody has used."""
    beside = [Path(f"{path}{suffix}") for suffix in ("-wal", "-shm", "-journal")]
    if not path.exists():
        for stray in beside:
            if stray.exists():
                raise BackupFailed(
                    f"{stray} belongs to a database that is not there any more. Move it away, "
                    "else SQLite would mix it into the restored one. Nothing was changed."
                )
        return
    engine = sqlite_engine(path)
    try:
        with engine.begin() as conn:
            _require_empty(conn, str(path))
        driver = sqlite3.connect(path)
        try:
            driver.execute("PRAGMA journal_mode=DELETE")  # leaves no -wal file behind
        finally:
            driver.close()
    except (exc.SQLAlchemyError, sqlite3.Error) as error:
        raise BackupFailed(
            f"There is a file {path}, and it cannot be read. Move it away, together with "
            f"{path.name}-wal and {path.name}-shm, and keep it. Nothing was changed."
        ) from error
    finally:
        engine.dispose()


async def _into_postgres(place: Installation, url: str, file: Path) -> Manifest:
    with reading(file) as reader:
        _check_schema(reader, file)
        _key_to_write(reader, place, file)
        db = PostgresDatabase(url, size=1, command_s=None)
        try:
            async with db.engine.begin() as conn:
                await conn.run_sync(_replace, reader, file)
        except (exc.SQLAlchemyError, *DRIVER_ERRORS) as error:
            raise _explained(postgres_translated(error), file) from error
        finally:
            await db.close()
        return reader.manifest


def _replace(conn: sa.Connection, reader: ArchiveReader, file: Path) -> None:
    take_migration_lock(conn)
    _require_empty(conn, "The database")
    if revision(conn) is not None:
        downgrade(conn, "base")
    _load(conn, reader, file)


# -- what both have in common -------------------------------------------------------------


def _check_schema(reader: ArchiveReader, file: Path) -> None:
    if not known(reader.manifest.schema):
        raise BackupFailed(
            f"{file} was made by a newer version of IT0 (schema {reader.manifest.schema}). "
            "Install that version and restore it there. Nothing was changed."
        )


def _require_empty(conn: sa.Connection, what: str) -> None:
    found = revision(conn)
    check_known(found)
    names = set(sa.inspect(conn).get_table_names())
    if found is None and names:
        raise BackupFailed(f"{what} holds tables that are not IT0's. Nothing was changed.")
    for name in sorted(names - _HOLDS_NOTHING):
        used = conn.execute(sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)).first()
        if used is not None:
            raise BackupFailed(
                f"{what} is in use: it holds data already. Restore into an empty one: another "
                "IT0_DATA_DIR, or another IT0_DATABASE_URL. Nothing was changed."
            )


_GO_ON_COUNTING = (
    "SELECT setval(pg_get_serial_sequence('outbox', 'seq'), COALESCE(MAX(seq), 1),"
    " MAX(seq) IS NOT NULL) FROM outbox"
)
"""SQLite takes the next number after the largest one by itself."""


def _load(conn: sa.Connection, reader: ArchiveReader, file: Path) -> None:
    """Make the backup's schema, fill it, bring it up to date, let unfinished turns run again."""
    upgrade(conn, reader.manifest.schema)
    names = set(sa.inspect(conn).get_table_names()) - LEFT_OUT
    if names != set(reader.manifest.tables):
        raise _does_not_fit(file)
    for name in sorted(names):
        table = sa.Table(name, sa.MetaData(), autoload_with=conn)
        if set(table.columns.keys()) != set(reader.manifest.tables[name].columns):
            raise _does_not_fit(file)
        for batch in _batches(table, reader, file):
            conn.execute(sa.insert(table), batch)
    if reader.manifest.schema != HEAD:
        upgrade(conn)
    if conn.dialect.name == "postgresql":
        conn.execute(sa.text(_GO_ON_COUNTING))
    conn.execute(sa.text(_FREE_LEASES))
    conn.execute(sa.text(_REQUEUE))
    conn.execute(sa.text(_VOID))
    for statement in _SIGN_OUT:
        conn.execute(sa.text(statement))


def _batches(
    table: sa.Table, reader: ArchiveReader, file: Path
) -> Iterator[list[dict[str, Value]]]:
    columns = reader.manifest.tables[table.name].columns
    kinds = [_kind(table.columns[name]) for name in columns]
    batch: list[dict[str, Value]] = []
    size = 0
    for row in reader.rows(table.name):
        if not all(
            value is None or type(value) is kind for value, kind in zip(row, kinds, strict=True)
        ):
            raise _does_not_fit(file)
        batch.append(dict(zip(columns, row, strict=True)))
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(batch) == _BATCH_ROWS or size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _kind(column: sa.Column[object]) -> type[str | int | bytes]:
    if isinstance(column.type, sa.LargeBinary):
        return bytes
    return int if isinstance(column.type, sa.Integer) else str


def _does_not_fit(file: Path) -> BackupFailed:
    return BackupFailed(
        f"{file} was altered: its tables are not those of its schema. Use another backup. "
        "Nothing was changed."
    )


def _explained(error: Exception, file: Path) -> Exception:
    """A row that the database refuses is the backup's fault; all else stays what it is."""
    if isinstance(error, exc.DataError | exc.IntegrityError):
        return _does_not_fit(file)
    return error


# -- the key ------------------------------------------------------------------------------


def _key_to_write(reader: ArchiveReader, place: Installation, file: Path) -> str | None:
    """The backup's key, when this installation has none. Raises ``BackupFailed``.

    The key must be the one that the backed-up database was made with: without it stored
    secrets and the audit log could not be read.
    """
    saved, kept = reader.key(), _kept_key(place.data_dir)
    fingerprint = _fingerprint(reader)
    key = place.secret or kept or saved
    if key is None:
        raise BackupFailed(
            f"{file} was made without its key. Set IT0_SECRET_KEY, or put secret.key into "
            f"{place.data_dir}, as they were. Nothing was changed."
        )
    if fingerprint is not None and Keys(key).fingerprint() != fingerprint:
        which = "IT0_SECRET_KEY" if place.secret else f"{place.data_dir / KEY_FILE}"
        hint = f" The right one is in it: `unzip -p {file} secret.key`." if saved else ""
        raise BackupFailed(
            f"{which} is not the key that {file} was made with.{hint} Nothing was changed."
        )
    return saved if place.secret is None and kept is None else None


def _kept_key(data_dir: Path) -> str | None:
    try:
        return (data_dir / KEY_FILE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BackupFailed(
            f"{data_dir / KEY_FILE} cannot be read. Correct its permissions, or move it away. "
            "Nothing was changed."
        ) from error


def _fingerprint(reader: ArchiveReader) -> str | None:
    entry = reader.manifest.tables.get("installation")
    if entry is None:
        return None
    key, value = entry.columns.index("key"), entry.columns.index("value")
    for row in reader.rows("installation"):
        if row[key] == "key_fingerprint":
            return str(row[value])
    return None


def _write_key(data_dir: Path, key: str) -> None:
    temporary = data_dir / f".{KEY_FILE}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(key + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(data_dir / KEY_FILE)
    sync_directory(data_dir)
