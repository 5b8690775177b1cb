"""What the database says after a run, read once."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

import app
from core.steps import ModelStep, Step, load_step
from core.turns import Ending, Outcome
from settings import Settings
from storage.database import execute
from storage.rows import integer, optional_text, text


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRecord:
    """One row of ``turns`` with what belongs to it."""

    id: str
    event: str
    thread: str
    seq: int
    status: str
    outcome: str
    failure: str
    final: str
    """Reply and notice, as they are delivered."""
    attempts: int
    failures: int
    crowded: int
    delivered: bool
    problem: str | None
    steps: tuple[Step, ...]
    parts: dict[int, str]
    """The committed message ids of its reply, by part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Everything a check needs."""

    turns: tuple[TurnRecord, ...]
    calls: dict[str, str]
    """State of every model call."""
    unknown_outcomes: int
    leases: int
    audit_faults: dict[str, str]
    audit_rows: int


async def read_records(settings: Settings) -> Records:
    """Open the database as the product does, read it and verify the audit chains."""
    async with app.open_storage(settings) as storage:
        turns = await storage.db.read(_turns)
        calls = await storage.db.read(_pairs, "SELECT id, state FROM model_calls")
        audit = await storage.db.read(
            _pairs, "SELECT tenant_id || '/' || seq, action FROM audit_log"
        )
        leased = await storage.db.read(
            _pairs, "SELECT id, lease_owner FROM conversations WHERE lease_owner IS NOT NULL"
        )
        faults = await storage.audit.verify()
    return Records(
        turns=turns,
        calls=calls,
        unknown_outcomes=sum(action == "tool.unknown" for action in audit.values()),
        leases=len(leased),
        audit_faults=faults,
        audit_rows=len(audit),
    )


def _pairs(conn: sa.Connection, statement: str) -> dict[str, str]:
    return {text(row[0]): text(row[1]) for row in execute(conn, statement).all()}


def _turns(conn: sa.Connection) -> tuple[TurnRecord, ...]:
    steps: dict[str, list[Step]] = {}
    for row in execute(conn, "SELECT turn_id, kind, payload FROM turn_steps ORDER BY turn_id, n"):
        steps.setdefault(text(row[0]), []).append(load_step(text(row[1]), text(row[2])))
    parts: dict[str, dict[int, str]] = {}
    for row in execute(conn, "SELECT turn_id, part, ref FROM deliveries"):
        parts.setdefault(text(row[0]), {})[integer(row[1])] = text(row[2])
    rows = execute(
        conn,
        "SELECT id, event_id, thread, seq, status, outcome, failure, reply, notice, attempt,"
        " delivered_at, delivery_problem, failures, crowded FROM turns ORDER BY conversation_id, seq",
    ).all()
    return tuple(
        TurnRecord(
            id=text(row[0]),
            event=text(row[1]),
            thread=text(row[2]),
            seq=integer(row[3]),
            status=text(row[4]),
            outcome=optional_text(row[5]) or "",
            failure=optional_text(row[6]) or "",
            final=_final(row[5], row[7], row[8]),
            attempts=integer(row[9]),
            failures=integer(row[12]),
            crowded=integer(row[13]),
            delivered=row[10] is not None,
            problem=optional_text(row[11]),
            steps=tuple(steps.get(text(row[0]), ())),
            parts=parts.get(text(row[0]), {}),
        )
        for row in rows
    )


def _final(outcome: object, reply: object, notice: object) -> str:
    if outcome is None:
        return ""
    return Ending(
        outcome=Outcome(text(outcome)),
        reply=optional_text(reply) or "",
        notice=optional_text(notice) or "",
    ).text


def model_calls_of(turn: TurnRecord) -> list[str]:
    """The ids of a turn's committed model calls."""
    return [step.call_id for step in turn.steps if isinstance(step, ModelStep)]
