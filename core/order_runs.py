"""Runs of standing orders: which due time becomes one, what it asks, what its end means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from core.schedule import next_times, past_times
from core.standing_orders import Misfire, OrderProblem, StandingOrder
from core.turns import Outcome

GRACE_MS: Final = 10 * 60_000
"""A run that begins later than this is late: the order's policy says what becomes of it."""
MOST_COUNTED: Final = 5_000
MOST_LISTED: Final = 20
"""Missed runs with a row of their own; those before them share one."""
QUIET: Final = "NOTHING TO REPORT"
"""The first line of an answer that is kept and not delivered."""


# -- due times ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """What is to be done about an order that is due; decided before anything is written."""

    run_at_ms: int | None
    """The due time that becomes a turn."""
    missed: tuple[tuple[int, str], ...]
    """Due times that are recorded, with the reason."""
    next_at_ms: int | None
    """None: it never comes again."""


def firing(order: StandingOrder, due_ms: int, now_ms: int) -> Firing:
    """What becomes of the due times from ``due_ms`` to now. Raises ``BadSchedule``.

    Time that passed while nothing ran becomes one run at most, however long it was.
    """
    cron, zone = order.schedule.cron, order.schedule.timezone
    past = past_times(cron, zone, due_ms, now_ms, most=MOST_COUNTED, newest=MOST_LISTED)
    fresh = past.whole and now_ms - past.newest_ms[-1] <= GRACE_MS
    newest: tuple[int, ...] = past.newest_ms
    if not past.whole:
        recent = next_times(cron, zone, max(due_ms, now_ms - GRACE_MS), 1)
        fresh = bool(recent) and recent[0] <= now_ms
        newest = (*newest, recent[0]) if fresh else newest
    run_at = newest[-1] if fresh or order.misfire is Misfire.ONCE else None
    listed = [at_ms for at_ms in newest if at_ms != run_at]
    missed = [(at_ms, "late") for at_ms in listed]
    behind = past.count - len(past.newest_ms)
    if behind > 0:
        missed.insert(0, (due_ms, f"late:{behind}" if past.whole else f"late:{behind}+"))
    following = next_times(cron, zone, now_ms, 1)
    return Firing(
        run_at_ms=run_at,
        missed=tuple(missed),
        next_at_ms=following[0] if following else None,
    )


# -- what only the noteworthy is ---------------------------------------------------------------

_MARK: Final = "\n\n(A standing order asks this; nobody waits. Tell only if this holds: "
_HOW: Final = f'. If it does not hold, answer with the one line "{QUIET}" and nothing else.)'


def run_text(prompt: str, condition: str) -> str:
    """What the turn of a run asks."""
    return prompt if not condition else f"{prompt}{_MARK}{condition}{_HOW}"


def plain(asked: str) -> str:
    """The prompt alone, for whoever matches phrases."""
    return asked.rpartition(_MARK)[0] if is_conditional(asked) else asked


def is_conditional(asked: str) -> bool:
    """Whether a run tells only what is noteworthy: nothing is shown before it is known."""
    return _MARK in asked and asked.endswith(_HOW)


_COMPARED = re.compile(
    r"(?P<above>>=?|above|over|more than|exceeds?|greater than|at least|高于|超过|大于)"
    r"|(?P<below><=?|below|under|less than|at most|低于|少于|小于)",
    re.IGNORECASE,
)
_PERCENT = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*(?:%|percent)", re.IGNORECASE)


_TROUBLE = re.compile(
    r"[?⚠‼]|did not|cannot|could not|failed|unknown|no answer|不能|无法|失败|没有", re.IGNORECASE
)
"""In the answer of the offline engine: something was not seen, or is wrong by itself."""


def is_quiet(reply: str, *, asked: str = "", has_model: bool = True) -> bool:
    """Whether the answer of a run is kept without being delivered.

    Only an order with a condition can be. A model says so itself, and nothing else. Without one
    the condition is compared when it is as simple as ``disk above 80 %``: quiet, if the answer
    has percentages, none fits, and no server is without an answer.
    """
    if not is_conditional(asked):
        return False
    if has_model:
        return reply.strip().strip("*_`\"' .").upper() == QUIET
    if _TROUBLE.search(reply):
        return False
    condition = asked.rpartition(_MARK)[2].removesuffix(_HOW) if is_conditional(asked) else ""
    compared, limit = _COMPARED.search(condition), _PERCENT.search(condition)
    said = [float(it) for it in _PERCENT.findall(reply)]
    if compared is None or limit is None or not said:
        return False
    bound = float(limit[1])
    if compared["above"]:
        return all(value <= bound for value in said)
    return all(value >= bound for value in said)


# -- how a run ended ---------------------------------------------------------------------------

_QUOTA = frozenset({"quota_exceeded", "budget_exceeded", "service_suspended"})
"""``core.metering.RefusalCode``."""
_ACCOUNT = frozenset(
    {
        "bad_key",
        "forbidden",
        "no_credit",
        "no_key",
        "no_login",
        "not_with_login",
        "own_key_missing",
        "own_key_unreadable",
        "several_tenants",
    }
)
"""Reasons of ``EngineFailure`` that no further try mends."""


def problem_of(outcome: Outcome, failure: str) -> tuple[OrderProblem | None, bool]:
    """What stops the order at once, if anything does, and whether the run counts as failed."""
    if failure in _QUOTA:
        return OrderProblem.QUOTA, True
    if failure in _ACCOUNT:
        return OrderProblem.ACCOUNT, True
    return None, outcome in {Outcome.FAILED, Outcome.REFUSED}
