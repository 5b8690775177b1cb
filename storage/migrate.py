"""Bring a database to the schema of this version, or say that it is not there yet."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import pool

from core.errors import StorageFailure
from storage import sqlite

if TYPE_CHECKING:
    from alembic.config import Config

    from storage.postgres import PostgresDatabase

HEAD = "0006"
"""The newest revision in ``storage/migrations/versions``."""

SCRIPTS = Path(__file__).parent / "migrations"

_LOCK = 4_716_120
"""Advisory lock number: one process migrates, the others wait."""


def revision(conn: sa.Connection) -> str | None:
    """The revision the database is at; None when it is empty."""
    if not sa.inspect(conn).has_table("alembic_version"):
        return None
    row = conn.execute(sa.text("SELECT version_num FROM alembic_version")).first()
    return None if row is None else str(row[0])


def upgrade(conn: sa.Connection, target: str = "head") -> None:
    """Run the missing migrations on an open transaction. Alembic is imported only here."""
    from alembic import command  # noqa: PLC0415  # 50 MB and 0.3 s that a start rarely needs

    command.upgrade(config_for(conn), target)


def downgrade(conn: sa.Connection, target: str) -> None:
    """Undo migrations down to ``target`` (``base`` for all)."""
    from alembic import command  # noqa: PLC0415  # as above

    command.downgrade(config_for(conn), target)


def config_for(conn: sa.Connection) -> Config:
    """Alembic's configuration for an open connection."""
    from alembic.config import Config  # noqa: PLC0415  # as above

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["connection"] = conn
    return config


def migrate_sqlite(path: Path) -> None:
    """Create the file or bring it up to date. Raises ``StorageFailure`` with a sentence."""
    engine = sqlite_engine(path)
    try:
        with engine.begin() as conn:
            _upgrade_if_behind(conn)
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise sqlite.translated(error) from error
    finally:
        engine.dispose()


def sqlite_engine(path: Path, *, begin: str = "BEGIN IMMEDIATE") -> sa.Engine:
    """An engine whose transactions hold schema changes too.

    Left alone the driver commits before each of them, and a migration that dies half-way
    would leave half a schema.
    """
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=pool.NullPool,
        connect_args={"timeout": sqlite.BUSY_MS / 1000},
    )

    @sa.event.listens_for(engine, "connect")
    def _connect(driver: sqlite3.Connection, _record: pool.ConnectionPoolEntry) -> None:
        driver.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def _begin(conn: sa.Connection) -> None:
        conn.exec_driver_sql(begin)

    return engine


async def migrate_postgres(db: PostgresDatabase) -> None:
    """Bring the database up to date; of several processes, one does it.

    Raises ``StorageFailure`` with a sentence.
    """
    from storage.postgres import translated  # noqa: PLC0415  # 10 MB that SQLite does not need

    patient = db.patient()
    try:
        async with patient.engine.begin() as conn:
            await conn.run_sync(take_migration_lock)
            await conn.run_sync(_upgrade_if_behind)
    except (sa.exc.SQLAlchemyError, OSError) as error:
        raise translated(error) from error
    finally:
        await patient.close()


def take_migration_lock(conn: sa.Connection) -> None:
    """On PostgreSQL: of several processes one changes the schema, until it commits."""
    conn.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))


def _upgrade_if_behind(conn: sa.Connection) -> None:
    found = revision(conn)
    if found == HEAD:
        return
    check_known(found)
    upgrade(conn)


def check_known(found: str | None) -> None:
    """Raise ``StorageFailure`` when the database is from a newer version of IT0."""
    if found is not None and not known(found):
        raise StorageFailure(
            f"The database has the schema {found}, which this version of IT0 does not know. "
            "It was used by a newer version: install that one, or restore an older backup."
        )


def known(schema: str) -> bool:
    """Whether this version of IT0 has the revision."""
    scripts = (SCRIPTS / "versions").glob("*.py")
    return any(path.name.partition("_")[0] == schema for path in scripts)


def require_head(conn: sa.Connection) -> None:
    """Raise ``StorageFailure`` when the schema is not this version's."""
    found = revision(conn)
    check_known(found)
    if found != HEAD:
        raise StorageFailure("The database schema is not up to date. Run `it0 migrate` first.")
