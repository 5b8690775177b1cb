"""Model calls: a row before each is made, its usage and cost after. Admits everything.

The billing package puts quotas in front of this; the rows stay the record of what was used.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import sqlalchemy as sa
import structlog

from billing.prices import Priced, cost_of
from core import telemetry
from core.errors import Fenced
from core.metering import CallRequest, CallState, Grant, QuotaRefusal, Settlement, Usage
from storage.database import Database, execute
from storage.rows import integer, text

_log = structlog.get_logger()


class RecordingMeter:
    """Implements ``core.metering.Meter`` without limits."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def reserve(self, call: CallRequest) -> Grant | QuotaRefusal:
        """Record the call, durably; it may always be made. Raises ``Fenced``."""
        await self._db.transaction(_reserve, call)
        return Grant(call_id=call.id, max_output=call.max_output)


def _reserve(conn: sa.Connection, call: CallRequest) -> None:
    """Fenced by the turn's attempt: a worker that lost its lease makes no call that is paid."""
    row = execute(
        conn,
        "INSERT INTO model_calls (id, tenant_id, conversation_id, turn_id, user_id, engine,"
        " model, state, estimated_input, max_output, own_key, created_at)"
        " SELECT CAST(:id AS TEXT), CAST(:tenant AS TEXT), CAST(:cid AS TEXT),"
        " CAST(:turn AS TEXT), CAST(:user AS TEXT), CAST(:engine AS TEXT), CAST(:model AS TEXT),"
        " 'reserved', CAST(:input AS BIGINT), CAST(:output AS BIGINT),"
        " CAST(:own AS BIGINT), {now}"
        " WHERE EXISTS (SELECT 1 FROM turns WHERE id = :turn AND tenant_id = :tenant"
        " AND status = 'running'"
        " AND attempt = CAST(:attempt AS BIGINT){share}) RETURNING id",
        id=call.id,
        tenant=call.tenant_id,
        cid=call.conversation_id,
        turn=call.turn_id,
        user=call.user_id,
        engine=call.engine,
        model=call.model,
        input=call.estimated_input,
        output=call.max_output,
        own=int(call.own_key),
        attempt=_attempt_of(call.id),
    ).first()
    if row is None:
        raise Fenced("The turn is another worker's now.")


def _attempt_of(call_id: str) -> int:
    """The middle of (turn, attempt, call)."""
    return int(call_id.rsplit(".", 2)[1])


def settle(conn: sa.Connection, settlement: Settlement) -> None:
    """Record what a call used and cost; the first settlement counts."""
    row = execute(
        conn,
        "SELECT model, created_at FROM model_calls WHERE id = :id AND state = 'reserved'",
        id=settlement.call_id,
    ).first()
    if row is not None:
        _settle(conn, settlement, text(row[0]), integer(row[1]))


def settle_lost(conn: sa.Connection, turn_id: str) -> None:
    """Settle the turn's calls that a crash cut off: the estimate, plus what was streamed."""
    rows = execute(
        conn,
        "SELECT id, estimated_input, model, created_at FROM model_calls"
        " WHERE turn_id = :turn AND state = 'reserved'",
        turn=turn_id,
    ).all()
    for row in rows:
        call_id = text(row[0])
        usage = Usage(
            input_tokens=integer(row[1]),
            output_tokens=-(-_streamed_chars(conn, turn_id, _attempt_of(call_id)) // 4),
        )
        lost = Settlement(call_id=call_id, usage=usage, state=CallState.ESTIMATED)
        _settle(conn, lost, text(row[2]), integer(row[3]))


def _settle(conn: sa.Connection, settlement: Settlement, model: str, created_at: int) -> None:
    """Write usage, cost and price together, unless another settlement came first.

    The cost is that of the day on which the call was admitted. One that is unknown stays NULL.
    """
    usage = settlement.usage
    cost = cost_of(model, usage, created_at)
    priced = cost if isinstance(cost, Priced) else None
    written = execute(
        conn,
        "UPDATE model_calls SET state = :state, input_tokens = :input, output_tokens = :output,"
        " cache_read_tokens = :read, cache_write_5m_tokens = :w5, cache_write_1h_tokens = :w1,"
        " cost_pico = :pico, price = :price,"
        " settled_at = {now} WHERE id = :id AND state = 'reserved' RETURNING id",
        id=settlement.call_id,
        state=str(settlement.state),
        input=usage.input_tokens,
        output=usage.output_tokens,
        read=usage.cache_read_tokens,
        w5=usage.cache_write_5m_tokens,
        w1=usage.cache_write_1h_tokens,
        pico=priced.pico if priced else None,
        price=priced.price_id if priced else None,
    ).first()
    if written is not None and not isinstance(cost, Priced) and telemetry.count_unpriced(model):
        _log.error("usage.unpriced", model=model, reason=cost.reason)


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


def _streamed_chars(conn: sa.Connection, turn_id: str, attempt: int) -> int:
    """Characters streamed in an attempt after its last finished model call."""
    rows = execute(
        conn,
        "SELECT payload FROM turn_events WHERE turn_id = :turn AND attempt = :attempt ORDER BY n",
        turn=turn_id,
        attempt=attempt,
    ).all()
    chars = 0
    for row in rows:
        for _number, name, data in json.loads(text(row[0])):
            if name == "model_call":
                chars = 0
            elif name in {"text_delta", "thinking_delta"}:
                chars += len(json.loads(data)["text"])
    return chars


def turn_usage(conn: sa.Connection, turn_id: str) -> Usage:
    """Everything a turn used, over all attempts."""
    row = execute(
        conn,
        "SELECT COALESCE(SUM(input_tokens), 0), COALESCE(SUM(output_tokens), 0),"
        " COALESCE(SUM(cache_read_tokens), 0), COALESCE(SUM(cache_write_5m_tokens), 0),"
        " COALESCE(SUM(cache_write_1h_tokens), 0) FROM model_calls WHERE turn_id = :turn",
        turn=turn_id,
    ).one()
    return Usage(
        input_tokens=int(str(row[0])),
        output_tokens=int(str(row[1])),
        cache_read_tokens=int(str(row[2])),
        cache_write_5m_tokens=int(str(row[3])),
        cache_write_1h_tokens=int(str(row[4])),
    )
