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
    r"(?P<least>>=|≥|\bat least\b)|(?P<most><=|≤|\bat most\b)"
    r"|(?P<above>>|\b(?:above|over|more than|exceeds?|greater than)\b|高于|超过|大于)"
    r"|(?P<below><|\b(?:below|under|less than)\b|低于|少于|小于)",
    re.IGNORECASE,
)
_COMPLEX = re.compile(
    r"[,;&|\uff0c\uff1b、]|\b(?:and|or|not|no|none|never|nor|neither|but|unless|except|without|between)\b"
    r"|n't\b|[或和且并及不没除]",
    re.IGNORECASE,
)
"""In a condition: more than one comparison, or the opposite of one."""
_FREE = re.compile(
    r"\b(?:free|available|left|idle|unused|remain\w*)\b|剩余|空闲|可用", re.IGNORECASE
)
"""In a condition: what is left, while the tools say what is used."""
_PERCENT = re.compile(
    r"(?<![\d.,])(\d[\d.,]*)\s*(?:[%\uff05]|percent)(?P<of>\s*\w*)", re.IGNORECASE
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_TROUBLE = re.compile(
    r"[?⚠‼…]|\b(?:did not|does not|cannot|can't|could not|couldn't|unable|fail\w*|errors?|unknown"
    r"|lost|no answer|no reply|unreachable|refused|denied|timed out|time-?out|changed|nobody"
    r"|nothing|there is no|shows no|missing|more)\b|不能|无法|失败|没有|未知|超时|拒绝",
    re.IGNORECASE,
)
"""In the answer of the offline engine: something was not seen, not shown, or is wrong by itself.
The marks are those of ``core.fleet.report.Verdict``."""


def is_quiet(reply: str, *, asked: str = "", has_model: bool = True, failed: bool = False) -> bool:
    """Whether the answer of a run is kept without being delivered.

    Only an order with a condition can be, and only when no tool call ``failed``. A model says so
    itself, and nothing else. Without one the condition is compared when it is as simple as
    ``disk above 80 %``: quiet, if the answer has percentages, none fits, and no server is without
    an answer. What is not understood is delivered: an alarm too many costs less than one too few.
    """
    if failed or not is_conditional(asked):
        return False
    if has_model:
        return reply.strip().strip("*_`\"' .").upper() == QUIET
    if _TROUBLE.search(reply):
        return False
    condition = asked.rpartition(_MARK)[2].removesuffix(_HOW)
    return not _may_hold(condition, reply)


def _may_hold(condition: str, reply: str) -> bool:
    """Whether a condition may hold, as far as percentages tell; True when they do not."""
    compared, limits = list(_COMPARED.finditer(condition)), _percentages(condition) or []
    said = _percentages(reply)
    unclear = _COMPLEX.search(condition) or _FREE.search(condition)
    if unclear or len(compared) != 1 or len(limits) != 1 or not said:
        return True
    bound = limits[0]
    match compared[0].lastgroup:
        case "above":
            return any(value > bound for value in said)
        case "below":
            return any(value < bound for value in said)
        case "least":
            return any(value >= bound for value in said)
        case _:
            return any(value <= bound for value in said)


def _percentages(text: str) -> list[float] | None:
    """Every percentage; None if one is of what is left, or is written as we do not read it."""
    found = list(_PERCENT.finditer(text))
    if any(_FREE.search(it["of"]) or not _NUMBER.fullmatch(it[1]) for it in found):
        return None
    return [float(it[1]) for it in found]


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
