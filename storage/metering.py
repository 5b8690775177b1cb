"""Model calls: a row before each is made, its usage and cost after.

The rows are the record of what was used; the counters beside them (``storage.quota``,
``storage.budgets``) are their sums. Who may make a call is decided in ``storage.admission``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from billing.events import Kind
from billing.periods import Period, month_of
from billing.prices import Priced, Unknown, cost_of
from billing.quota import LEASE_MS, possible
from core import telemetry
from core.clock import Clock, SystemClock
from core.errors import Fenced
from core.metering import (
    CallRequest,
    CallState,
    Grant,
    QuotaRefusal,
    Settlement,
    Usage,
    byte_count,
)
from storage import budgets, quota
from storage.database import Database, execute, now_ms
from storage.outbox import publish
from storage.rows import integer, text

_log = structlog.get_logger()


class RecordingMeter:
    """Implements ``core.metering.Meter`` without limits: where billing is off.

    The counters are kept all the same, so that limits can be turned on in mid-month.
    """

    def __init__(self, db: Database, clock: Clock | None = None) -> None:
        """Wire the database."""
        self._db = db
        self._clock = clock or SystemClock()

    async def reserve(self, call: CallRequest) -> Grant | QuotaRefusal:
        """Record the call, durably; it may always be made. Raises ``Fenced``."""
        await self._db.transaction(_reserve, call, self._clock.now_ms())
        return Grant(call_id=call.id, max_output=call.max_output)


def _reserve(conn: sa.Connection, call: CallRequest, at_ms: int) -> None:
    record_call(conn, call, at_ms)
    quota.hold(conn, call.tenant_id, month_of(at_ms), estimate(call))


def estimate(call: CallRequest) -> int:
    """The most that the call can use, in tokens."""
    return call.estimated_input + call.max_output


_INSERT = """
INSERT INTO model_calls (id, tenant_id, conversation_id, turn_id, user_id, engine, model, state,
 estimated_input, max_output, own_key, created_at, reserved_tokens, period_start, lease_until,
 order_id)
SELECT CAST(:id AS TEXT), CAST(:tenant AS TEXT), CAST(:cid AS TEXT), CAST(:turn AS TEXT),
 CAST(:user AS TEXT), CAST(:engine AS TEXT), CAST(:model AS TEXT), 'reserved',
 CAST(:input AS BIGINT), CAST(:output AS BIGINT), CAST(:own AS BIGINT), CAST(:at AS BIGINT),
 CAST(:held AS BIGINT), CAST(:month AS BIGINT), CAST(:lease AS BIGINT), CAST(:order AS TEXT)
"""


def record_call(conn: sa.Connection, call: CallRequest, at_ms: int) -> None:
    """Store the call as open, holding its estimate; the counters are the caller's.

    Fenced by the turn's attempt: a worker that lost its lease makes no call that is paid.
    """
    row = execute(
        conn,
        _INSERT + " WHERE EXISTS (SELECT 1 FROM turns WHERE id = :turn AND tenant_id = :tenant"
        " AND status = 'running' AND attempt = CAST(:attempt AS BIGINT){share}) RETURNING id",
        attempt=_attempt_of(call.id),
        **_values(call, at_ms, held=estimate(call)),
    ).first()
    if row is None:
        raise Fenced("The turn is another worker's now.")


def _values(call: CallRequest, at_ms: int, *, held: int) -> dict[str, str | int]:
    return {
        "id": call.id,
        "tenant": call.tenant_id,
        "cid": call.conversation_id,
        "turn": call.turn_id,
        "user": call.user_id,
        "engine": call.engine,
        "model": call.model,
        "input": call.estimated_input,
        "output": call.max_output,
        "own": int(call.own_key),
        "at": at_ms,
        "held": held,
        "month": month_of(at_ms).start_ms,
        "lease": at_ms + LEASE_MS,
        "order": call.order_id,
    }


def _attempt_of(call_id: str) -> int:
    """The middle of (turn, attempt, call)."""
    return int(call_id.rsplit(".", 2)[1])


_OPEN = """
SELECT id, tenant_id, conversation_id, turn_id, user_id, engine, model, estimated_input,
 max_output, own_key, order_id, created_at, period_start, reserved_tokens, released_at, budgets,
 {now}
FROM model_calls WHERE state = 'reserved'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    call: CallRequest
    created_at: int
    month: Period
    held: int
    """What its settlement gives back; 0 where that happened before."""
    budgets: tuple[budgets.Key, ...]
    read_at: int
    """By the database's clock: when it is settled."""


def settle(conn: sa.Connection, settlement: Settlement) -> None:
    """Record what a call used and cost; the first settlement counts.

    One that was admitted while the database was away brings its row with it.
    """
    if settlement.call is not None:
        execute(
            conn,
            _INSERT + " WHERE 1 = 1 ON CONFLICT (id) DO NOTHING",
            **_values(settlement.call, now_ms(conn), held=0),
        )
    row = execute(conn, _OPEN + " AND id = :id{row}", id=settlement.call_id).first()
    if row is not None:
        _settle(conn, settlement, _open(row))


def settle_lost(conn: sa.Connection, turn_id: str) -> None:
    """Settle the turn's calls that a crash cut off: the estimate, plus what was streamed."""
    rows = execute(conn, _OPEN + " AND turn_id = :turn ORDER BY id{row}", turn=turn_id).all()
    for lost in map(_open, rows):
        call = lost.call
        usage = Usage(
            input_tokens=call.estimated_input,
            output_tokens=-(-_streamed_bytes(conn, turn_id, _attempt_of(call.id)) // 4),
        )
        settlement = Settlement(call_id=call.id, usage=usage, state=CallState.ESTIMATED)
        _settle(conn, settlement, lost)


def _open(row: Sequence[object]) -> _Open:
    call = CallRequest(
        id=text(row[0]),
        tenant_id=text(row[1]),
        conversation_id=text(row[2]),
        turn_id=text(row[3]),
        user_id=text(row[4]),
        engine=text(row[5]),
        model=text(row[6]),
        estimated_input=integer(row[7]),
        max_output=integer(row[8]),
        own_key=bool(integer(row[9])),
        order_id=text(row[10]),
    )
    released = row[14] is not None
    created_at = integer(row[11])
    return _Open(
        call=call,
        created_at=created_at,
        # a call from before there were quotas has no month of its own yet
        month=month_of(integer(row[12]) or created_at),
        held=0 if released else integer(row[13]),
        budgets=() if released else budgets.read(text(row[15])),
        read_at=integer(row[16]),
    )


def _settle(conn: sa.Connection, settlement: Settlement, opened: _Open) -> None:
    """Write usage, cost, counters and event together; the call's row is locked.

    The cost is that of the day on which the call was admitted. One that is unknown stays NULL.
    """
    call, settlement = opened.call, _believed(settlement, opened.call)
    usage, at = settlement.usage, opened.read_at
    cost = cost_of(call.model, usage, opened.created_at)
    standing = quota.count(
        conn,
        call.tenant_id,
        opened.month,
        used=usage.total,
        held=opened.held,
        own_key=call.own_key,
        at_ms=at,
    )
    position = None if call.own_key else standing.billable
    budgeted = _close(conn, settlement, opened, cost, position)
    budgets.hold(conn, call.tenant_id, opened.budgets, -opened.held)
    if budgeted:
        budgets.count(conn, call, opened.month.start_ms, usage.total)
    publish(
        conn,
        f"usage/{call.id}",
        call.tenant_id,
        Kind.USAGE_RECORDED,
        {"call_id": call.id},
        at,
    )
    if isinstance(cost, Unknown) and telemetry.count_unpriced(call.model):
        _log.error("usage.unpriced", model=call.model, reason=cost.reason)


def _believed(settlement: Settlement, call: CallRequest) -> Settlement:
    """The settlement, or one with the call's estimate where nobody can have used that much.

    A provider's nonsense must neither stop a turn from being settled nor be billed.
    """
    if possible(settlement.usage):
        return settlement
    _log.error("usage.impossible", model=call.model, call=call.id)
    usage = Usage(input_tokens=call.estimated_input, output_tokens=call.max_output)
    return Settlement(call_id=call.id, usage=usage, state=CallState.ESTIMATED)


def _close(
    conn: sa.Connection,
    settlement: Settlement,
    opened: _Open,
    cost: Priced | Unknown,
    position: int | None,
) -> bool:
    """Write the row; whether the tenant has counters of budgets.

    The counter of the quota is locked by now, so no other transaction is making the first one.
    """
    usage = settlement.usage
    priced = cost if isinstance(cost, Priced) else None
    row = execute(
        conn,
        "UPDATE model_calls SET state = :state, input_tokens = :input, output_tokens = :output,"
        " cache_read_tokens = :read, cache_write_5m_tokens = :w5, cache_write_1h_tokens = :w1,"
        " cost_pico = :pico, price = :price, period_start = :month, position = :position,"
        " settled_at = :at WHERE id = :id RETURNING CASE WHEN EXISTS (SELECT 1"
        " FROM budget_counters b WHERE b.tenant_id = :tenant) THEN 1 ELSE 0 END",
        id=settlement.call_id,
        state=str(settlement.state),
        input=usage.input_tokens,
        output=usage.output_tokens,
        read=usage.cache_read_tokens,
        w5=usage.cache_write_5m_tokens,
        w1=usage.cache_write_1h_tokens,
        pico=priced.pico if priced else None,
        price=priced.price_id if priced else None,
        month=opened.month.start_ms,
        position=position,
        at=opened.read_at,
        tenant=opened.call.tenant_id,
    ).one()
    return bool(integer(row[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpricedCalls:
    """Settled calls of a model whose cost is unknown."""

    model: str
    calls: int


def unpriced(conn: sa.Connection, limit: int = 10) -> tuple[UnpricedCalls, ...]:
    """The models of calls without a cost in the whole installation, most calls first.

    Walks the calls: for the operator's check, not for a turn.
    """
    rows = execute(
        conn,
        "SELECT model, COUNT(*) FROM model_calls WHERE state <> 'reserved' AND cost_pico IS NULL"
        " GROUP BY model ORDER BY COUNT(*) DESC, model LIMIT :limit",
        limit=limit,
    ).all()
    return tuple(UnpricedCalls(model=text(row[0]), calls=integer(row[1])) for row in rows)


def _streamed_bytes(conn: sa.Connection, turn_id: str, attempt: int) -> int:
    """UTF-8 bytes streamed in an attempt after its last finished model call."""
    rows = execute(
        conn,
        "SELECT payload FROM turn_events WHERE turn_id = :turn AND attempt = :attempt ORDER BY n",
        turn=turn_id,
        attempt=attempt,
    ).all()
    size = 0
    for row in rows:
        for _number, name, data in json.loads(text(row[0])):
            if name == "model_call":
                size = 0
            elif name in {"text_delta", "thinking_delta"}:
                size += byte_count(json.loads(data)["text"])
    return size


def turn_usage(conn: sa.Connection, turn_id: str) -> Usage:
    """Everything a turn used, over all attempts."""
    sums = ", ".join(f"CAST(COALESCE(SUM({bucket}), 0) AS BIGINT)" for bucket in _BUCKETS)
    row = execute(conn, f"SELECT {sums} FROM model_calls WHERE turn_id = :turn", turn=turn_id).one()
    return Usage(**{bucket: integer(row[n]) for n, bucket in enumerate(_BUCKETS)})


_BUCKETS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
)
