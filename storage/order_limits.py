"""What limits a team's standing orders: its plan, and the budget of each."""

from __future__ import annotations

import sqlalchemy as sa

from billing.desk import Budget
from core.refusals import Rejected
from core.tenants import User
from core.words import sentence
from storage.budgets import set_budget
from storage.database import execute, now_ms
from storage.rows import integer
from storage.subscription_state import current, plan_limits


def budget(
    conn: sa.Connection, by: User, order_id: str, tokens: int, at_ms: int
) -> Rejected | None:
    """Set what an order may use of a calendar month; 0 takes the budget away."""
    made = set_budget(
        conn,
        by.tenant_id,
        Budget(scope="order", subject=order_id, tokens=tokens),
        by.id,
        at_ms,
    )
    return made if isinstance(made, Rejected) else None


def full(conn: sa.Connection, tenant_id: str) -> Rejected | None:
    """Why the plan allows no more, or None; what was there before a downgrade stays.

    The subscription stays locked, so that two who confirm at once are counted one by one.
    """
    row = execute(conn, "SELECT value FROM installation WHERE key = 'billing'").first()
    if row is None or row[0] != "on":
        return None
    at_ms = now_ms(conn)
    current(conn, tenant_id, at_ms, lock="{row}")
    plan = plan_limits(conn, tenant_id, at_ms)
    if count(conn, tenant_id, "'active', 'paused'") < plan.max_standing_orders:
        return None
    said = sentence(
        "The {plan} plan allows {most:,} standing orders, and your team has as many. Delete one, "
        "or see with `/upgrade` what a larger plan costs.",
        plan=plan.plan.title(),
        most=plan.max_standing_orders,
    )
    return Rejected(code="limit_reached", sentence=said)


def count(conn: sa.Connection, tenant_id: str, states: str) -> int:
    """How many of the team's orders are in these states (SQL text)."""
    row = execute(
        conn,
        f"SELECT COUNT(*) FROM standing_orders WHERE tenant_id = :tenant AND state IN ({states})",
        tenant=tenant_id,
    ).one()
    return integer(row[0])


def one_by_one(conn: sa.Connection, tenant_id: str) -> None:
    """Two of one team come one after the other: the limits count both."""
    execute(conn, "SELECT id FROM tenants WHERE id = :tenant{row}", tenant=tenant_id).first()
