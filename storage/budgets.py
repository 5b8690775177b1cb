"""Budgets: limits of a team's own, beside the quota of its plan.

A budget is for a user, a conversation or a standing order in a calendar month, or for each
turn. One with a subject counts instead of the one for each of that scope; of the scopes that
concern a call the least decides.

A counter is made when its budget is first needed, with what was used already. From then on
every settled call of its subject is counted, so that it stays the sum of the calls; what is
held is remembered with the call (``model_calls.budgets``). All of it happens with the row of
the tenant's quota counter locked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from billing.desk import Budget
from billing.periods import Period
from billing.quota import Room
from core.metering import CallRequest
from core.refusals import Rejected
from core.words import sentence
from storage.database import execute
from storage.rows import integer, text

SCOPES = ("conversation", "order", "turn", "user")
"""In the order in which their rows are locked."""

MOST_BUDGETS = 1_000
"""A tenant's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Which counter; a turn's has no month."""

    scope: str
    subject: str
    period_start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A budget that concerns a call, with its counter."""

    key: Key
    room: Room


def concerning(conn: sa.Connection, call: CallRequest, month: Period) -> tuple[Counter, ...]:
    """The budgets that the call counts against, their counters made and locked."""
    subjects = _subjects(call)
    rows = execute(
        conn,
        "SELECT scope, subject, tokens FROM budgets WHERE tenant_id = :tenant"
        " AND subject IN ('', :user, :conversation, :order, :turn) ORDER BY scope, subject",
        tenant=call.tenant_id,
        **subjects,
    ).all()
    limits: dict[str, int] = {}
    for scope, subject, tokens in rows:  # the one for each comes first, its exception after it
        mine = subjects[text(scope)]
        if mine and text(subject) in {"", mine}:
            limits[text(scope)] = integer(tokens)
    return tuple(
        _counter(conn, call, _key(scope, subjects[scope], month.start_ms), limits[scope])
        for scope in SCOPES
        if scope in limits
    )


def _subjects(call: CallRequest) -> dict[str, str]:
    return {
        "user": call.user_id,
        "conversation": call.conversation_id,
        "order": call.order_id,
        "turn": call.turn_id,
    }


def _key(scope: str, subject: str, period_start: int) -> Key:
    return Key(scope=scope, subject=subject, period_start=0 if scope == "turn" else period_start)


_SELECT = """
SELECT used, reserved FROM budget_counters WHERE tenant_id = :tenant AND scope = :scope
 AND subject = :subject AND period_start = :start{row}
"""


def _counter(conn: sa.Connection, call: CallRequest, key: Key, tokens: int) -> Counter:
    found = execute(conn, _SELECT, **_named(call.tenant_id, key)).first()
    if found is None:
        _make(conn, call.tenant_id, key)
        found = execute(conn, _SELECT, **_named(call.tenant_id, key)).one()
    taken = integer(found[0]) + integer(found[1])
    return Counter(key=key, room=Room(scope=key.scope, most=tokens, taken=taken))


_CALLS_OF = {
    "user": "tenant_id = :tenant AND period_start = :start AND user_id = :subject",
    "order": "tenant_id = :tenant AND period_start = :start AND order_id = :subject",
    "turn": "tenant_id = :tenant AND turn_id = :subject",
    # by its turns: a month may hold many calls, and conversations begin often
    # (what is added keeps the planner from an index that walks the whole month)
    "conversation": "tenant_id || '' = :tenant AND period_start + 0 = :start"
    " AND turn_id IN (SELECT t.id FROM turns t WHERE t.conversation_id = :subject)",
}


def _make(conn: sa.Connection, tenant_id: str, key: Key) -> None:
    execute(
        conn,
        "INSERT INTO budget_counters (tenant_id, scope, subject, period_start, used)"
        " SELECT CAST(:tenant AS TEXT), CAST(:scope AS TEXT), CAST(:subject AS TEXT),"
        " CAST(:start AS BIGINT), CAST(COALESCE(SUM(input_tokens + output_tokens"
        " + cache_read_tokens + cache_write_5m_tokens + cache_write_1h_tokens), 0) AS BIGINT)"
        f" FROM model_calls WHERE {_CALLS_OF[key.scope]} AND state <> 'reserved'"
        " ON CONFLICT (tenant_id, scope, subject, period_start) DO NOTHING",
        **_named(tenant_id, key),
    )


def hold(conn: sa.Connection, tenant_id: str, keys: Sequence[Key], tokens: int) -> None:
    """Hold the tokens on each counter; negative gives back."""
    for key in keys:
        execute(
            conn,
            "UPDATE budget_counters SET reserved = reserved + :tokens WHERE tenant_id = :tenant"
            " AND scope = :scope AND subject = :subject AND period_start = :start",
            tokens=tokens,
            **_named(tenant_id, key),
        )


def count(conn: sa.Connection, call: CallRequest, period_start: int, tokens: int) -> None:
    """Count a settled call on every counter of its subjects that exists."""
    execute(
        conn,
        "UPDATE budget_counters SET used = used + :tokens WHERE tenant_id = :tenant AND ("
        "(scope = 'user' AND subject = :user AND period_start = :start)"
        " OR (scope = 'conversation' AND subject = :conversation AND period_start = :start)"
        " OR (scope = 'order' AND subject = :order AND period_start = :start)"
        " OR (scope = 'turn' AND subject = :turn AND period_start = 0))",
        tokens=tokens,
        tenant=call.tenant_id,
        start=period_start,
        **_subjects(call),
    )


def written(keys: Sequence[Key]) -> str:
    """The counters that a call holds tokens on, for its row."""
    return json.dumps([[key.scope, key.subject, key.period_start] for key in keys])


def read(stored: str) -> tuple[Key, ...]:
    """The same back."""
    return tuple(
        Key(scope=scope, subject=subject, period_start=start)
        for scope, subject, start in json.loads(stored)
    )


def _named(tenant_id: str, key: Key) -> dict[str, str | int]:
    return {
        "tenant": tenant_id,
        "scope": key.scope,
        "subject": key.subject,
        "start": key.period_start,
    }


# -- setting them -----------------------------------------------------------------------------


def budgets_of(conn: sa.Connection, tenant_id: str) -> tuple[Budget, ...]:
    """The team's, by scope; the one for each before its exceptions."""
    rows = execute(
        conn,
        "SELECT scope, subject, tokens FROM budgets WHERE tenant_id = :tenant"
        " ORDER BY scope, subject",
        tenant=tenant_id,
    ).all()
    return tuple(
        Budget(scope=text(row[0]), subject=text(row[1]), tokens=integer(row[2])) for row in rows
    )


BAD_SCOPE = Rejected(
    code="bad_budget",
    sentence=sentence("A budget is for a user, a conversation, an order or a turn."),
)
BAD_TOKENS = Rejected(
    code="bad_budget",
    sentence=sentence("A budget is a number of tokens; 0 takes it away."),
)
NO_SUBJECT = Rejected(
    code="not_found", sentence=sentence("There is nobody and nothing of that id in your team.")
)
TOO_MANY = Rejected(
    code="bad_budget",
    sentence=sentence("There are {most} budgets already. Take one away first.", most=MOST_BUDGETS),
)
_MOST_TOKENS = 10**15

_KNOWN = {
    "user": "SELECT 1 FROM users WHERE tenant_id = :tenant AND id = :subject",
    "conversation": "SELECT 1 FROM conversations WHERE tenant_id = :tenant AND id = :subject",
}


def set_budget(
    conn: sa.Connection, tenant_id: str, budget: Budget, user_id: str, at_ms: int
) -> Budget | Rejected:
    """Set or change one; 0 tokens takes it away. Refuses what could never count."""
    if budget.scope not in SCOPES:
        return BAD_SCOPE
    if not 0 <= budget.tokens <= _MOST_TOKENS:
        return BAD_TOKENS
    if not budget.tokens:
        _remove(conn, tenant_id, budget)
        return budget
    if budget.subject and not _is_known(conn, tenant_id, budget):
        return NO_SUBJECT
    there = {(one.scope, one.subject) for one in budgets_of(conn, tenant_id)}
    if len(there | {(budget.scope, budget.subject)}) > MOST_BUDGETS:
        return TOO_MANY
    execute(
        conn,
        "INSERT INTO budgets (tenant_id, scope, subject, tokens, updated_at, updated_by)"
        " VALUES (:tenant, :scope, :subject, :tokens, :at, :by)"
        " ON CONFLICT (tenant_id, scope, subject) DO UPDATE SET tokens = excluded.tokens,"
        " updated_at = excluded.updated_at, updated_by = excluded.updated_by",
        tenant=tenant_id,
        scope=budget.scope,
        subject=budget.subject,
        tokens=budget.tokens,
        at=at_ms,
        by=user_id,
    )
    return budget


def _remove(conn: sa.Connection, tenant_id: str, budget: Budget) -> None:
    """Its counters stay and are kept: set again, it counts what was used meanwhile."""
    execute(
        conn,
        "DELETE FROM budgets WHERE tenant_id = :tenant AND scope = :scope AND subject = :subject",
        tenant=tenant_id,
        scope=budget.scope,
        subject=budget.subject,
    )


def _is_known(conn: sa.Connection, tenant_id: str, budget: Budget) -> bool:
    """Standing orders have ids of their own; a turn's budget is for each turn."""
    if budget.scope not in _KNOWN:
        return budget.scope == "order"
    found = execute(conn, _KNOWN[budget.scope], tenant=tenant_id, subject=budget.subject).first()
    return found is not None
