"""Rows of subscriptions and their segments: read and written. What may change is decided above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from billing.periods import Period
from billing.subscriptions import Segment, Status, Subscription
from storage.database import execute
from storage.rows import integer, optional_text, text

_COLUMNS = (
    "id, tenant_id, version_id, currency, status, started_at, period_start, period_end,"
    " trial_end, cancel_at, next_version_id, past_due_since, ended_at, revision"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSegment:
    """A segment with its key: what a quote remembers of the plan it was made for."""

    segment: Segment
    n: int

    @property
    def key(self) -> str:
        """Unique within the subscription."""
        return f"{self.segment.starts_at_ms}/{self.n}"


def live(conn: sa.Connection, tenant_id: str, *, lock: str = "") -> Subscription | None:
    """The one that has not ended; with ``lock="{row}"`` its row is locked."""
    row = execute(
        conn,
        f"SELECT {_COLUMNS} FROM subscriptions WHERE tenant_id = :tenant"
        f" AND ended_at IS NULL{lock}",
        tenant=tenant_id,
    ).first()
    return None if row is None else _subscription_of(row)


def insert(conn: sa.Connection, it: Subscription) -> bool:
    """Store a new one; False: the tenant has a live one."""
    row = execute(
        conn,
        f"INSERT INTO subscriptions ({_COLUMNS}) VALUES (:id, :tenant, :version, :currency,"
        " :status, :started, :start, :end, :trial, :cancel, :next, :since, :ended, :revision)"
        " ON CONFLICT DO NOTHING RETURNING id",
        tenant=it.tenant_id,
        started=it.started_at_ms,
        revision=it.revision,
        **_changing(it),
    ).first()
    return row is not None


def save(conn: sa.Connection, it: Subscription) -> Subscription:
    """Write a change; the revision grows. The caller holds the row's lock."""
    after = replace(it, revision=it.revision + 1)
    execute(
        conn,
        "UPDATE subscriptions SET version_id = :version, currency = :currency, status = :status,"
        " period_start = :start, period_end = :end, trial_end = :trial, cancel_at = :cancel,"
        " next_version_id = :next, past_due_since = :since, ended_at = :ended,"
        " revision = :revision WHERE id = :id",
        revision=after.revision,
        **_changing(after),
    )
    return after


def add_segment(conn: sa.Connection, subscription: Subscription, segment: Segment) -> None:
    """Another plan is in effect from there on; changes within a second keep their order."""
    execute(
        conn,
        "INSERT INTO plan_segments (subscription_id, starts_at, n, tenant_id, version_id,"
        " start_position, debited_minor) SELECT CAST(:subscription AS TEXT),"
        " CAST(:starts AS BIGINT), COALESCE(MAX(n) + 1, 0), CAST(:tenant AS TEXT),"
        " CAST(:version AS TEXT), CAST(:position AS BIGINT), CAST(:debited AS BIGINT)"
        " FROM plan_segments WHERE tenant_id = :tenant AND starts_at = :starts",
        subscription=subscription.id,
        starts=segment.starts_at_ms,
        tenant=subscription.tenant_id,
        version=segment.version_id,
        position=segment.start_position,
        debited=segment.debited_minor,
    )


def last_segment(conn: sa.Connection, subscription: Subscription) -> StoredSegment:
    """The one in effect; every subscription has one."""
    row = execute(
        conn,
        "SELECT version_id, starts_at, start_position, debited_minor, n FROM plan_segments"
        " WHERE subscription_id = :id ORDER BY starts_at DESC, n DESC LIMIT 1",
        id=subscription.id,
    ).one()
    return StoredSegment(segment=_segment_of(row), n=integer(row[4]))


def segments_until(conn: sa.Connection, tenant_id: str, month: Period) -> tuple[Segment, ...]:
    """Those that begin in the month, in order, after the last one before it."""
    before = execute(
        conn,
        "SELECT version_id, starts_at, start_position, debited_minor FROM plan_segments"
        " WHERE tenant_id = :tenant AND starts_at < :start"
        " ORDER BY starts_at DESC, n DESC LIMIT 1",
        tenant=tenant_id,
        start=month.start_ms,
    ).all()
    within = execute(
        conn,
        "SELECT version_id, starts_at, start_position, debited_minor FROM plan_segments"
        " WHERE tenant_id = :tenant AND starts_at >= :start AND starts_at < :end"
        " ORDER BY starts_at, n",
        tenant=tenant_id,
        start=month.start_ms,
        end=month.end_ms,
    ).all()
    return tuple(_segment_of(row) for row in (*before, *within))


def _changing(it: Subscription) -> dict[str, str | int | None]:
    return {
        "id": it.id,
        "version": it.version_id,
        "currency": it.currency,
        "status": str(it.status),
        "start": it.period.start_ms,
        "end": it.period.end_ms,
        "trial": it.trial_end_ms,
        "cancel": it.cancel_at_ms,
        "next": it.next_version_id,
        "since": it.past_due_since_ms,
        "ended": it.ended_at_ms,
    }


def _segment_of(row: Sequence[object]) -> Segment:
    return Segment(
        version_id=text(row[0]),
        starts_at_ms=integer(row[1]),
        start_position=integer(row[2]),
        debited_minor=integer(row[3]),
    )


def _subscription_of(row: Sequence[object]) -> Subscription:
    return Subscription(
        id=text(row[0]),
        tenant_id=text(row[1]),
        version_id=text(row[2]),
        currency=text(row[3]),
        status=Status(text(row[4])),
        started_at_ms=integer(row[5]),
        period=Period(integer(row[6]), integer(row[7])),
        trial_end_ms=_optional(row[8]),
        cancel_at_ms=_optional(row[9]),
        next_version_id=optional_text(row[10]),
        past_due_since_ms=_optional(row[11]),
        ended_at_ms=_optional(row[12]),
        revision=integer(row[13]),
    )


def _optional(value: object) -> int | None:
    return None if value is None else integer(value)
