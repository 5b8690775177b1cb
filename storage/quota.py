"""The counter of a tenant's month: what is used, what is held, and the limits of both.

One row per tenant and calendar month. Nothing is read first and written later: a call is
admitted by one conditional UPDATE, so that no two can take the same room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from billing.events import Kind
from billing.periods import Period, month_of
from billing.quota import Limits, Standing, reached_cap, threshold
from storage.database import execute
from storage.outbox import publish
from storage.rows import integer

_COLUMNS = "period_start, period_end, used, reserved, own_used, soft, hard, cap, told"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A hold that was taken at once."""

    standing: Standing
    """With the hold in it."""
    budgets: int
    """How many budgets the tenant has: they are looked at next."""


def take(
    conn: sa.Connection, tenant_id: str, month: Period, tokens: int, *, overage: bool
) -> Taken | None:
    """Hold the tokens if they fit; None where they do not, or no limit is known yet."""
    most = "COALESCE(hard, cap)"
    if not overage:
        most = "(CASE WHEN soft < COALESCE(hard, cap) THEN soft ELSE COALESCE(hard, cap) END)"
    row = execute(
        conn,
        "UPDATE quota_counters SET reserved = reserved + :tokens WHERE tenant_id = :tenant"
        f" AND period_start = :start AND used + reserved + :tokens <= {most}"
        f" RETURNING {_COLUMNS}, (SELECT COUNT(*) FROM budgets b WHERE b.tenant_id = :tenant)",
        tenant=tenant_id,
        start=month.start_ms,
        tokens=tokens,
    ).first()
    if row is None:
        return None
    return Taken(standing=_standing(tenant_id, row), budgets=integer(row[9]))


def hold(conn: sa.Connection, tenant_id: str, month: Period, tokens: int) -> Standing:
    """Hold the tokens whatever the limit is; negative gives back."""
    return _add(conn, tenant_id, month, reserved=tokens)


def count(
    conn: sa.Connection,
    tenant_id: str,
    month: Period,
    *,
    used: int,
    held: int,
    own_key: bool,
    at_ms: int,
) -> Standing:
    """Count a settled call and give its hold back; tells what it led to. The row stays locked."""
    standing = _add(
        conn, tenant_id, month, used=used, reserved=-held, own_used=used if own_key else 0
    )
    percent = threshold(standing)
    if percent is not None:
        _tell_threshold(conn, standing, percent, at_ms)
    if reached_cap(standing, used):
        _tell(conn, standing, Kind.QUOTA_ALARM, at_ms)
    return standing


_ADD = f"""
UPDATE quota_counters SET used = used + :used, reserved = reserved + :reserved,
 own_used = own_used + :own WHERE tenant_id = :tenant AND period_start = :start
RETURNING {_COLUMNS}
"""


def _add(
    conn: sa.Connection,
    tenant_id: str,
    month: Period,
    *,
    used: int = 0,
    reserved: int = 0,
    own_used: int = 0,
) -> Standing:
    start = month.start_ms
    params: dict[str, str | int] = {"used": used, "reserved": reserved, "own": own_used}
    row = execute(conn, _ADD, tenant=tenant_id, start=start, **params).first()
    if row is None:  # limits are set by whoever admits the first call under limits
        _make(conn, tenant_id, month)
        row = execute(conn, _ADD, tenant=tenant_id, start=start, **params).one()
    return _standing(tenant_id, row)


def _make(conn: sa.Connection, tenant_id: str, month: Period) -> None:
    execute(
        conn,
        "INSERT INTO quota_counters (tenant_id, period_start, period_end, soft)"
        " VALUES (:tenant, :start, :end, 0) ON CONFLICT (tenant_id, period_start) DO NOTHING",
        tenant=tenant_id,
        start=month.start_ms,
        end=month.end_ms,
    )


def refused(conn: sa.Connection, standing: Standing, at_ms: int) -> None:
    """Tell of the first call that the month's limit refused; a raised limit has its own first."""
    _tell(conn, standing, Kind.QUOTA_EXCEEDED, at_ms)
    if standing.limits.hard is None:
        _tell(conn, standing, Kind.QUOTA_ALARM, at_ms)


def _tell_threshold(conn: sa.Connection, standing: Standing, percent: int, at_ms: int) -> None:
    start, soft = standing.period.start_ms, standing.limits.soft
    execute(
        conn,
        "UPDATE quota_counters SET told = :percent"
        " WHERE tenant_id = :tenant AND period_start = :start",
        percent=percent,
        tenant=standing.tenant_id,
        start=start,
    )
    # The allowance is part of the id: a larger plan has its own 80 %.
    publish(
        conn,
        f"quota/{standing.tenant_id}/{start}/{percent}/{soft}",
        standing.tenant_id,
        Kind.QUOTA_THRESHOLD,
        {"percent": percent, "period_start": start},
        at_ms,
    )


def _tell(conn: sa.Connection, standing: Standing, kind: Kind, at_ms: int) -> None:
    start, most = standing.period.start_ms, standing.limits.most
    name = kind.rpartition(".")[2]
    publish(
        conn,
        f"quota/{standing.tenant_id}/{start}/{name}/{most}",
        standing.tenant_id,
        kind,
        {"period_start": start},
        at_ms,
    )


def set_limits(conn: sa.Connection, tenant_id: str, month: Period, limits: Limits) -> None:
    """Set a month's limits: when its plan changes, or they are first needed.

    What was told of a smaller allowance is told again of a larger one. Call it with the
    tenant's subscription row locked, so that no older plan's limits are written later.
    """
    execute(
        conn,
        "INSERT INTO quota_counters (tenant_id, period_start, period_end, soft, hard, cap)"
        " VALUES (:tenant, :start, :end, :soft, :hard, :cap)"
        " ON CONFLICT (tenant_id, period_start) DO UPDATE SET soft = excluded.soft,"
        " hard = excluded.hard, cap = excluded.cap, told = CASE"
        " WHEN quota_counters.used >= excluded.soft THEN quota_counters.told"
        " WHEN quota_counters.used * 100 < excluded.soft * 80 THEN 0"
        " WHEN quota_counters.told > 80 THEN 80 ELSE quota_counters.told END",
        tenant=tenant_id,
        start=month.start_ms,
        end=month.end_ms,
        soft=limits.soft,
        hard=limits.hard,
        cap=limits.cap,
    )


def standing(conn: sa.Connection, tenant_id: str, at_ms: int, *, lock: str = "") -> Standing | None:
    """The counter of the month that holds the moment; None before anything was counted."""
    row = execute(
        conn,
        f"SELECT {_COLUMNS} FROM quota_counters"
        f" WHERE tenant_id = :tenant AND period_start = :start{lock}",
        tenant=tenant_id,
        start=month_of(at_ms).start_ms,
    ).first()
    return None if row is None else _standing(tenant_id, row)


def billable(conn: sa.Connection, tenant_id: str, month: Period, *, lock: str = "") -> int:
    """The tokens of a calendar month that were used on the installation's account."""
    row = standing(conn, tenant_id, month.start_ms, lock=lock)
    return row.billable if row is not None else 0


def _standing(tenant_id: str, row: Sequence[object]) -> Standing:
    return Standing(
        tenant_id=tenant_id,
        period=Period(integer(row[0]), integer(row[1])),
        used=integer(row[2]),
        reserved=integer(row[3]),
        own_used=integer(row[4]),
        limits=Limits(
            soft=integer(row[5]),
            hard=None if row[6] is None else integer(row[6]),
            cap=None if row[7] is None else integer(row[7]),
        ),
        told=integer(row[8]),
    )
