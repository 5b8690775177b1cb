"""Erasing a conversation: every text of it goes, what the bill and the audit need stays."""

from __future__ import annotations

import json

import sqlalchemy as sa

from core.errors import NotFound
from core.turns import Turn
from storage.database import execute
from storage.rows import text


def owned(conn: sa.Connection, tenant_id: str, user_id: str, conversation_id: str) -> bool:
    """Whether the conversation exists and is the user's own."""
    row = execute(
        conn,
        "SELECT 1 FROM conversations WHERE id = :id AND tenant_id = :tenant"
        " AND user_id = :user AND deleted_at IS NULL",
        id=conversation_id,
        tenant=tenant_id,
        user=user_id,
    ).first()
    return row is not None


_ERASE = (
    "DELETE FROM turn_steps WHERE turn_id IN (SELECT id FROM turns WHERE conversation_id = :cid)",
    "DELETE FROM turn_events WHERE turn_id IN (SELECT id FROM turns WHERE conversation_id = :cid)",
    "DELETE FROM deliveries WHERE turn_id IN (SELECT id FROM turns WHERE conversation_id = :cid)",
    "DELETE FROM summaries WHERE conversation_id = :cid",
    "DELETE FROM places WHERE conversation_id = :cid",
    "UPDATE conversations SET deleted_at = {now}, title = '' WHERE id = :cid",
)


# What the owner was shown of it elsewhere: /sessions lists titles beside the end of the id,
# /resume names the title of the conversation it goes on with.
_FORGET = """
UPDATE turns SET reply = 'A conversation that was named here has been deleted.'
WHERE tenant_id = :tenant AND user_id = :user AND kind = 'command' AND status = 'done'
  AND (continue_in = :cid OR reply LIKE :listed)
"""


def delete_chosen(conn: sa.Connection, turn: Turn, conversation_id: str) -> str | None:
    """Erase one conversation a turn: run again after a crash, the list has other numbers.

    The title of an erased conversation is the id of the turn that erased it.
    """
    before = execute(
        conn,
        "SELECT 1 FROM conversations WHERE tenant_id = :tenant AND user_id = :user"
        " AND deleted_at IS NOT NULL AND title = :turn",
        tenant=turn.tenant_id,
        user=turn.user.id,
        turn=turn.id,
    ).first()
    if before is not None:
        return None
    try:
        problem = erase(conn, turn.tenant_id, turn.user.id, conversation_id, running=turn.id)
    except NotFound:
        return "That conversation is gone, or it is not yours. `/sessions` lists yours."
    if problem is None:
        execute(
            conn,
            "UPDATE conversations SET title = :turn WHERE id = :cid",
            turn=turn.id,
            cid=conversation_id,
        )
    return problem


def erase(
    conn: sa.Connection, tenant_id: str, user_id: str, conversation_id: str, *, running: str | None
) -> str | None:
    """Erase every text of the conversation; usage and audit rows stay.

    Returns a sentence when turns other than ``running`` are unfinished in it. Raises
    ``NotFound`` when it is not the user's own.
    """
    if not owned(conn, tenant_id, user_id, conversation_id):
        raise NotFound("There is no such conversation.")
    busy = execute(
        conn,
        "SELECT 1 FROM turns WHERE conversation_id = :cid AND status <> 'done' AND id <> :own",
        cid=conversation_id,
        own=running or "",
    ).first()
    if busy is not None:
        return "I am still working in that conversation. Send /stop there first, then delete it."
    files = execute(
        conn,
        "SELECT DISTINCT attachments FROM turns WHERE conversation_id = :cid"
        " AND attachments <> '[]'",
        cid=conversation_id,
    ).all()
    for statement in _ERASE:
        execute(conn, statement, cid=conversation_id)
    execute(
        conn,
        "UPDATE turns SET text = '', attachments = '[]', reply = '', notice = ''"
        " WHERE conversation_id = :cid AND id <> :own",
        cid=conversation_id,
        own=running or "",
    )
    execute(
        conn,
        _FORGET,
        tenant=tenant_id,
        user=user_id,
        cid=conversation_id,
        listed=f"%`{conversation_id[-8:]}`%",
    )
    _drop_unused_files(conn, tenant_id, [text(row[0]) for row in files])
    return None


def _drop_unused_files(conn: sa.Connection, tenant_id: str, lists: list[str]) -> None:
    hashes = {ref["sha256"] for refs in lists for ref in json.loads(refs)}
    for sha256 in hashes:
        execute(
            conn,
            "DELETE FROM attachments WHERE tenant_id = :tenant AND sha256 = :sha"
            " AND NOT EXISTS (SELECT 1 FROM turns WHERE tenant_id = :tenant"
            " AND attachments <> '[]' AND attachments LIKE :pattern)",
            tenant=tenant_id,
            sha=sha256,
            pattern=f"%{sha256}%",
        )
