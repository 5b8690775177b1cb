"""Billing is switched on again: what was used, and the months that passed, are not billed."""

from __future__ import annotations

import sqlalchemy as sa

from billing.subscriptions import Happening, Status, Subscription
from storage.database import execute
from storage.rows import text
from storage.subscriptions import current, happened, renew


def resume(conn: sa.Connection, at_ms: int) -> None:
    """Move every subscription to its present month without an invoice, and forgive all usage.

    What was noted for the end of a month takes effect as if the run had come by.
    """
    ended = execute(
        conn,
        "SELECT tenant_id FROM subscriptions WHERE ended_at IS NULL AND period_end <= :at"
        " ORDER BY tenant_id",
        at=at_ms,
    ).all()
    for row in ended:
        it = current(conn, text(row[0]), at_ms, lock="{row}")
        while it.period.end_ms <= at_ms:
            it = _next_month(conn, it, at_ms)
    execute(
        conn,
        "UPDATE quota_counters SET billed = used - own_used WHERE billed < used - own_used",
    )


def _next_month(conn: sa.Connection, it: Subscription, at_ms: int) -> Subscription:
    """A trial that ended within the month has expired: nobody was asked to pay for it."""
    over = it.trial_end_ms if it.status is Status.TRIALING else None
    if over is None or over > it.period.end_ms:
        return renew(conn, it, at_ms, charged=False)
    noted = it.cancel_at_ms is not None
    happened(conn, it, Happening.CANCELLED if noted else Happening.TRIAL_ENDED, over)
    return current(conn, it.tenant_id, at_ms, lock="{row}")
