"""What was used, added up by day and model; the ``usage`` consumer adds to it call by call.

An event names its call alone: the figures are read from ``model_calls`` in the transaction
that adds them, so there is one source of them. A month is the sum of its days.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from billing.desk import UsageRow
from billing.events import BadEvent, Event
from billing.periods import day_of
from core.metering import CallState, Usage
from storage.database import execute
from storage.rows import integer, text

_ADD = """
INSERT INTO usage_days (tenant_id, day, model, own_key, calls, estimated_calls, input_tokens,
 output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cost_pico,
 unpriced_calls)
VALUES (:tenant, :day, :model, :own, 1, :estimated, :input, :output, :read, :w5, :w1, :pico,
 :unpriced)
ON CONFLICT (tenant_id, day, model, own_key) DO UPDATE SET calls = usage_days.calls + 1,
 estimated_calls = usage_days.estimated_calls + excluded.estimated_calls,
 input_tokens = usage_days.input_tokens + excluded.input_tokens,
 output_tokens = usage_days.output_tokens + excluded.output_tokens,
 cache_read_tokens = usage_days.cache_read_tokens + excluded.cache_read_tokens,
 cache_write_5m_tokens = usage_days.cache_write_5m_tokens + excluded.cache_write_5m_tokens,
 cache_write_1h_tokens = usage_days.cache_write_1h_tokens + excluded.cache_write_1h_tokens,
 cost_pico = usage_days.cost_pico + excluded.cost_pico,
 unpriced_calls = usage_days.unpriced_calls + excluded.unpriced_calls
"""


def record(conn: sa.Connection, event: Event, at_ms: int) -> None:  # noqa: ARG001  # an Effect
    """Add a settled call to its day. Raises ``BadEvent`` when there is no such call."""
    row = execute(
        conn,
        "SELECT created_at, model, own_key, state, input_tokens, output_tokens,"
        " cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, cost_pico"
        " FROM model_calls WHERE id = :id AND tenant_id = :tenant AND state <> 'reserved'",
        id=event.text("call_id"),
        tenant=event.tenant_id,
    ).first()
    if row is None:
        raise BadEvent(event, "call_id")
    execute(
        conn,
        _ADD,
        tenant=event.tenant_id,
        day=day_of(integer(row[0])),
        model=text(row[1]),
        own=integer(row[2]),
        estimated=int(text(row[3]) == CallState.ESTIMATED),
        input=integer(row[4]),
        output=integer(row[5]),
        read=integer(row[6]),
        w5=integer(row[7]),
        w1=integer(row[8]),
        pico=0 if row[9] is None else integer(row[9]),
        unpriced=int(row[9] is None),
    )


_COLUMNS = """
calls, estimated_calls, input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens,
 cache_write_1h_tokens, cost_pico, unpriced_calls
"""
_SUMS = ", ".join(f"CAST(SUM({name.strip()}) AS BIGINT)" for name in _COLUMNS.split(","))


def day_usage(
    conn: sa.Connection, tenant_id: str, from_ms: int, to_ms: int
) -> tuple[UsageRow, ...]:
    """Day by day and model by model, oldest first, of the days that begin in ``[from, to)``."""
    rows = execute(
        conn,
        f"SELECT day, model, own_key, {_COLUMNS} FROM usage_days WHERE tenant_id = :tenant"
        " AND day >= :from AND day < :to ORDER BY day, model, own_key",
        tenant=tenant_id,
        **{"from": from_ms, "to": to_ms},
    ).all()
    return tuple(_row(row) for row in rows)


def month_usage(
    conn: sa.Connection, tenant_id: str, from_ms: int, to_ms: int
) -> tuple[UsageRow, ...]:
    """The sum of the days, model by model; ``day_ms`` is the first of them."""
    rows = execute(
        conn,
        f"SELECT CAST(:from AS BIGINT), model, own_key, {_SUMS} FROM usage_days"
        " WHERE tenant_id = :tenant AND day >= :from AND day < :to"
        " GROUP BY model, own_key ORDER BY model, own_key",
        tenant=tenant_id,
        **{"from": from_ms, "to": to_ms},
    ).all()
    return tuple(_row(row) for row in rows)


def _row(row: Sequence[object]) -> UsageRow:
    return UsageRow(
        day_ms=integer(row[0]),
        model=text(row[1]),
        own_key=bool(integer(row[2])),
        calls=integer(row[3]),
        estimated_calls=integer(row[4]),
        usage=Usage(
            input_tokens=integer(row[5]),
            output_tokens=integer(row[6]),
            cache_read_tokens=integer(row[7]),
            cache_write_5m_tokens=integer(row[8]),
            cache_write_1h_tokens=integer(row[9]),
        ),
        cost_pico=integer(row[10]),
        unpriced_calls=integer(row[11]),
    )
