"""Due times of standing orders become turns: once each, whatever crashes, whoever races.

One transaction moves ``next_run_at`` from the due time to the one after it, which only one
process can do, and stores the run and its turn. The row of the run is the due time's own key,
so that a clock that is set back cannot bring it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from core.order_runs import Firing, problem_of
from core.schedule import BadSchedule, next_times
from core.standing_orders import (
    MOST_FAILURES,
    PROBLEMS,
    OrderProblem,
    RunState,
    StandingOrder,
)
from core.turns import Outcome
from core.words import sentence
from storage import order_rows
from storage.announcements import announce
from storage.database import Database, execute, now_ms
from storage.order_rows import ORDERS, add_run, note, order_of
from storage.rows import integer, text

KEPT_MS = 90 * 86_400_000
"""How long the history of runs is kept."""
_PROPOSED_MS = 7 * 86_400_000
"""How long a proposal waits for its confirmation."""
SYSTEM = "system"


_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """A run whose turn is over."""

    order_id: str
    due_ms: int
    outcome: str
    failure: str


class _Raced(Exception):  # not a fault: it only rolls the transaction back
    """Somebody else changed the order meanwhile."""


class SqlOrderRuns:
    """Implements ``core.order_loop.DueOrders``."""

    def __init__(self, db: Database, audit_key: bytes) -> None:
        """Wire the database."""
        self._db = db
        self._key = audit_key

    async def due(self, most: int) -> tuple[int, tuple[StandingOrder, ...]]:
        """See the port."""
        return await self._db.read(_due, most)

    async def fire(self, order: StandingOrder, firing: Firing) -> OrderProblem | None:
        """See the port."""
        return await self._db.transaction(_fire, self._key, order, firing)

    async def pause(self, order: StandingOrder, problem: OrderProblem) -> None:
        """See the port."""
        try:
            await self._db.transaction(_pause, self._key, order, problem)
        except _Raced:
            return

    async def settle(self, most: int) -> int:
        """See the port."""
        ended = await self._db.read(_ended, most)
        for run in ended:
            try:
                await self._db.transaction(_settle, self._key, run)
            except _Raced:
                continue
        return len(ended)

    async def realign(self) -> int:
        """See the port."""
        now, orders = await self._db.read(_waiting)
        moved = 0
        for order in orders:
            try:
                times = next_times(order.schedule.cron, order.schedule.timezone, now, 1)
            except BadSchedule:
                continue  # it is paused when it is due
            if times and times[0] != order.next_run_at_ms:
                moved += await self._db.transaction(_move, order, times[0])
        return moved

    async def forget(self) -> None:
        """Erase old history, and proposals that nobody confirmed; for housekeeping."""
        await self._db.transaction(_forget)


def _due(conn: sa.Connection, most: int) -> tuple[int, tuple[StandingOrder, ...]]:
    rows = execute(
        conn,
        f"{ORDERS} WHERE next_run_at IS NOT NULL AND next_run_at <= {{now}}"
        " AND state = 'active' ORDER BY next_run_at, id LIMIT :most",
        most=most,
    ).all()
    return now_ms(conn), _readable(rows)


def _readable(rows: Sequence[Sequence[object]]) -> tuple[StandingOrder, ...]:
    """The orders of these rows; one that cannot be read must not stop those of other teams."""
    found = []
    for row in rows:
        try:
            found.append(order_of(row))
        except (TypeError, ValueError):
            _log.error("order.unreadable", order=str(row[0]))  # the row says it all
    return tuple(found)


def _fire(
    conn: sa.Connection, key: bytes, order: StandingOrder, firing: Firing
) -> OrderProblem | None:
    order_rows.lock_conversation(conn, order.tenant_id, order.conversation_id)
    seat = None
    if firing.run_at_ms is not None:
        if not _is_here(conn, order):
            return OrderProblem.CREATOR_LEFT
        seat = order_rows.seat_of(conn, order.tenant_id, order.created_by, order.conversation_id)
        if seat is None:
            return OrderProblem.PLACE_LEFT
    moved = execute(
        conn,
        "UPDATE standing_orders SET next_run_at = :next WHERE id = :id AND next_run_at = :due"
        " AND revision = :revision AND state = 'active' RETURNING id",
        id=order.id,
        due=order.next_run_at_ms,
        next=order.next_run_at_ms if firing.next_at_ms is None else firing.next_at_ms,
        revision=order.revision,
    ).first()
    if moved is None:
        return None
    for due_ms, reason in firing.missed:
        add_run(conn, order, due_ms, RunState.MISSED, reason=reason)
    if seat is not None and firing.run_at_ms is not None:
        _begin(conn, key, order, firing.run_at_ms, seat)
    return OrderProblem.SCHEDULE if firing.next_at_ms is None else None


def _begin(
    conn: sa.Connection, key: bytes, order: StandingOrder, due_ms: int, seat: order_rows.Seat
) -> None:
    if order_rows.unfinished(conn, order.id):
        add_run(conn, order, due_ms, RunState.SKIPPED, reason="still_running")
        return
    if not add_run(conn, order, due_ms, RunState.STARTED):
        return  # the clock was set back: this due time had its turn
    start(conn, key, order, due_ms, seat, actor=SYSTEM)


def start(  # what a run is told of
    conn: sa.Connection,
    key: bytes,
    order: StandingOrder,
    due_ms: int,
    seat: order_rows.Seat,
    *,
    actor: str,
) -> str:
    """Give a run that was just recorded its turn."""
    turn_id = order_rows.queue_turn(conn, order, due_ms, seat)
    execute(
        conn,
        "UPDATE order_runs SET turn_id = :turn WHERE order_id = :id AND due_at = :due",
        turn=turn_id,
        id=order.id,
        due=due_ms,
    )
    note(conn, key, order, "order.started", actor=actor, turn_id=turn_id, due=due_ms)
    return turn_id


def _is_here(conn: sa.Connection, order: StandingOrder) -> bool:
    row = execute(
        conn,
        "SELECT 1 FROM users WHERE id = :id AND tenant_id = :tenant AND disabled_at IS NULL",
        id=order.created_by,
        tenant=order.tenant_id,
    ).first()
    return row is not None


# -- stopping one ------------------------------------------------------------------------------


def _pause(conn: sa.Connection, key: bytes, order: StandingOrder, problem: OrderProblem) -> None:
    _tell(conn, order, problem)  # conversations are locked before the order
    paused = execute(
        conn,
        "UPDATE standing_orders SET state = 'paused', next_run_at = NULL, problem = :problem,"
        " revision = revision + 1, updated_at = {now} WHERE id = :id AND revision = :revision"
        " AND state = 'active' RETURNING id",
        id=order.id,
        problem=str(problem),
        revision=order.revision,
    ).first()
    if paused is None:
        raise _Raced
    note(conn, key, order, "order.paused", actor=SYSTEM, problem=str(problem))


def _tell(conn: sa.Connection, order: StandingOrder, problem: OrderProblem) -> None:
    """Whoever asked, where the order reports to; every admin when that cannot be."""
    message = sentence(
        "I paused the standing order `{name}`: {why}. `/orders resume {order}` goes on with it.",
        name=order.name.replace("`", "'"),
        why=PROBLEMS[problem],
        order=order.id,
    )
    told = 0
    at_ms = now_ms(conn)
    for user_id, conversation_id in ((order.created_by, order.conversation_id), (None, None)):
        if told:
            return
        told = announce(
            conn,
            tenant_id=order.tenant_id,
            user_id=user_id,
            conversation_id=conversation_id,
            key=f"order/{order.id}/{order.revision}",
            message=message,
            at_ms=at_ms,
        )


# -- what became of a run ----------------------------------------------------------------------


def _ended(conn: sa.Connection, most: int) -> tuple[_Ended, ...]:
    rows = execute(
        conn,
        "SELECT r.order_id, r.due_at, t.outcome, t.failure FROM order_runs r"
        " JOIN turns t ON t.id = r.turn_id AND t.tenant_id = r.tenant_id"
        " WHERE r.state = 'started' AND t.status = 'done' LIMIT :most",
        most=most,
    ).all()
    return tuple(
        _Ended(
            order_id=text(row[0]),
            due_ms=integer(row[1]),
            outcome=text(row[2]),
            failure="" if row[3] is None else text(row[3]),
        )
        for row in rows
    )


def _settle(conn: sa.Connection, key: bytes, run: _Ended) -> None:
    """Note how a run ended; the order stops at what every further run would meet as well."""
    problem, failed = problem_of(Outcome(run.outcome), run.failure)
    row = execute(conn, f"{ORDERS} WHERE id = :id", id=run.order_id).first()
    for order in _readable([] if row is None else [row]):
        _count(conn, key, order, problem, failed=failed)
    settled = execute(
        conn,
        "UPDATE order_runs SET state = 'ended', reason = :reason WHERE order_id = :id"
        " AND due_at = :due AND state = 'started' RETURNING due_at",
        id=run.order_id,
        due=run.due_ms,
        reason=run.failure if failed and run.failure else run.outcome,
    ).first()
    if settled is None:
        raise _Raced


def _count(
    conn: sa.Connection,
    key: bytes,
    order: StandingOrder,
    problem: OrderProblem | None,
    *,
    failed: bool,
) -> None:
    """Count the failures in a row, and pause the order when they are too many."""
    failures = order.failures + 1 if failed else 0
    if failures >= MOST_FAILURES and problem is None:
        problem = OrderProblem.FAILURES
    if problem is not None and order.next_run_at_ms is not None:
        _pause(conn, key, order, problem)
    counted = execute(
        conn,
        "UPDATE standing_orders SET failures = :failures WHERE id = :id AND failures = :before"
        " RETURNING id",
        id=order.id,
        failures=failures,
        before=order.failures,
    ).first()
    if counted is None:
        raise _Raced


# -- clocks and years --------------------------------------------------------------------------


def _waiting(conn: sa.Connection) -> tuple[int, tuple[StandingOrder, ...]]:
    rows = execute(
        conn,
        f"{ORDERS} WHERE next_run_at IS NOT NULL AND next_run_at > {{now}}"
        " AND state = 'active' ORDER BY next_run_at",
    ).all()
    return now_ms(conn), _readable(rows)


def _move(conn: sa.Connection, order: StandingOrder, next_ms: int) -> int:
    row = execute(
        conn,
        "UPDATE standing_orders SET next_run_at = :next WHERE id = :id AND next_run_at = :before"
        " AND revision = :revision AND state = 'active' RETURNING id",
        id=order.id,
        next=next_ms,
        before=order.next_run_at_ms,
        revision=order.revision,
    ).first()
    return int(row is not None)


def _forget(conn: sa.Connection) -> None:
    execute(
        conn,
        "DELETE FROM order_runs WHERE created_at < {now} - :kept AND state <> 'started'",
        kept=KEPT_MS,
    )
    execute(
        conn,
        "DELETE FROM standing_orders WHERE state = 'proposed' AND created_at < {now} - :kept",
        kept=_PROPOSED_MS,
    )
    execute(
        conn,
        "DELETE FROM standing_orders WHERE state = 'deleted' AND updated_at < {now} - :kept",
        kept=KEPT_MS,
    )
