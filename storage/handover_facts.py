"""What a handover tells of, in queries of bounded size.

Texts are told as far as who asks may read them anyway: what they wrote themselves in private,
and what was written in shared places in which they write. In a shared place only what was
written there is told: others read along. What was done to servers is the team's: operators and
admins are told all of it, viewers what they asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from core.audit import detail_of
from core.commands_text import is_shared
from core.handover import Action, Asked, Facts, OrderNews, Outcome, Pending, Writer
from core.tenants import Role
from storage.approval_desk import pending
from storage.approval_rows import SYSTEM
from storage.database import execute, now_ms
from storage.rows import integer, optional_text, text

MOST = 200
"""Of turns, of runs, of audit rows; what is left out is said."""
_MOST_PLACES = 30
_BACK_MS = 31 * 86_400_000
_READ_CHARS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scope:
    """Whose eyes, since when, and what of the turns ``t`` they may read."""

    by: Writer
    since_ms: int
    here: str
    """The conversation that alone is asked for, or empty."""
    visible: str
    values: Mapping[str, str | int]

    @property
    def whole(self) -> bool:
        """Whether they may see all that was done to servers."""
        return self.by.user.role.includes(Role.OPERATOR)

    @property
    def place(self) -> dict[str, str | int]:
        """The shared place in which it is read, by columns of turns; empty: in private."""
        place = self.by.place
        if place is None or not is_shared(place):
            return {}
        return {
            "platform": place.platform,
            "workspace": place.workspace,
            "channel": place.channel,
        }


def gather(conn: sa.Connection, by: Writer, since_ms: int | None) -> Facts:
    """Everything that is told; ``since_ms`` None is the writer's conversation, whole."""
    now = now_ms(conn)
    visible, values = _visible(conn, by, now, here=since_ms is None)
    here = by.conversation_id if since_ms is None else ""
    begin = _begin(conn, by) if since_ms is None else since_ms
    scope = _Scope(by=by, since_ms=begin, here=here, visible=visible, values=values)
    names = _names(conn, by.user.tenant_id)
    turns = _turns(conn, scope, names)
    rows = _audit(conn, scope)
    return Facts(
        since_ms=begin,
        until_ms=now,
        asked=turns,
        actions=_actions(conn, scope, rows, names),
        orders=() if here else _orders(conn, scope),
        open=_open(conn, scope, names),
        pending=_pending(conn, scope, names),
        hidden=0 if here else _hidden(conn, scope),
        cut=MOST in {len(turns), len(rows)},
    )


def _begin(conn: sa.Connection, by: Writer) -> int:
    row = execute(
        conn,
        "SELECT created_at FROM conversations WHERE id = :id AND tenant_id = :tenant",
        id=by.conversation_id,
        tenant=by.user.tenant_id,
    ).first()
    return 0 if row is None else integer(row[0])


def _names(conn: sa.Connection, tenant_id: str) -> dict[str, str]:
    rows = execute(
        conn,
        "SELECT id, COALESCE(NULLIF(name, ''), email) FROM users WHERE tenant_id = :tenant",
        tenant=tenant_id,
    ).all()
    return {text(row[0]): text(row[1]) for row in rows}


# -- what may be read -------------------------------------------------------------------------

# As ``core.commands_text.is_shared`` has it.
_SHARED = """
 ((t.platform = 'slack' AND SUBSTR(t.channel, 1, 1) <> 'D')
  OR (t.platform = 'telegram' AND SUBSTR(t.channel, 1, 1) = '-'))
"""
_PLACES = f"""
SELECT t.platform, t.workspace, t.channel FROM conversations c
 JOIN turns t ON t.conversation_id = c.id AND t.tenant_id = c.tenant_id
WHERE c.tenant_id = :tenant AND c.updated_at >= :since AND t.user_id = :user AND {_SHARED}
GROUP BY t.platform, t.workspace, t.channel ORDER BY MAX(t.created_at) DESC LIMIT :most
"""


def _visible(
    conn: sa.Connection, by: Writer, now: int, *, here: bool
) -> tuple[str, dict[str, str | int]]:
    """A condition on the turns ``t``, and its values."""
    if by.place is not None and is_shared(by.place):
        places: Sequence[Sequence[object]] = [
            (by.place.platform, by.place.workspace, by.place.channel)
        ]
        parts: list[str] = []
        values: dict[str, str | int] = {}
    else:
        places = execute(
            conn,
            _PLACES,
            tenant=by.user.tenant_id,
            user=by.user.id,
            since=now - _BACK_MS,
            most=_MOST_PLACES,
        ).all()
        parts = [f"(t.user_id = :me AND NOT {_SHARED})"]
        values = {"me": by.user.id}
        if here:
            parts.append("c.user_id = :me")  # in their own conversation they read everybody
    for n, (platform, workspace, channel) in enumerate(places):
        parts.append(f"(t.platform = :p{n} AND t.workspace = :w{n} AND t.channel = :c{n})")
        values |= {f"p{n}": text(platform), f"w{n}": text(workspace), f"c{n}": text(channel)}
    return f"({' OR '.join(parts)})", values


_TURNS = """
FROM conversations c JOIN turns t ON t.conversation_id = c.id AND t.tenant_id = c.tenant_id
WHERE c.tenant_id = :tenant AND c.deleted_at IS NULL AND c.updated_at >= :since
 AND t.created_at >= :since AND t.kind = 'message' AND t.order_id = ''
"""


def _turns(conn: sa.Connection, scope: _Scope, names: Mapping[str, str]) -> tuple[Asked, ...]:
    rows = execute(
        conn,
        f"SELECT t.created_at, t.user_id, SUBSTR(t.text, 1, {_READ_CHARS}),"
        f" SUBSTR(t.reply, 1, {_READ_CHARS}) {_TURNS} AND t.status = 'done'"
        f" {_only(scope)} ORDER BY t.created_at DESC, t.id DESC LIMIT :most",
        **_bound(scope),
        since=scope.since_ms,
        most=MOST,
    ).all()
    return tuple(_asked(row, names) for row in rows)


def _open(conn: sa.Connection, scope: _Scope, names: Mapping[str, str]) -> tuple[Asked, ...]:
    rows = execute(
        conn,
        f"SELECT t.created_at, t.user_id, SUBSTR(t.text, 1, {_READ_CHARS}), NULL FROM turns t"
        " JOIN conversations c ON c.id = t.conversation_id AND c.tenant_id = t.tenant_id"
        " WHERE t.tenant_id = :tenant AND t.status <> 'done' AND t.status <> 'merged'"
        " AND t.kind = 'message' AND t.order_id = '' AND c.deleted_at IS NULL"
        f" {_only(scope)} ORDER BY t.created_at DESC, t.id DESC LIMIT :most",
        **_bound(scope),
        most=MOST,
    ).all()
    return tuple(_asked(row, names) for row in rows)


def _asked(row: Sequence[object], names: Mapping[str, str]) -> Asked:
    return Asked(
        at_ms=integer(row[0]),
        who=names.get(text(row[1]), text(row[1])),
        text=text(row[2]),
        answer=optional_text(row[3]) or "",
    )


def _hidden(conn: sa.Connection, scope: _Scope) -> int:
    """Conversations of the team with messages of that time, of which none may be read."""
    row = execute(
        conn,
        "SELECT COUNT(DISTINCT c.id), COUNT(DISTINCT CASE WHEN"
        f" {scope.visible} THEN c.id END) {_TURNS}",
        **_bound(scope),
        since=scope.since_ms,
    ).one()
    return integer(row[0]) - integer(row[1])


def _only(scope: _Scope) -> str:
    here = " AND c.id = :here" if scope.here else ""
    return f"AND {scope.visible}{here}"


def _bound(scope: _Scope) -> dict[str, str | int]:
    here: dict[str, str | int] = {"here": scope.here} if scope.here else {}
    return {"tenant": scope.by.user.tenant_id, **scope.values, **here}


# -- what was done ----------------------------------------------------------------------------

_OUTCOMES = {
    "tool.ran": Outcome.RAN,
    "tool.failed": Outcome.FAILED,
    "tool.unknown": Outcome.UNKNOWN,
    "tool.refused": Outcome.REFUSED,
    "approval.denied": Outcome.DENIED,
    "approval.expired": Outcome.EXPIRED,
}
_DECIDED = frozenset({Outcome.DENIED, Outcome.EXPIRED})
_ACTIONS = ", ".join(f"'{action}'" for action in _OUTCOMES)
_AUDIT = f"""
SELECT a.at, a.actor, a.action, a.turn_id, a.detail FROM audit_log a
WHERE a.tenant_id = :tenant AND a.at >= :since AND a.action IN ({_ACTIONS})
 AND a.detail NOT LIKE '%"level":"L0"%'
"""
_OF_CONVERSATION = """
 AND a.turn_id IN (SELECT t.id FROM turns t WHERE t.conversation_id = :here
  AND t.tenant_id = :tenant)
"""
_OF_PLACE = """
 AND EXISTS (SELECT 1 FROM turns t WHERE t.id = {turn} AND t.tenant_id = :tenant
  AND t.platform = :platform AND t.workspace = :workspace AND t.channel = :channel)
"""
"""Others read along there: what was done elsewhere is not theirs to know."""


def _audit(conn: sa.Connection, scope: _Scope) -> Sequence[Sequence[object]]:
    values: dict[str, str | int] = {"tenant": scope.by.user.tenant_id, "since": scope.since_ms}
    conditions = ""
    if scope.here:
        conditions, values["here"] = _OF_CONVERSATION, scope.here
    if scope.place:
        conditions += _OF_PLACE.replace("{turn}", "a.turn_id")
        values |= scope.place
    if not scope.whole:
        conditions, values["actor"] = f"{conditions} AND a.actor = :actor", scope.by.user.id
    return execute(
        conn, f"{_AUDIT}{conditions} ORDER BY a.seq DESC LIMIT :most", **values, most=MOST
    ).all()


def _actions(
    conn: sa.Connection,
    scope: _Scope,
    rows: Sequence[Sequence[object]],
    names: Mapping[str, str],
) -> tuple[Action, ...]:
    """A call that a human denied is told once, though the door refused it as well."""
    found: list[tuple[tuple[str, str], Action]] = []
    for row in rows:
        detail = detail_of(text(row[4]))
        outcome = _OUTCOMES[text(row[2])]
        level = str(detail.get("level", ""))
        if level == "none" and outcome is not Outcome.UNKNOWN:
            continue  # it never was an action: arguments that fit no tool
        who, decided_by = text(row[1]), str(detail.get("approved_by", ""))
        if outcome in _DECIDED:
            who, decided_by = _asker(conn, scope, detail), who
        why = detail.get("comment" if outcome in _DECIDED else "reasons", "")
        action = Action(
            at_ms=integer(row[0]),
            who=names.get(who, who),
            what=str(detail.get("summary", "")),
            level=level,
            outcome=outcome,
            servers=str(detail.get("servers", "")),
            exit_status=_number(detail, "exit_status"),
            ms=_number(detail, "ms"),
            decided_by=names.get(decided_by, decided_by),
            by_timeout=decided_by == SYSTEM and _is_timeout(conn, scope, detail),
            why=str(why) if outcome in {*_DECIDED, Outcome.REFUSED} else "",
        )
        found.append(((text(row[3]), str(detail.get("call_id", ""))), action))
    decided = {call for call, action in found if action.outcome in _DECIDED}
    return tuple(
        action
        for call, action in found
        if action.outcome is not Outcome.REFUSED or call not in decided
    )


def _asker(conn: sa.Connection, scope: _Scope, detail: Mapping[str, str | int]) -> str:
    row = execute(
        conn,
        "SELECT asked_by FROM approvals WHERE id = :id AND tenant_id = :tenant",
        id=str(detail.get("approval_id", "")),
        tenant=scope.by.user.tenant_id,
    ).first()
    return "" if row is None else text(row[0])


def _is_timeout(conn: sa.Connection, scope: _Scope, detail: Mapping[str, str | int]) -> bool:
    """Whether nobody decided, and that counted; a person may be called ``system``."""
    row = execute(
        conn,
        "SELECT decided_where FROM approvals WHERE id = :id AND tenant_id = :tenant",
        id=str(detail.get("approval_id", "")),
        tenant=scope.by.user.tenant_id,
    ).first()
    return row is None or row[0] == "timeout"


def _number(detail: Mapping[str, str | int], name: str) -> int | None:
    value = detail.get(name)
    return value if isinstance(value, int) else None


def _pending(conn: sa.Connection, scope: _Scope, names: Mapping[str, str]) -> tuple[Pending, ...]:
    return tuple(
        Pending(
            approval_id=one.id,
            what=one.card.action,
            servers=",".join(one.card.servers),
            level=one.card.level,
            who=names.get(one.asked_by, one.asked_by),
            expires_at_ms=one.expires_at_ms,
        )
        for one in pending(conn, scope.by.user.tenant_id)
        if (scope.whole or one.asked_by == scope.by.user.id)
        and scope.here in {"", one.conversation_id}
        and _is_of_place(conn, scope, one.turn_id)
    )


def _is_of_place(conn: sa.Connection, scope: _Scope, turn_id: str) -> bool:
    if not scope.place:
        return True
    row = execute(
        conn,
        f"SELECT 1 WHERE 1 = 1 {_OF_PLACE.replace('{turn}', ':turn')}",
        tenant=scope.by.user.tenant_id,
        turn=turn_id,
        **scope.place,
    ).first()
    return row is not None


_TOLD_THERE = """
 AND EXISTS (SELECT 1 FROM conversations c WHERE c.id = o.conversation_id
  AND c.tenant_id = o.tenant_id AND c.platform = :platform AND c.workspace = :workspace
  AND c.channel = :channel)
"""


def _orders(conn: sa.Connection, scope: _Scope) -> tuple[OrderNews, ...]:
    """Each order once a state, the latest first."""
    rows = execute(
        conn,
        "SELECT o.id, o.name, r.state, r.reason, r.due_at FROM standing_orders o"
        " JOIN order_runs r ON r.order_id = o.id AND r.tenant_id = o.tenant_id"
        f" WHERE o.tenant_id = :tenant AND r.due_at >= :since {_TOLD_THERE if scope.place else ''}"
        " ORDER BY r.due_at DESC, o.id LIMIT :most",
        tenant=scope.by.user.tenant_id,
        since=scope.since_ms,
        most=MOST,
        **scope.place,
    ).all()
    news: dict[tuple[str, str], OrderNews] = {}
    for order_id, name, state, reason, due_at in rows:
        named = text(reason) if state == "ended" else text(state)
        before = news.get((text(order_id), named))
        times = _missed(text(reason)) + (0 if before is None else before.times)
        last_ms = integer(due_at) if before is None else before.last_ms
        news[text(order_id), named] = OrderNews(
            name=text(name), state=named, times=times, last_ms=last_ms
        )
    return tuple(news.values())


def _missed(reason: str) -> int:
    """``late:3`` stands for three due times."""
    _, _, more = reason.partition(":")
    return int(more) if reason.startswith("late") and more.isdecimal() else 1
