"""Facts about the installation as a whole."""

from __future__ import annotations

import hmac

import sqlalchemy as sa

from storage.database import Database, execute
from storage.rows import text


class SqlInstallation:
    """What the database remembers about the secret key."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def key_matches(self, fingerprint: str) -> bool:
        """Whether the key is the one this database was made with; the first one is kept."""
        return await self._db.transaction(_key_matches, fingerprint)


def _key_matches(conn: sa.Connection, fingerprint: str) -> bool:
    execute(
        conn,
        "INSERT INTO installation (key, value) VALUES ('key_fingerprint', :value)"
        " ON CONFLICT DO NOTHING",
        value=fingerprint,
    )
    kept = execute(conn, "SELECT value FROM installation WHERE key = 'key_fingerprint'").one()
    return hmac.compare_digest(text(kept[0]), fingerprint)
