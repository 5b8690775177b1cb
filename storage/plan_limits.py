"""What a plan allows of people, asked where one is added. Nothing is taken away on a downgrade."""

from __future__ import annotations

import sqlalchemy as sa

from billing.plans import PlanVersion
from core.words import Sentence, sentence
from storage.database import execute
from storage.rows import integer
from storage.subscription_state import current, plan_limits


def crowded(conn: sa.Connection, tenant_id: str, at_ms: int) -> Sentence | None:
    """Why nobody can join the team now, or None. Ask before the user's row is written.

    The subscription stays locked until the caller commits, so that two who join at once are
    counted one after the other. Who was there before a downgrade stays.
    """
    current(conn, tenant_id, at_ms, lock="{row}")
    plan = plan_limits(conn, tenant_id, at_ms)
    return None if _people(conn, tenant_id) < plan.max_users else _full(plan)


def _people(conn: sa.Connection, tenant_id: str) -> int:
    row = execute(
        conn,
        "SELECT COUNT(*) FROM users WHERE tenant_id = :tenant AND disabled_at IS NULL",
        tenant=tenant_id,
    ).one()
    return integer(row[0])


def _full(plan: PlanVersion) -> Sentence:
    return sentence(
        "The {plan} plan allows {most:,} people, and your team has as many. `/upgrade` shows what "
        "a larger plan costs.",
        plan=plan.plan.title(),
        most=plan.max_users,
    )
