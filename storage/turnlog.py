"""Commits of a leased turn: steps, live events, steering, the end. All of them fenced."""

from __future__ import annotations

import json

import sqlalchemy as sa

from core.audit import AuditEntry
from core.metering import Settlement
from core.steps import SteerStep, Step, ToolStartedStep, ToolStep, dump_step
from core.streams import EventId, StreamEvent
from core.turns import Ending, Outcome, Turn
from storage.approvals import use, void
from storage.audit import append_audit
from storage.database import Database, execute
from storage.endings import dump_buttons, final_data
from storage.holding import HELD, fenced, hold
from storage.metering import settle, settle_lost
from storage.rows import integer, text


class SqlTurnLog:
    """Implements ``core.turnlog.TurnLog`` and ``core.toolrunner.StepLog``."""

    def __init__(self, db: Database, audit_key: bytes, worker: str) -> None:
        """``audit_key`` signs the audit chain; ``worker`` is who delivers what ends here."""
        self._db = db
        self._audit_key = audit_key
        self._worker = worker

    async def record(
        self,
        turn: Turn,
        step: Step,
        *,
        settlement: Settlement | None = None,
        audit: AuditEntry | None = None,
    ) -> None:
        """Append a step with its usage and its audit row, or none of them."""
        await self._db.transaction(_record, turn, step, settlement, audit, self._audit_key)

    async def save_events(self, turn: Turn, events: tuple[StreamEvent, ...]) -> None:
        """Append live events as one batch."""
        if events:
            await self._db.transaction(_save_events_fenced, turn, events)

    async def absorb(self, turn: Turn) -> tuple[str, ...]:
        """Merge the queued messages right behind the turn that asked to steer it."""
        if not await self._db.read(_steering_waits, turn):
            return ()
        return await self._db.transaction(_absorb, turn)

    async def finish(
        self,
        turn: Turn,
        ending: Ending,
        *,
        events: tuple[StreamEvent, ...],
        settlements: tuple[Settlement, ...],
        deliver: bool,
    ) -> StreamEvent:
        """End the turn: cursor, reply, usage and last events in one transaction."""
        deliverer = self._worker if deliver else None
        return await self._db.transaction(_finish, turn, ending, events, settlements, deliverer)


def _record(
    conn: sa.Connection,
    turn: Turn,
    step: Step,
    settlement: Settlement | None,
    audit: AuditEntry | None,
    audit_key: bytes,
) -> None:
    _append_step(conn, turn, step)
    if isinstance(step, ToolStartedStep) and step.approval_id:
        use(conn, turn, step)
    ran = isinstance(step, ToolStep) and not step.is_error
    if (turn.failures or turn.crowded) and ran:
        # It got further than where it crashed: what is given up is a turn that does not. A
        # long turn on a bad day, or in company of the one that kills, is not a poisoned one.
        execute(conn, "UPDATE turns SET failures = 0, crowded = 0 WHERE id = :id", id=turn.id)
    if settlement is not None:
        settle(conn, settlement)
    if audit is not None:
        append_audit(conn, audit_key, turn.tenant_id, audit)


def _append_step(conn: sa.Connection, turn: Turn, step: Step) -> None:
    kind, payload = dump_step(step)
    # The row lock, taken in a statement of its own, makes steps that end side by side (two
    # tools of one answer) queue for their numbers: the next statement sees what was committed.
    hold(conn, turn)
    execute(
        conn,
        "INSERT INTO turn_steps (turn_id, n, tenant_id, attempt, kind, payload, created_at)"
        " SELECT CAST(:turn AS TEXT),"
        " COALESCE((SELECT MAX(n) FROM turn_steps WHERE turn_id = :turn), 0) + 1,"
        " CAST(:tenant AS TEXT), CAST(:attempt AS BIGINT), CAST(:kind AS TEXT),"
        " CAST(:payload AS TEXT), {now}",
        turn=turn.id,
        tenant=turn.tenant_id,
        attempt=turn.attempt,
        kind=kind,
        payload=payload,
    )


def _save_events_fenced(conn: sa.Connection, turn: Turn, events: tuple[StreamEvent, ...]) -> None:
    hold(conn, turn, "{share}")
    _save_events(conn, turn, events)


def _save_events(conn: sa.Connection, turn: Turn, events: tuple[StreamEvent, ...]) -> None:
    """One row a batch. A batch whose commit went unheard is written again, longer.

    One that was on its way for long may meet its longer self: it must not cut it.
    """
    if not events:
        return
    execute(
        conn,
        "INSERT INTO turn_events (turn_id, attempt, n, tenant_id, payload)"
        " VALUES (:turn, :attempt, :n, :tenant, :payload)"
        " ON CONFLICT (turn_id, attempt, n) DO UPDATE SET payload = excluded.payload"
        " WHERE LENGTH(excluded.payload) > LENGTH(turn_events.payload)",
        turn=turn.id,
        attempt=turn.attempt,
        n=events[0].id.number,
        tenant=turn.tenant_id,
        payload=json.dumps([[event.id.number, event.name, event.data] for event in events]),
    )


_STEERERS = """
SELECT id, seq, text FROM turns WHERE conversation_id = :cid AND seq > :seq
  AND status = 'queued' AND overlap = 'steer' AND kind = 'message' AND attachments = '[]'
  AND cancel_at IS NULL AND user_id = :user ORDER BY seq
"""


def _behind(turn: Turn) -> dict[str, str | int]:
    """Whose messages may steer: only those of the person whose role the turn runs under."""
    return {"cid": turn.conversation_id, "seq": turn.seq, "user": turn.user.id}


def _steering_waits(conn: sa.Connection, turn: Turn) -> bool:
    row = execute(conn, _STEERERS + " LIMIT 1", **_behind(turn)).first()
    return row is not None


def _absorb(conn: sa.Connection, turn: Turn) -> tuple[str, ...]:
    """Merge the contiguous run of steering messages behind the turn and its merged ones."""
    hold(conn, turn)
    following = _last_merged(conn, turn) + 1
    taken: list[str] = []
    for row in execute(conn, _STEERERS, **_behind(turn)).all():
        if integer(row[1]) != following:
            break
        following += 1
        taken.append(text(row[2]))
        execute(
            conn,
            "UPDATE turns SET status = 'merged', merged_into = :into WHERE id = :id",
            into=turn.id,
            id=text(row[0]),
        )
        _append_step(conn, turn, SteerStep(text=taken[-1]))
    return tuple(taken)


def _last_merged(conn: sa.Connection, turn: Turn) -> int:
    row = execute(
        conn,
        "SELECT COALESCE(MAX(seq), :seq) FROM turns WHERE conversation_id = :cid"
        " AND seq > :seq AND merged_into = :id",
        cid=turn.conversation_id,
        seq=turn.seq,
        id=turn.id,
    ).one()
    return integer(row[0])


def _finish(
    conn: sa.Connection,
    turn: Turn,
    ending: Ending,
    events: tuple[StreamEvent, ...],
    settlements: tuple[Settlement, ...],
    deliverer: str | None,
) -> StreamEvent:
    if conn.dialect.name == "postgresql":
        # An absorb may be on its way: the statements behind the lock see what it merged.
        hold(conn, turn)
    # Without a delivery the lease ends here; with one it ends when the reply is delivered.
    row = execute(
        conn,
        "UPDATE conversations SET done_seq = (SELECT COALESCE(MAX(seq), :seq) FROM turns"
        " WHERE conversation_id = :cid AND seq > :seq AND merged_into = :id), ready_at = {now},"
        " updated_at = {now},"
        " lease_owner = CASE WHEN CAST(:deliverer AS TEXT) IS NULL THEN NULL ELSE lease_owner END"
        f" WHERE id = :cid AND tenant_id = :tenant AND {HELD} RETURNING last_seq",
        seq=turn.seq,
        tenant=turn.tenant_id,
        cid=turn.conversation_id,
        id=turn.id,
        epoch=turn.epoch,
        deliverer=deliverer,
    ).first()
    if row is None:
        raise fenced()
    # The turn's row first: a reservation on its way holds it, and is settled below; one that
    # comes later finds the turn done, and is refused.
    _end(conn, turn, ending, deliverer)
    void(conn, turn)
    _keep_session(conn, turn, ending)
    for settlement in settlements:
        settle(conn, settlement)
    settle_lost(conn, turn.id)
    _save_events(conn, turn, events)
    if conn.dialect.name == "postgresql":
        execute(conn, "SELECT pg_notify('turns', '')")
    number = events[-1].id.number + 1 if events else FINAL
    return StreamEvent(EventId(turn.attempt, number), "completed", final_data(conn, turn.id))


def _keep_session(conn: sa.Connection, turn: Turn, ending: Ending) -> None:
    """Where the engine's own memory goes on: only after an answer that is wholly in it."""
    if ending.session is None or ending.outcome is not Outcome.ANSWERED:
        return
    execute(
        conn,
        "INSERT INTO engine_sessions (conversation_id, tenant_id, user_id, engine, token, turn_id,"
        " updated_at) VALUES (:cid, :tenant, :user, :engine, :token, :turn, {now})"
        " ON CONFLICT (conversation_id) DO UPDATE SET tenant_id = excluded.tenant_id,"
        " user_id = excluded.user_id, engine = excluded.engine, token = excluded.token,"
        " turn_id = excluded.turn_id, updated_at = excluded.updated_at",
        cid=turn.conversation_id,
        tenant=turn.tenant_id,
        user=turn.user.id,
        engine=ending.engine,
        token=ending.session,
        turn=turn.id,
    )


FINAL = 1_000_000_000
"""The event number of a turn's end when it is read back from the log."""


def _end(conn: sa.Connection, turn: Turn, ending: Ending, deliverer: str | None) -> None:
    """Write the end, and what it means for the messages that joined.

    A stop that was accepted before it counts, also when it came too late to cut the answer:
    who was told "Stopped." never finds the turn answered.
    """
    execute(
        conn,
        "UPDATE turns SET status = 'done', outcome = CASE WHEN cancel_at IS NOT NULL"
        " AND kind = 'message' AND CAST(:outcome AS TEXT) = 'answered' THEN 'cancelled'"
        " ELSE :outcome END, reply = :reply, notice = :notice, answered_by = :engine,"
        " engine_reason = :engine_reason, failure = :failure, continue_in = :continue_in,"
        " offer = :offer, finished_at = {now}, deliverer = :deliverer,"
        " deliver_until = {now} + 60000,"
        " delivered_at = CASE WHEN CAST(:deliverer AS TEXT) IS NULL THEN {now} ELSE NULL END"
        " WHERE id = :id",
        id=turn.id,
        outcome=str(ending.outcome),
        reply=ending.reply,
        notice=ending.notice,
        engine=ending.engine,
        engine_reason=ending.engine_reason,
        failure=ending.failure,
        continue_in=ending.continue_in,
        offer=dump_buttons(ending),
        deliverer=deliverer,
    )
    execute(
        conn,
        "UPDATE turns SET status = 'done', outcome = 'steered', reply = '', notice = :notice,"
        " answered_by = :engine, engine_reason = :engine_reason, finished_at = {now},"
        " delivered_at = {now} WHERE conversation_id = :cid AND seq > :seq AND merged_into = :id",
        cid=turn.conversation_id,
        seq=turn.seq,
        id=turn.id,
        engine=ending.engine,
        engine_reason=ending.engine_reason,
        notice="Your message joined the answer above.",
    )
