"""Parts of an album, which come as messages of their own, join the turn of the first one."""

from __future__ import annotations

import json
from dataclasses import asdict

import sqlalchemy as sa

from core.inbox import Accepted
from core.messages import ALBUM_MS, MAX_ATTACHMENTS, InboundMessage
from core.tenants import User
from storage.database import execute
from storage.rows import text

TOO_MANY = "(Of this album only the first {most} files were taken.)"


def join(conn: sa.Connection, user: User, message: InboundMessage) -> Accepted | None:
    """Add a part to its album's turn, once; None when there is none that still waits."""
    known = execute(
        conn,
        "SELECT conversation_id, reply FROM controls WHERE event_id = :event"
        " AND tenant_id = :tenant",
        event=message.event_id,
        tenant=user.tenant_id,
    ).first()
    if known is not None:
        return _accepted(user, text(known[1]), text(known[0]), duplicate=True)
    found = execute(
        conn,
        "SELECT id, conversation_id FROM turns WHERE album = :album AND status = 'queued'"
        " AND attempt = 0 AND album <> '' AND tenant_id = :tenant AND user_id = :user"
        " AND event_id <> :event",
        album=message.album,
        tenant=user.tenant_id,
        user=user.id,
        event=message.event_id,
    ).first()
    if found is None:
        return None
    turn_id, conversation_id = text(found[0]), text(found[1])
    # The conversation before the turn, as everywhere; then nobody claims it meanwhile.
    execute(conn, "SELECT 1 FROM conversations WHERE id = :id{row}", id=conversation_id).first()
    row = execute(
        conn,
        "SELECT text, files FROM turns WHERE id = :id AND status = 'queued' AND attempt = 0{row}",
        id=turn_id,
    ).first()
    if row is None:
        return None
    _extend(conn, turn_id, message, text(row[0]), json.loads(text(row[1])))
    wait(conn, conversation_id)
    execute(
        conn,
        "INSERT INTO controls (event_id, tenant_id, conversation_id, user_id, reply, created_at)"
        " VALUES (:event, :tenant, :cid, :user, :turn, {now}) ON CONFLICT DO NOTHING",
        event=message.event_id,
        tenant=user.tenant_id,
        cid=conversation_id,
        user=user.id,
        turn=turn_id,
    )
    return _accepted(user, turn_id, conversation_id, duplicate=False)


def wait(conn: sa.Connection, conversation_id: str) -> None:
    """Let an idle conversation's album be complete before a worker takes it."""
    execute(
        conn,
        "UPDATE conversations SET ready_at = {now} + :hold WHERE id = :id"
        " AND done_seq = last_seq - 1",
        hold=ALBUM_MS,
        id=conversation_id,
    )


def _extend(
    conn: sa.Connection,
    turn_id: str,
    message: InboundMessage,
    said: str,
    files: list[dict[str, str | int]],
) -> None:
    room = MAX_ATTACHMENTS - len(files)
    files += [asdict(file) for file in message.files[:room]]
    lines = [said, message.text]
    note = TOO_MANY.format(most=MAX_ATTACHMENTS)
    if len(message.files) > room and note not in said:
        lines.append(note)
    execute(
        conn,
        "UPDATE turns SET text = :text, files = :files WHERE id = :id",
        text="\n\n".join(line for line in lines if line),
        files=json.dumps(files),
        id=turn_id,
    )


def _accepted(user: User, turn_id: str, conversation_id: str, *, duplicate: bool) -> Accepted:
    return Accepted(
        turn_id=turn_id,
        tenant_id=user.tenant_id,
        conversation_id=conversation_id,
        duplicate=duplicate,
    )
