"""Admission: a model call gets its row and its hold on every counter, or nothing at all.

The usual call takes two statements: its row, and one conditional UPDATE of the tenant's
counter. Only where that does not fit, or the tenant has budgets, is anything looked at more
closely, with the counter's row locked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa

from billing.dunning import Service
from billing.meter import Admitted
from billing.periods import month_of
from billing.quota import MONTH, Room, Short, Standing, output_within
from core.metering import CallRequest
from storage import budgets, quota
from storage.database import Database, execute
from storage.metering import estimate, record_call
from storage.rows import integer, text
from storage.subscriptions import current, limits_for, service_of

_BATCH = 100


class SqlQuota:
    """Implements ``billing.meter.QuotaStore``."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def reserve(self, call: CallRequest, at_ms: int, *, overage: bool) -> Admitted | Short:
        """See the port."""
        return await self._db.transaction(reserve, call, at_ms, overage=overage)

    async def service(self, tenant_id: str, at_ms: int) -> Service:
        """See the port."""
        return await self._db.read(service_of, tenant_id, at_ms)


def reserve(
    conn: sa.Connection, call: CallRequest, at_ms: int, *, overage: bool
) -> Admitted | Short:
    """Admit a call, or refuse it and leave nothing. Raises ``Fenced``."""
    record_call(conn, call, at_ms)
    taken = quota.take(conn, call.tenant_id, month_of(at_ms), estimate(call), overage=overage)
    if taken is not None and not taken.budgets:
        return Admitted(max_output=call.max_output, standing=taken.standing)
    held = estimate(call) if taken is not None else 0
    standing = taken.standing if taken is not None else _locked(conn, call.tenant_id, at_ms)
    return _fit(conn, call, at_ms, _Before(standing, held), overage=overage)


class _Before:
    """The counter, locked, and what of it is this call's own hold so far."""

    __slots__ = ("held", "standing")

    def __init__(self, standing: Standing, held: int) -> None:
        self.standing = standing
        self.held = held

    def room(self, *, overage: bool) -> tuple[Room, ...]:
        """Of the month; none where there is no limit."""
        most = self.standing.limits.most_with(overage=overage)
        if most is None:
            return ()
        return (Room(scope=MONTH, most=most, taken=self.standing.taken - self.held),)


def _fit(
    conn: sa.Connection, call: CallRequest, at_ms: int, before: _Before, *, overage: bool
) -> Admitted | Short:
    month = before.standing.period
    counters = budgets.concerning(conn, call, month)
    rooms = (*before.room(overage=overage), *(counter.room for counter in counters))
    output = output_within(call.estimated_input, call.max_output, rooms)
    if isinstance(output, Room):
        return _withdraw(conn, call, before, output, at_ms)
    tokens = call.estimated_input + output
    keys = [counter.key for counter in counters]
    if keys or output != call.max_output:
        execute(
            conn,
            "UPDATE model_calls SET max_output = :output, reserved_tokens = :tokens,"
            " budgets = :budgets WHERE id = :id",
            output=output,
            tokens=tokens,
            budgets=budgets.written(keys),
            id=call.id,
        )
    standing = quota.hold(conn, call.tenant_id, month, tokens - before.held)
    budgets.hold(conn, call.tenant_id, keys, tokens)
    return Admitted(max_output=output, standing=standing)


def _withdraw(
    conn: sa.Connection, call: CallRequest, before: _Before, room: Room, at_ms: int
) -> Short:
    execute(conn, "DELETE FROM model_calls WHERE id = :id", id=call.id)
    standing = before.standing
    if before.held:
        standing = quota.hold(conn, call.tenant_id, standing.period, -before.held)
    if room.scope == MONTH:
        quota.refused(conn, standing, at_ms)
    return Short(room=room, standing=standing, plan=_plan_name(conn, call.tenant_id))


def _plan_name(conn: sa.Connection, tenant_id: str) -> str:
    row = execute(
        conn,
        "SELECT v.plan FROM subscriptions s JOIN plan_versions v ON v.id = s.version_id"
        " WHERE s.tenant_id = :tenant AND s.ended_at IS NULL",
        tenant=tenant_id,
    ).first()
    return text(row[0]) if row is not None else ""


def _locked(conn: sa.Connection, tenant_id: str, at_ms: int) -> Standing:
    ensure_counter(conn, tenant_id, at_ms)
    standing = quota.standing(conn, tenant_id, at_ms, lock="{row}")
    if standing is None:
        message = "a counter that was just made is gone"
        raise LookupError(message)
    return standing


def ensure_counter(conn: sa.Connection, tenant_id: str, at_ms: int) -> None:
    """Make the month's counter, or give one its limits that was kept without.

    The subscription's row is locked before its limits are read: a change of plan that commits
    meanwhile is either in them, or writes its own after.
    """
    standing = quota.standing(conn, tenant_id, at_ms)
    if standing is not None and standing.limits.most is not None:
        return
    month = month_of(at_ms)
    current(conn, tenant_id, at_ms, lock="{row}")
    quota.set_limits(conn, tenant_id, month, limits_for(conn, tenant_id, month, at_ms))


# -- leases ---------------------------------------------------------------------------------


async def sweep(db: Database, at_ms: int) -> int:
    """Give back what calls hold whose lease is over; returns how many there were.

    Their workers are gone, or hang. A call that is settled later all the same is counted then.
    """
    released = 0
    while True:
        batch = await db.transaction(_sweep, at_ms)
        released += batch
        if batch < _BATCH:
            return released


def _sweep(conn: sa.Connection, at_ms: int) -> int:
    rows = execute(
        conn,
        "UPDATE model_calls SET released_at = :at WHERE id IN (SELECT id FROM model_calls"
        " WHERE state = 'reserved' AND released_at IS NULL AND lease_until < :at"
        f" ORDER BY lease_until LIMIT {_BATCH}{{lock}})"
        " RETURNING tenant_id, period_start, reserved_tokens, budgets",
        at=at_ms,
    ).all()
    _give_back(conn, rows)
    return len(rows)


def _give_back(conn: sa.Connection, rows: Sequence[Sequence[object]]) -> None:
    """In the order in which everybody locks: by tenant and month, then the budgets."""
    months: defaultdict[tuple[str, int], int] = defaultdict(int)
    held: defaultdict[tuple[str, str, str, int], int] = defaultdict(int)
    for row in rows:
        tenant, start, tokens = text(row[0]), integer(row[1]), integer(row[2])
        months[tenant, start] += tokens
        for key in budgets.read(text(row[3])):
            held[tenant, key.scope, key.subject, key.period_start] += tokens
    for (tenant, start), tokens in sorted(months.items()):
        if tokens:
            quota.hold(conn, tenant, month_of(start), -tokens)
    for (tenant, scope, subject, start), tokens in sorted(held.items()):
        key = budgets.Key(scope=scope, subject=subject, period_start=start)
        budgets.hold(conn, tenant, (key,), -tokens)
