"""Reconciliation: the aggregates and counters against the calls that they were made from.

It reports and never repairs: a difference is a fault of ours that somebody must see. Each
tenant's figures come from one statement, so from one moment: what is settled meanwhile is on
both sides or on neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
import structlog

from billing.events import Kind
from billing.periods import DAY_MS, moment, month_of
from core.clock import Clock
from storage.database import Database, execute
from storage.outbox import publish
from storage.rows import integer, text

_log = structlog.get_logger()

NIGHTLY_MONTHS: Final = 3
"""The running month and the two before it: what invoices of these days are made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A figure that is not what its calls add up to."""

    tenant_id: str
    period_start_ms: int
    """The calendar month."""
    what: str
    """Such as ``usage.input_tokens`` or ``quota.reserved``."""
    expected: int
    """By the calls."""
    found: int


async def reconcile(db: Database, at_ms: int, *, since_ms: int = 0) -> tuple[Difference, ...]:
    """Compare every tenant's months from that of ``since_ms`` to that of ``at_ms``.

    Every difference is logged as an error and raises an alarm, once a day each.
    """
    found: list[Difference] = []
    since = month_of(since_ms).start_ms if since_ms else 0
    for tenant_id in await db.read(_tenants):
        of_usage = await db.read(_usage_differences, tenant_id, since)
        of_quota = await db.read(_quota_differences, tenant_id, since)
        found += [*of_usage, *of_quota]
    for one in found:
        _log.error(
            "reconcile.difference",
            tenant=one.tenant_id,
            period=moment(one.period_start_ms).date().isoformat(),
            what=one.what,
            expected=one.expected,
            found=one.found,
        )
        await db.transaction(_alarm, one, at_ms)
    return tuple(found)


async def reconcile_nightly(db: Database, clock: Clock) -> tuple[Difference, ...] | None:
    """Reconcile the latest months once a day, whichever process comes first; None: it was done."""
    at_ms = clock.now_ms()
    if not await db.transaction(_first_of_the_day, moment(at_ms).date().isoformat()):
        return None
    since = at_ms
    for _ in range(NIGHTLY_MONTHS - 1):
        since = month_of(since).start_ms - 1
    found = await reconcile(db, at_ms, since_ms=since)
    _log.info("reconcile.done", differences=len(found))
    return found


def _first_of_the_day(conn: sa.Connection, day: str) -> bool:
    row = execute(
        conn,
        "INSERT INTO installation (key, value) VALUES ('reconciled_on', :day)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        " WHERE installation.value < excluded.value RETURNING key",
        day=day,
    ).first()
    return row is not None


def _tenants(conn: sa.Connection) -> tuple[str, ...]:
    return tuple(text(row[0]) for row in execute(conn, "SELECT id FROM tenants ORDER BY id"))


_FIGURES: Final = (
    "calls",
    "estimated_calls",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "cost_pico",
    "unpriced_calls",
)
_FOUND = ", ".join(f"0 AS e_{name}, {name} AS f_{name}" for name in _FIGURES)
_EXPECTED = ", ".join(
    f"{column} AS e_{name}, 0 AS f_{name}"
    for name, column in {
        **{name: name for name in _FIGURES},
        "calls": "1",
        "estimated_calls": "CASE WHEN state = 'estimated' THEN 1 ELSE 0 END",
        "cost_pico": "COALESCE(cost_pico, 0)",
        "unpriced_calls": "CASE WHEN cost_pico IS NULL THEN 1 ELSE 0 END",
    }.items()
)
_SUMS = ", ".join(
    f"CAST(SUM(e_{name}) AS BIGINT), CAST(SUM(f_{name}) AS BIGINT)" for name in _FIGURES
)
# Calls from before there was an outbox have no period and no event. One whose event is still
# to be consumed is not missing; what was consumed counts, though the relay may not have noted it.
_USAGE = f"""
SELECT day, {_SUMS} FROM (
 SELECT day, {_FOUND} FROM usage_days WHERE tenant_id = :tenant AND day >= :since
 UNION ALL
 SELECT created_at - created_at % {DAY_MS} AS day, {_EXPECTED} FROM model_calls m
 WHERE tenant_id = :tenant AND created_at >= :since AND state <> 'reserved' AND period_start <> 0
  AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.id = 'usage/' || m.id AND o.sent_at IS NULL
   AND NOT EXISTS (SELECT 1 FROM processed_events p WHERE p.consumer = 'usage'
    AND p.event_id = o.id))
) figures GROUP BY day ORDER BY day
"""


def _usage_differences(
    conn: sa.Connection, tenant_id: str, since_ms: int
) -> tuple[Difference, ...]:
    months: dict[int, list[int]] = {}
    for row in execute(conn, _USAGE, tenant=tenant_id, since=since_ms):
        sums = months.setdefault(month_of(integer(row[0])).start_ms, [0] * (2 * len(_FIGURES)))
        for index, value in enumerate(row[1:]):
            sums[index] += integer(value)
    return tuple(
        Difference(
            tenant_id=tenant_id,
            period_start_ms=month,
            what=f"usage.{name}",
            expected=sums[2 * index],
            found=sums[2 * index + 1],
        )
        for month, sums in sorted(months.items())
        for index, name in enumerate(_FIGURES)
        if sums[2 * index] != sums[2 * index + 1]
    )


_TOKENS = (
    "input_tokens + output_tokens + cache_read_tokens + cache_write_5m_tokens"
    " + cache_write_1h_tokens"
)
_QUOTA = f"""
SELECT c.period_start, c.used, c.own_used, c.reserved,
 CAST(COALESCE(SUM(CASE WHEN m.state <> 'reserved' THEN {_TOKENS} END), 0) AS BIGINT),
 CAST(COALESCE(SUM(CASE WHEN m.state <> 'reserved' AND m.own_key = 1 THEN {_TOKENS} END), 0)
  AS BIGINT),
 CAST(COALESCE(SUM(CASE WHEN m.state = 'reserved' AND m.released_at IS NULL
  THEN m.reserved_tokens END), 0) AS BIGINT)
FROM quota_counters c LEFT JOIN model_calls m
 ON m.tenant_id = c.tenant_id AND m.period_start = c.period_start
WHERE c.tenant_id = :tenant AND c.period_start >= :since
GROUP BY c.period_start, c.used, c.own_used, c.reserved ORDER BY c.period_start
"""


def _quota_differences(
    conn: sa.Connection, tenant_id: str, since_ms: int
) -> tuple[Difference, ...]:
    differences: list[Difference] = []
    for row in execute(conn, _QUOTA, tenant=tenant_id, since=since_ms):
        figures = [integer(value) for value in row]
        for index, what in enumerate(("used", "own_used", "reserved")):
            found, expected = figures[1 + index], figures[4 + index]
            if found != expected:
                differences.append(
                    Difference(
                        tenant_id=tenant_id,
                        period_start_ms=figures[0],
                        what=f"quota.{what}",
                        expected=expected,
                        found=found,
                    )
                )
    return tuple(differences)


def _alarm(conn: sa.Connection, one: Difference, at_ms: int) -> None:
    day = moment(at_ms).date().isoformat()
    publish(
        conn,
        f"alarm/reconcile/{one.tenant_id}/{one.period_start_ms}/{one.what}/{day}",
        one.tenant_id,
        Kind.BILLING_ALARM,
        {
            "reason": "figures differ from their calls",
            "period_start": one.period_start_ms,
            "what": one.what,
            "expected": one.expected,
            "found": one.found,
        },
        at_ms,
    )
