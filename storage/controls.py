"""What is carried out at ingest: ``/stop``, buttons, edits and deletions of messages."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from core.buttons import Action, Press
from core.commands_text import is_shared
from core.inbox import ControlDone, Edited
from core.messages import InboundMessage
from core.refusals import NO_CONVERSATION, Rejected
from core.tenants import Role, User
from core.words import Words, sentence
from storage.controlled import done, done_before
from storage.database import execute
from storage.endings import load_offer
from storage.places import find, sender
from storage.rows import integer, optional_text, text


def stop(conn: sa.Connection, message: InboundMessage) -> ControlDone | Rejected:
    """Ask the unfinished turns of the conversation to stop, once per event: a viewer's own ones."""
    who = sender(conn, message.actor, message.group)
    if isinstance(who, Rejected):
        return who
    before = done_before(conn, who.user, message.event_id)
    if before is not None:
        return before
    conversation_id = find(conn, who.user, message)
    if conversation_id is None:
        return NO_CONVERSATION
    stopped = cancel_before(conn, conversation_id, 2**62, who.user)
    words = Words(who.language)
    match len(stopped):
        case 0 if who.user.role is Role.VIEWER and is_shared(message.address):
            reply = words("Nothing of yours is running in this conversation.")
        case 0:
            reply = words("Nothing is running in this conversation.")
        case 1:
            reply = words("Stopped.")
        case count:
            reply = words("Stopped, with {waiting} more that waited.", waiting=count - 1)
    done(conn, who.user, message.event_id, conversation_id, reply)
    return ControlDone(conversation_id=conversation_id, reply=reply, stopped=stopped)


def press(conn: sa.Connection, pressed: Press) -> ControlDone | InboundMessage | Rejected:
    """Carry a button out. Only the tenant's own people can, whoever the button is shown to."""
    who = sender(conn, pressed.actor, pressed.group)
    if isinstance(who, Rejected):
        return who
    user, words = who.user, Words(who.language)
    if pressed.action is Action.OFFER:
        return _taken(conn, user, pressed)
    before = done_before(conn, user, pressed.event_id)
    if before is not None:
        return before
    row = execute(
        conn,
        "SELECT conversation_id, user_id FROM turns WHERE id = :id AND tenant_id = :tenant",
        id=pressed.subject,
        tenant=user.tenant_id,
    ).first()
    if row is None:
        return NO_CONVERSATION
    stopped: tuple[str, ...] = ()
    if pressed.action is not Action.STOP:
        _rate(conn, user, pressed)
        reply = words("Thank you.")
    elif text(row[1]) != user.id and not user.role.includes(Role.OPERATOR):
        return Rejected(
            code="not_allowed",
            sentence=sentence("Only its writer, an operator or an admin may stop this."),
        )
    else:
        stopped = _cancel(conn, "id = :id AND tenant_id = :tenant", pressed.subject, user.tenant_id)
        reply = words("Stopped.") if stopped else words("This is over already.")
    done(conn, user, pressed.event_id, text(row[0]), reply)
    return ControlDone(conversation_id=text(row[0]), reply=reply, stopped=stopped)


def _taken(conn: sa.Connection, user: User, pressed: Press) -> InboundMessage | Rejected:
    """The offered command as a message of whoever pressed, in the thread of the offer.

    Where the channel got another id meanwhile, the thread is the one that the platform names.
    """
    row = execute(
        conn,
        "SELECT offer, channel, thread FROM turns WHERE id = :id AND tenant_id = :tenant",
        id=pressed.subject,
        tenant=user.tenant_id,
    ).first()
    offer = None if row is None else load_offer(optional_text(row[0]))
    if row is None or offer is None:
        return Rejected(code="no_offer", sentence=sentence("This button no longer works."))
    address = pressed.address
    if text(row[1]) == address.channel:
        address = replace(address, thread=text(row[2]))
    return InboundMessage(
        event_id=pressed.event_id,
        address=address,
        actor=pressed.actor,
        text=offer.command,
        group=pressed.group,
    )


def edit(conn: sa.Connection, message: InboundMessage) -> Edited:
    """Replace the text of a message that waits. Only its own writer edits a message."""
    who = sender(conn, message.actor, message.group)
    if isinstance(who, Rejected):
        return Edited.OVER
    row = execute(
        conn,
        "SELECT id, conversation_id FROM turns WHERE event_id = :event AND tenant_id = :tenant"
        " AND user_id = :user AND kind = 'message'",
        event=message.event_id,
        tenant=who.user.tenant_id,
        user=who.user.id,
    ).first()
    if row is None:
        return Edited.OVER
    # The conversation before the turn, as everywhere: no deadlock, and no claim in between.
    execute(conn, "SELECT 1 FROM conversations WHERE id = :id{row}", id=text(row[1])).first()
    status = execute(
        conn, "SELECT status, text, attempt FROM turns WHERE id = :id{row}", id=text(row[0])
    ).one()
    same = text(status[1]) == message.text
    if status[0] not in {"queued", "running"}:
        return Edited.OVER
    # One that waits for a human was begun: what it asked for was asked on the ground of its text.
    if status[0] == "running" or integer(status[2]):
        return Edited.OVER if same and not _edited(conn, message.event_id) else Edited.TOO_LATE
    if same:
        return Edited.OVER
    execute(
        conn, "UPDATE turns SET text = :text WHERE id = :id", text=message.text, id=text(row[0])
    )
    return Edited.REPLACED


def _edited(conn: sa.Connection, event_id: str) -> bool:
    """Whether an edit joined the running turn: going back to the first text is one more."""
    prefix = f"{event_id}:edit:"
    row = execute(
        conn,
        "SELECT 1 FROM turns t JOIN turns later ON later.conversation_id = t.conversation_id"
        " AND later.seq > t.seq WHERE t.event_id = :event"
        " AND SUBSTR(later.event_id, 1, :length) = :prefix",
        event=event_id,
        length=len(prefix),
        prefix=prefix,
    ).first()
    return row is not None


def retract(conn: sa.Connection, event_id: str) -> tuple[str, ...]:
    """Stop the unfinished turn of an event. The platform vouches that its writer deleted it."""
    return _cancel(conn, "event_id = :id AND CAST(:tenant AS TEXT) IS NULL", event_id, None)


def _rate(conn: sa.Connection, user: User, pressed: Press) -> None:
    execute(
        conn,
        "INSERT INTO feedback (turn_id, user_id, tenant_id, good, created_at)"
        " VALUES (:turn, :user, :tenant, :good, {now})"
        " ON CONFLICT (turn_id, user_id) DO UPDATE SET good = excluded.good",
        turn=pressed.subject,
        user=user.id,
        tenant=user.tenant_id,
        good=int(pressed.action is Action.GOOD),
    )


def _cancel(conn: sa.Connection, which: str, turn: str, tenant_id: str | None) -> tuple[str, ...]:
    rows = execute(
        conn,
        f"UPDATE turns SET cancel_at = {{now}} WHERE {which}"
        " AND status IN ('queued', 'running') AND cancel_at IS NULL RETURNING id",
        id=turn,
        tenant=tenant_id,
    ).all()
    return _tell(conn, tuple(text(row[0]) for row in rows))


def _tell(conn: sa.Connection, stopped: tuple[str, ...]) -> tuple[str, ...]:
    """Let the processes know that run them; what waits for a human is to end now."""
    for turn_id in stopped:
        execute(
            conn,
            "UPDATE conversations SET parked_until = NULL WHERE parked_until IS NOT NULL"
            " AND id = (SELECT conversation_id FROM turns WHERE id = :id)",
            id=turn_id,
        )
    if conn.dialect.name == "postgresql":
        for turn_id in stopped:
            execute(conn, "SELECT pg_notify('stop', CAST(:id AS TEXT))", id=turn_id)
    return stopped


def cancel_before(conn: sa.Connection, conversation_id: str, seq: int, by: User) -> tuple[str, ...]:
    """Ask the unfinished turns before ``seq`` to stop, in this process or another.

    A viewer stops nobody else's: a change that an operator began is not theirs to break off.
    """
    rows = execute(
        conn,
        "UPDATE turns SET cancel_at = {now} WHERE conversation_id = :cid AND seq < :seq"
        " AND seq > (SELECT done_seq FROM conversations WHERE id = :cid)"
        " AND (CAST(:user AS TEXT) IS NULL OR user_id = :user)"
        " AND status IN ('queued', 'running') AND cancel_at IS NULL RETURNING id",
        cid=conversation_id,
        seq=seq,
        user=None if by.role.includes(Role.OPERATOR) else by.id,
    ).all()
    return _tell(conn, tuple(text(row[0]) for row in rows))
