"""Opens the database of an installation: locked, migrated, with the right key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from core.clock import SystemClock
from core.keys import Keys, WrongKey, load_or_make
from settings import Settings
from storage.audit import SqlAudit
from storage.database import Database
from storage.installation import SqlInstallation
from storage.lock import DataDirectoryLock
from storage.migrate import migrate_postgres, migrate_sqlite, require_head
from storage.operations import SqlOperations
from storage.people import SqlPeople
from storage.sqlite import SqliteDatabase


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """An open, migrated database with the right key."""

    db: Database
    keys: Keys
    people: SqlPeople
    operations: SqlOperations
    audit: SqlAudit
    lock: DataDirectoryLock | None


@asynccontextmanager
async def open_storage(settings: Settings, *, migrate: bool = True) -> AsyncGenerator[Storage]:
    """Lock, migrate and open the database. Raises ``It0Error`` with a sentence."""
    async with AsyncExitStack() as stack:
        lock: DataDirectoryLock | None = None
        path = settings.database_path
        if path is not None:
            lock = DataDirectoryLock(settings.data_dir)
            stack.callback(lock.release)
        secret = settings.secret_key or load_or_make(settings.data_dir)
        db = await _open_database(settings, path, migrate=migrate)
        stack.push_async_callback(db.close)
        keys = Keys(secret)
        if not await SqlInstallation(db).key_matches(keys.fingerprint()):
            raise WrongKey(
                "IT0_SECRET_KEY (or secret.key in the data directory) is not the key this "
                "database was made with. Put the old key back; without it the stored secrets "
                "and the audit log cannot be read."
            )
        yield Storage(
            db=db,
            keys=keys,
            people=SqlPeople(db),
            operations=SqlOperations(db),
            audit=SqlAudit(db, keys.derive("audit")),
            lock=lock,
        )


async def _open_database(settings: Settings, path: Path | None, *, migrate: bool) -> Database:
    clock = SystemClock()
    if path is not None:
        await asyncio.to_thread(migrate_sqlite, path)
        return SqliteDatabase(path, clock)
    from storage.postgres import PostgresDatabase  # noqa: PLC0415  # 10 MB only when it is used

    postgres = PostgresDatabase(str(settings.database_url))
    try:
        if migrate:
            await migrate_postgres(postgres)
        else:
            await postgres.read(require_head)
    except BaseException:
        await postgres.close()
        raise
    return postgres
