"""Files of messages: hashed, stored once per tenant, and dropped with their last message."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import sqlalchemy as sa

from core.messages import Attachment, AttachmentRef
from storage.database import execute
from storage.rows import text


def reference(item: Attachment) -> AttachmentRef:
    """What a turn keeps of a file. Hashes it: megabytes of it are no work for an event loop."""
    return AttachmentRef(
        sha256=hashlib.sha256(item.data).hexdigest(),
        name=item.name,
        media_type=item.media_type,
        size=len(item.data),
    )


# An erasure may be about to drop the same bytes: the update makes one wait for the other.
# SQLite has one writer, and would rewrite the whole file.
_AGAIN = {
    "sqlite": "DO NOTHING",
    "postgresql": "(tenant_id, sha256) DO UPDATE SET created_at = excluded.created_at",
}


def store(
    conn: sa.Connection,
    tenant_id: str,
    items: Iterable[tuple[AttachmentRef, Attachment]],
) -> None:
    """Store what is not there yet. In the order of the hashes, so that two never deadlock."""
    for ref, item in sorted(items, key=lambda pair: pair[0].sha256):
        execute(
            conn,
            "INSERT INTO attachments (tenant_id, sha256, media_type, size, data, created_at)"
            " VALUES (:tenant, :sha, :type, :size, :data, {now})"
            f" ON CONFLICT {_AGAIN[conn.dialect.name]}",
            tenant=tenant_id,
            sha=ref.sha256,
            type=ref.media_type,
            size=ref.size,
            data=item.data,
        )


def link(
    conn: sa.Connection, tenant_id: str, turn_id: str, refs: tuple[AttachmentRef, ...]
) -> None:
    """Note that the turn needs the files."""
    for sha256 in {ref.sha256 for ref in refs}:
        execute(
            conn,
            "INSERT INTO turn_files (tenant_id, sha256, turn_id) VALUES (:tenant, :sha, :turn)",
            tenant=tenant_id,
            sha=sha256,
            turn=turn_id,
        )


_OF_CONVERSATION = (
    "turn_files WHERE turn_id IN (SELECT id FROM turns WHERE conversation_id = :cid AND id <> :own)"
)


def drop(conn: sa.Connection, tenant_id: str, conversation_id: str, *, own: str) -> None:
    """Drop the files that only this conversation needs, but those of the turn ``own``."""
    rows = execute(
        conn, f"SELECT DISTINCT sha256 FROM {_OF_CONVERSATION}", cid=conversation_id, own=own
    ).all()
    execute(conn, f"DELETE FROM {_OF_CONVERSATION}", cid=conversation_id, own=own)
    for sha256 in sorted(text(row[0]) for row in rows):
        _drop_unneeded(conn, tenant_id, sha256)


RECENT_MS = 7 * 24 * 3600 * 1000
"""The housekeeping runs every few minutes: what it lets go was deleted a moment ago."""


def let_go(conn: sa.Connection, most: int) -> int:
    """Let deleted conversations need no file; returns how many were let go, at most ``most``.

    An erasure drops what it can at once; what it leaves are the files of the turn that asked
    for it, which was still running.
    """
    rows = execute(
        conn,
        # CROSS JOIN keeps SQLite to this order: from the few that were deleted lately.
        "DELETE FROM turn_files WHERE turn_id IN (SELECT t.id FROM conversations c"
        " CROSS JOIN turns t CROSS JOIN turn_files f"
        " WHERE t.conversation_id = c.id AND f.turn_id = t.id"
        " AND c.deleted_at IS NOT NULL AND c.deleted_at > {now} - :recent"
        " AND t.status = 'done' LIMIT :n) RETURNING turn_id",
        recent=RECENT_MS,
        n=most,
    ).all()
    return len(rows)


def unneeded(conn: sa.Connection, most: int) -> tuple[tuple[str, str], ...]:
    """Tenant and digest of files that no turn needs; walks an index, so it only reads."""
    rows = execute(
        conn,
        "SELECT tenant_id, sha256 FROM attachments a WHERE NOT EXISTS (SELECT 1 FROM turn_files f"
        " WHERE f.tenant_id = a.tenant_id AND f.sha256 = a.sha256)"
        " ORDER BY tenant_id, sha256 LIMIT :n",
        n=most,
    ).all()
    return tuple((text(row[0]), text(row[1])) for row in rows)


def drop_unneeded(conn: sa.Connection, found: tuple[tuple[str, str], ...]) -> int:
    """Drop those of them that nobody needs by now; returns how many."""
    return sum(_drop_unneeded(conn, tenant_id, sha256) for tenant_id, sha256 in found)


def _drop_unneeded(conn: sa.Connection, tenant_id: str, sha256: str) -> bool:
    """Drop the file if no turn needs it; whether it did."""
    # Locked first: whoever is storing the same bytes has committed when the delete looks.
    execute(
        conn,
        "SELECT 1 FROM attachments WHERE tenant_id = :tenant AND sha256 = :sha{row}",
        tenant=tenant_id,
        sha=sha256,
    ).all()
    dropped = execute(
        conn,
        "DELETE FROM attachments WHERE tenant_id = :tenant AND sha256 = :sha AND NOT EXISTS"
        " (SELECT 1 FROM turn_files WHERE tenant_id = :tenant AND sha256 = :sha)"
        " RETURNING sha256",
        tenant=tenant_id,
        sha=sha256,
    ).all()
    return bool(dropped)
