"""What a plan allows of people and servers, asked where one is added.

Nothing is taken away on a downgrade.
"""

from __future__ import annotations

import sqlalchemy as sa

from billing.plans import PlanVersion
from core.refusals import Rejected
from core.words import Sentence, sentence
from storage.database import execute, now_ms
from storage.resumption import resume
from storage.rows import integer
from storage.subscription_state import current, plan_limits


def crowded(conn: sa.Connection, tenant_id: str, at_ms: int, *, more: int = 0) -> Sentence | None:
    """Why nobody can join the team now, or None. Ask before the user's row is written.

    The subscription stays locked until the caller commits, so that two who join at once are
    counted one after the other. Who was there before a downgrade stays.
    """
    current(conn, tenant_id, at_ms, lock="{row}")
    plan = plan_limits(conn, tenant_id, at_ms)
    return None if _people(conn, tenant_id) + more < plan.max_users else _full(plan)


LIMIT_REACHED = "limit_reached"
_SWITCH = "billing"


def switch(conn: sa.Connection, *, on: bool, at_ms: int | None = None) -> None:
    """Note whether plans limit anything here; for each start.

    What was used, and the months that passed, while they did not are never billed. ``at_ms``:
    when it is switched; without it the database's time.
    """
    row = execute(conn, "SELECT value FROM installation WHERE key = :key{row}", key=_SWITCH).first()
    if on and row is not None and row[0] == "off":
        resume(conn, now_ms(conn) if at_ms is None else at_ms)
    execute(
        conn,
        "INSERT INTO installation (key, value) VALUES (:key, :value)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        key=_SWITCH,
        value="on" if on else "off",
    )


def full(conn: sa.Connection, tenant_id: str, *, invited: bool = False) -> Rejected | None:
    """Why nobody can be let in now, or None; with ``invited`` open invitations keep their seats.

    Everybody may come in where there are no plans.
    """
    if not _limited(conn):
        return None
    at_ms = now_ms(conn)
    waiting = _invited(conn, tenant_id) if invited else 0
    said = crowded(conn, tenant_id, at_ms, more=waiting)
    return None if said is None else Rejected(code=LIMIT_REACHED, sentence=said)


def servers_full(conn: sa.Connection, tenant_id: str) -> Rejected | None:
    """Why no server can be added, or None; the machine IT0 runs on counts.

    The caller has locked the tenant's row: two that are added at once are counted one by one.
    """
    if not _limited(conn):
        return None
    plan = plan_limits(conn, tenant_id, now_ms(conn))
    row = execute(
        conn, "SELECT COUNT(*) FROM servers WHERE tenant_id = :tenant", tenant=tenant_id
    ).one()
    if integer(row[0]) < plan.max_servers:
        return None
    said = sentence(
        "The {plan} plan allows {most:,} servers, and your team has as many. Remove one, or see "
        "with `/upgrade` what a larger plan costs.",
        plan=plan.plan.title(),
        most=plan.max_servers,
    )
    return Rejected(code=LIMIT_REACHED, sentence=said)


def _limited(conn: sa.Connection) -> bool:
    """Whether plans limit anything here."""
    row = execute(conn, "SELECT value FROM installation WHERE key = :key", key=_SWITCH).first()
    return row is not None and row[0] == "on"


def _invited(conn: sa.Connection, tenant_id: str) -> int:
    row = execute(
        conn,
        "SELECT COUNT(DISTINCT email) FROM codes WHERE tenant_id = :tenant AND kind = 'invite'"
        " AND used_at IS NULL AND expires_at > {now}",
        tenant=tenant_id,
    ).one()
    return integer(row[0])


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
