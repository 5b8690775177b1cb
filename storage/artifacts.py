"""Whole outputs of tools: compressed, bounded, read by their own tenant alone."""

from __future__ import annotations

import zlib

import sqlalchemy as sa

from core.fleet.artifacts import MAX_ARTIFACT_BYTES
from core.ids import new_id
from core.threads import in_daemon_thread
from core.tools import ToolContext
from storage.database import Database, execute
from storage.rows import blob

FORGET_AT_ONCE = 50
"""Artifacts that one transaction of the housekeeping drops; each may be megabytes."""
_LEVEL = 6


class SqlArtifacts:
    """Implements ``core.fleet.artifacts.Artifacts``."""

    def __init__(self, db: Database) -> None:
        """Keep them in this database."""
        self._db = db

    async def keep(self, context: ToolContext, server: str, data: bytes, *, total: int) -> str:
        """See the port; what is beyond ``MAX_ARTIFACT_BYTES`` is only counted."""
        kept = data[:MAX_ARTIFACT_BYTES]
        packed = await in_daemon_thread(zlib.compress, kept, _LEVEL)
        artifact_id = new_id("art")
        await self._db.transaction(
            _insert, artifact_id, context, server, packed, size=len(kept), total=total
        )
        return artifact_id

    async def read(self, tenant_id: str, artifact_id: str) -> bytes | None:
        """See the port."""
        packed = await self._db.read(_packed, tenant_id, artifact_id)
        return None if packed is None else await in_daemon_thread(zlib.decompress, packed)

    async def forget(self, before_ms: int) -> int:
        """Drop some of every tenant's that are older; how many, at most ``FORGET_AT_ONCE``."""
        return await self._db.transaction(_forget, before_ms)


def _insert(
    conn: sa.Connection,
    artifact_id: str,
    context: ToolContext,
    server: str,
    packed: bytes,
    *,
    size: int,
    total: int,
) -> None:
    execute(
        conn,
        "INSERT INTO artifacts (id, tenant_id, turn_id, call_id, server, data, size, total,"
        " created_at) VALUES (:id, :tenant, :turn, :call, :server, :data, :size, :total, {now})",
        id=artifact_id,
        tenant=context.tenant_id,
        turn=context.turn_id,
        call=context.call_id,
        server=server,
        data=packed,
        size=size,
        total=total,
    )


def _packed(conn: sa.Connection, tenant_id: str, artifact_id: str) -> bytes | None:
    row = execute(
        conn,
        "SELECT data FROM artifacts WHERE id = :id AND tenant_id = :tenant",
        id=artifact_id,
        tenant=tenant_id,
    ).first()
    return None if row is None else blob(row[0])


def _forget(conn: sa.Connection, before_ms: int) -> int:
    rows = execute(
        conn,
        "DELETE FROM artifacts WHERE id IN (SELECT id FROM artifacts WHERE created_at < :before"
        " ORDER BY created_at LIMIT :n) RETURNING id",
        before=before_ms,
        n=FORGET_AT_ONCE,
    ).all()
    return len(rows)
