"""Looks at a database without changing it: `it0 check` makes no file, key, table or row."""

from __future__ import annotations

import hmac
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import pool

from core.errors import StorageFailure
from core.keys import WrongKey
from storage import sqlite
from storage.database import execute
from storage.metering import UnpricedCalls, unpriced
from storage.migrate import HEAD, check_known, revision
from storage.rows import text

_T = TypeVar("_T")

NOT_MADE = "not made yet; the first `it0 up` makes it"


def inspect_sqlite(path: Path, fingerprint: str) -> str:
    """What there is, in a word or a sentence. Raises ``It0Error`` when it cannot be used."""
    return read_sqlite(path, lambda conn: inspect(conn, fingerprint))


def read_sqlite(path: Path, look: Callable[[sa.Connection], _T]) -> _T:
    """What ``look`` finds in a database that another process may be using."""
    # Reading through the journal leaves files behind; without one nobody has unsaved changes.
    journal = path.with_name(path.name + "-wal").exists()
    uri = f"{path.absolute().as_uri()}?mode=ro{'' if journal else '&immutable=1'}"
    engine = sa.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(uri, uri=True), poolclass=pool.NullPool
    )
    try:
        with engine.connect() as conn:
            return look(conn)
    except sa.exc.SQLAlchemyError as error:
        raise sqlite.translated(error) from error
    finally:
        engine.dispose()


def inspect(conn: sa.Connection, fingerprint: str) -> str:
    """As ``inspect_sqlite``, on an open connection of either database."""
    found = revision(conn)
    if found is None:
        return "not made yet; `it0 up` or `it0 migrate` makes it"
    check_known(found)
    if found != HEAD:
        raise StorageFailure(
            f"The schema is of an older version ({found}); `it0 migrate` brings it up to date."
        )
    row = conn.execute(
        sa.text("SELECT value FROM installation WHERE key = 'key_fingerprint'")
    ).first()
    if row is not None and not hmac.compare_digest(str(row[0]), fingerprint):
        raise WrongKey("The secret key is not the one that this database was made with.")
    return "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenModel:
    """A model that teams have chosen for themselves."""

    model: str
    teams: tuple[str, ...]
    """Their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """The models of an installation, besides its default."""

    chosen: tuple[ChosenModel, ...] = ()
    unpriced: tuple[UnpricedCalls, ...] = ()


def model_use(conn: sa.Connection) -> ModelUse:
    """Which models the teams chose, and which calls have no cost; nothing in another schema."""
    if revision(conn) != HEAD:
        return ModelUse()
    teams: dict[str, list[str]] = {}
    for row in execute(
        conn,
        "SELECT c.model, t.name FROM agent_configs c JOIN tenants t ON t.id = c.tenant_id"
        " WHERE c.model IS NOT NULL ORDER BY c.model, t.name",
    ).all():
        teams.setdefault(text(row[0]), []).append(text(row[1]))
    chosen = tuple(ChosenModel(model=model, teams=tuple(names)) for model, names in teams.items())
    return ModelUse(chosen=chosen, unpriced=unpriced(conn))
