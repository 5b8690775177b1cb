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
        # Locked first: whoever is storing the same bytes has committed when the delete looks.
        execute(
            conn,
            "SELECT 1 FROM attachments WHERE tenant_id = :tenant AND sha256 = :sha{row}",
            tenant=tenant_id,
            sha=sha256,
        ).all()
        execute(
            conn,
            "DELETE FROM attachments WHERE tenant_id = :tenant AND sha256 = :sha AND NOT EXISTS"
            " (SELECT 1 FROM turn_files WHERE tenant_id = :tenant AND sha256 = :sha)",
            tenant=tenant_id,
            sha=sha256,
        )
