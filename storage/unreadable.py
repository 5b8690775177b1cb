"""Turns that this version cannot read back: put off, and after some tries ended with a notice.

A row may have been written by a newer version, or damaged. It must hold up neither the queue
of all conversations nor, for good, its own.
"""

from __future__ import annotations

import sqlalchemy as sa
import structlog

from core.turns import MAX_FAILURES, Outcome
from storage.database import execute, savepoint
from storage.metering import settle_lost
from storage.rows import integer, text

PAUSE_MS = 60_000
"""Between tries: somebody may be bringing the newer version back."""

NOTICE = (
    "Your message was stored, but it could not be read back, so it was given up. Please send "
    "it again; if this repeats, tell the person who runs this service (claim.unreadable in the "
    "log)."
)

_log = structlog.get_logger()


def put_off(conn: sa.Connection, conversation_id: str, seq: int) -> None:
    """Release the conversation for a while; after ``MAX_FAILURES`` end the turn instead."""
    execute(
        conn,
        "UPDATE conversations SET lease_owner = NULL, ready_at = {now} + :pause WHERE id = :cid",
        cid=conversation_id,
        pause=PAUSE_MS,
    )
    row = execute(
        conn,
        "UPDATE turns SET failures = failures + 1 WHERE conversation_id = :cid AND seq = :seq"
        " RETURNING id, failures",
        cid=conversation_id,
        seq=seq,
    ).first()
    if row is None:  # the message itself is gone: nothing can be answered
        _move_on(conn, conversation_id, seq)
    elif integer(row[1]) >= MAX_FAILURES:
        _give_up(conn, text(row[0]), conversation_id, seq)


def _give_up(conn: sa.Connection, turn_id: str, conversation_id: str, seq: int) -> None:
    """End the turn, and the messages that joined it; the sweep delivers the notice."""
    execute(
        conn,
        "UPDATE turns SET status = 'done', outcome = :outcome, reply = '', notice = :notice,"
        " answered_by = '', failure = 'unreadable', finished_at = {now}, deliverer = NULL,"
        " deliver_until = 0"
        " WHERE conversation_id = :cid AND (seq = :seq OR (seq > :seq AND merged_into = :id))",
        cid=conversation_id,
        seq=seq,
        id=turn_id,
        outcome=str(Outcome.FAILED),
        notice=NOTICE,
    )
    _move_on(conn, conversation_id, seq)
    try:
        with savepoint(conn):
            settle_lost(conn, turn_id)
    except (LookupError, TypeError, ValueError):  # its live events may be what is damaged
        _log.warning("claim.unsettled", turn=turn_id)


def _move_on(conn: sa.Connection, conversation_id: str, seq: int) -> None:
    execute(
        conn,
        "UPDATE conversations SET ready_at = {now}, done_seq = (SELECT COALESCE(MAX(seq), :seq)"
        " FROM turns WHERE conversation_id = :cid AND seq > :seq AND merged_into ="
        " (SELECT id FROM turns WHERE conversation_id = :cid AND seq = :seq)) WHERE id = :cid",
        cid=conversation_id,
        seq=seq,
    )
