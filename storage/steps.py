"""Reading the committed steps of turns back, within bounds."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from core.steps import Step, load_step
from core.turns import Turn
from storage.database import execute
from storage.rows import integer, text

STEP_CHARS = 600_000
"""Steps of earlier turns that are read into one request, newest turns first, in characters.

A turn whose steps do not fit is remembered by its message and its reply alone: of its tool
results a part would be worse than nothing.
"""
_PAGE = 64


def steps_of(conn: sa.Connection, turn: Turn) -> tuple[Step, ...]:
    """What earlier attempts of the turn committed."""
    rows = execute(
        conn,
        "SELECT kind, payload FROM turn_steps WHERE turn_id = :id AND tenant_id = :tenant"
        " ORDER BY n",
        id=turn.id,
        tenant=turn.tenant_id,
    ).all()
    return tuple(load_step(text(row[0]), text(row[1])) for row in rows)


def recent_steps(conn: sa.Connection, turn: Turn, first_seq: int) -> dict[str, tuple[Step, ...]]:
    """The steps of the turns from ``first_seq`` up to the turn, by turn id, within the bound."""
    left = STEP_CHARS
    found: dict[str, list[Step]] = {}
    seq, number = turn.seq, 0
    while True:
        rows = _page(conn, turn, first_seq, seq, number)
        for row in rows:
            turn_id, payload = text(row[0]), text(row[4])
            left -= len(payload)
            if left < 0:
                found.pop(turn_id, None)
                return _in_order(found)
            found.setdefault(turn_id, []).append(load_step(text(row[3]), payload))
        if len(rows) < _PAGE:
            return _in_order(found)
        seq, number = integer(rows[-1][1]), integer(rows[-1][2])


def _page(
    conn: sa.Connection, turn: Turn, first_seq: int, seq: int, number: int
) -> Sequence[Sequence[object]]:
    """The steps before a position, newest first."""
    return execute(
        conn,
        "SELECT s.turn_id, t.seq, s.n, s.kind, s.payload FROM turns t"
        " JOIN turn_steps s ON s.turn_id = t.id WHERE t.conversation_id = :cid"
        " AND t.tenant_id = :tenant AND t.seq >= :first AND t.seq <= :seq"
        " AND (t.seq < :seq OR s.n < :number) AND t.status = 'done'"
        " ORDER BY t.seq DESC, s.n DESC LIMIT :page",
        cid=turn.conversation_id,
        tenant=turn.tenant_id,
        first=first_seq,
        seq=seq,
        number=number,
        page=_PAGE,
    ).all()


def _in_order(found: dict[str, list[Step]]) -> dict[str, tuple[Step, ...]]:
    return {turn_id: tuple(reversed(steps)) for turn_id, steps in found.items()}
