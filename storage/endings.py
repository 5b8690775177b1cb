"""How a turn's end is kept and told: its button, and the ``completed`` event."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Final

import sqlalchemy as sa

from core.metering import RefusalCode
from core.steps import dump_usage
from core.streams import REFUSED_EVENT
from core.turns import Ending, Offer
from storage.database import execute
from storage.metering import turn_usage
from storage.rows import optional_text, text

_REFUSALS: Final = frozenset(RefusalCode)


def dump_buttons(ending: Ending) -> str | None:
    """The buttons under the reply as JSON, for the column ``turns.offer``."""
    if ending.approvals:
        return json.dumps({"approvals": ending.approvals})
    if ending.offer is None:
        return None
    return json.dumps({"label": ending.offer.label, "command": ending.offer.command})


def load_offer(stored: str | None) -> Offer | None:
    """The offer of what ``dump_buttons`` wrote."""
    fields = {} if stored is None else json.loads(stored)
    if "label" not in fields:
        return None
    return Offer(label=fields["label"], command=fields["command"])


def load_approvals(stored: str | None) -> tuple[str, ...]:
    """The approvals of what ``dump_buttons`` wrote."""
    fields = {} if stored is None else json.loads(stored)
    return tuple(fields.get("approvals", ()))


def final_data(conn: sa.Connection, turn_id: str) -> str:
    """The ``completed`` event of a finished turn as JSON."""
    row = execute(
        conn,
        "SELECT outcome, reply, notice, answered_by, conversation_id, continue_in, merged_into,"
        " failure, offer, engine_reason FROM turns WHERE id = :id",
        id=turn_id,
    ).one()
    failure, offer = optional_text(row[7]) or "", load_offer(optional_text(row[8]))
    return json.dumps(
        {
            "outcome": text(row[0]),
            "reply": text(row[1]),
            "notice": text(row[2]),
            "engine": text(row[3]),
            "engine_reason": text(row[9]),
            "conversation_id": optional_text(row[5]) or text(row[4]),
            "merged_into": optional_text(row[6]),
            "usage": dump_usage(turn_usage(conn, turn_id)),
            "failure": failure,
            "retry_at": _retry_at(conn, turn_id) if failure in _REFUSALS else None,
            "offer": None if offer is None else asdict(offer),
        }
    )


def _retry_at(conn: sa.Connection, turn_id: str) -> str | None:
    """When a refused turn may be asked again: its last live event tells, for two days."""
    row = execute(
        conn,
        "SELECT payload FROM turn_events WHERE turn_id = :turn ORDER BY attempt DESC, n DESC"
        " LIMIT 1",
        turn=turn_id,
    ).first()
    if row is None:
        return None
    _number, name, data = json.loads(text(row[0]))[-1]
    if name != REFUSED_EVENT:
        return None
    retry_at = json.loads(data)["retry_at"]
    return None if retry_at is None else str(retry_at)
