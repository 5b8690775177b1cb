"""Erasing a conversation: every text of it goes, what the bill and the audit need stays."""

from __future__ import annotations

import sqlalchemy as sa

from core.errors import NotFound
from core.turns import Turn
from core.words import sentence
from storage import files
from storage.database import execute
from storage.handover_erasure import forget


def owned(
    conn: sa.Connection, tenant_id: str, user_id: str, conversation_id: str, *, lock: str = ""
) -> bool:
    """Whether the conversation exists and is the user's own; with ``lock`` it stays so."""
    row = execute(
        conn,
        "SELECT 1 FROM conversations WHERE id = :id AND tenant_id = :tenant"
        f" AND user_id = :user AND deleted_at IS NULL{lock}",
        id=conversation_id,
        tenant=tenant_id,
        user=user_id,
    ).first()
    return row is not None


_TURNS = "(SELECT id FROM turns WHERE conversation_id = :cid)"
_ERASE = (
    f"DELETE FROM turn_steps WHERE turn_id IN {_TURNS}",
    f"DELETE FROM turn_events WHERE turn_id IN {_TURNS}",
    f"DELETE FROM deliveries WHERE turn_id IN {_TURNS}",
    (
        "UPDATE turns SET reply = 'What was asked here has been deleted.', offer = NULL"
        " WHERE tenant_id = :tenant AND kind = 'command' AND text IN"
        f" (SELECT '/notice approval/' || id FROM approvals WHERE turn_id IN {_TURNS})"
    ),
    (
        "DELETE FROM approval_steps WHERE approval_id IN"
        f" (SELECT id FROM approvals WHERE turn_id IN {_TURNS})"
    ),
    f"DELETE FROM approvals WHERE turn_id IN {_TURNS}",
    f"DELETE FROM artifacts WHERE turn_id IN {_TURNS}",
    "DELETE FROM summaries WHERE conversation_id = :cid",
    "DELETE FROM engine_sessions WHERE conversation_id = :cid",
    "DELETE FROM places WHERE conversation_id = :cid",
    "DELETE FROM shares WHERE conversation_id = :cid",
    "UPDATE conversations SET deleted_at = {now}, title = '' WHERE id = :cid",
)


# What its owner and those they shared it with were shown of it elsewhere: /sessions lists titles
# beside the end of the id, /resume names the title of the conversation it goes on with.
_FORGET = """
UPDATE turns SET reply = 'A conversation that was named here has been deleted.'
WHERE tenant_id = :tenant AND kind = 'command' AND status = 'done'
  AND user_id IN (SELECT CAST(:user AS TEXT) UNION
                  SELECT s.user_id FROM shares s WHERE s.conversation_id = :cid)
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
        return sentence("That conversation is gone, or it is not yours. `/sessions` lists yours.")
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
    # Locked first: a message is accepted before this, and seen below, or finds nothing to join.
    if not owned(conn, tenant_id, user_id, conversation_id, lock="{row}"):
        raise NotFound(sentence("There is no such conversation."))
    busy = execute(
        conn,
        "SELECT 1 FROM turns WHERE conversation_id = :cid AND status <> 'done' AND id <> :own",
        cid=conversation_id,
        own=running or "",
    ).first()
    if busy is not None:
        return sentence(
            "I am still working in that conversation. Send /stop there first, then delete it."
        )
    files.drop(conn, tenant_id, conversation_id, own=running or "")
    execute(
        conn,
        # Nothing is left to deliver: a reply that did not arrive yet must not be posted empty.
        "UPDATE turns SET text = '', attachments = '[]', files = '[]', reply = '', notice = '',"
        " offer = NULL,"
        " delivered_at = COALESCE(delivered_at, {now})"
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
    forget(conn, tenant_id, conversation_id)
    for statement in _ERASE:
        named = {"tenant": tenant_id} if ":tenant" in statement else {}
        execute(conn, statement, cid=conversation_id, **named)
    return None
