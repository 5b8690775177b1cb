"""Workspaces that installed the app: their tokens, sealed."""

from __future__ import annotations

import sqlalchemy as sa

from core.sealing import seal, unseal
from storage.database import Database, execute
from storage.rows import text


class SqlInstalls:
    """Tokens of workspaces. A workspace belongs to no tenant before it is linked to one."""

    def __init__(self, db: Database, key: bytes) -> None:
        """``key`` seals the tokens (``Keys.derive("installs")``)."""
        self._db = db
        self._key = key

    async def save(self, platform: str, workspace: str, secret: str) -> None:
        """Store a workspace's token; a new installation replaces the one before."""
        sealed = seal(self._key, secret, f"{platform}:{workspace}")
        await self._db.transaction(_save, platform, workspace, sealed)

    async def find(self, platform: str, workspace: str) -> str | None:
        """The token of a live installation. Raises ``CannotUnseal``."""
        sealed = await self._db.read(_find, platform, workspace)
        return None if sealed is None else unseal(self._key, sealed, f"{platform}:{workspace}")

    async def revoke(self, platform: str, workspace: str) -> None:
        """The workspace removed the app: the token is erased."""
        await self._db.transaction(_revoke, platform, workspace)


def _save(conn: sa.Connection, platform: str, workspace: str, sealed: str) -> None:
    execute(
        conn,
        "INSERT INTO installs (platform, workspace, sealed, created_at, updated_at)"
        " VALUES (:platform, :workspace, :sealed, {now}, {now})"
        " ON CONFLICT (platform, workspace) DO UPDATE SET sealed = excluded.sealed,"
        " updated_at = excluded.updated_at, revoked_at = NULL",
        platform=platform,
        workspace=workspace,
        sealed=sealed,
    )


def _find(conn: sa.Connection, platform: str, workspace: str) -> str | None:
    row = execute(
        conn,
        "SELECT sealed FROM installs WHERE platform = :platform AND workspace = :workspace"
        " AND revoked_at IS NULL",
        platform=platform,
        workspace=workspace,
    ).first()
    return None if row is None else text(row[0])


def _revoke(conn: sa.Connection, platform: str, workspace: str) -> None:
    execute(
        conn,
        "UPDATE installs SET sealed = '', revoked_at = {now}"
        " WHERE platform = :platform AND workspace = :workspace",
        platform=platform,
        workspace=workspace,
    )
