"""Standing orders in words: what was asked, when it comes, what became of it."""

from __future__ import annotations

from collections.abc import Sequence

from core.commands_text import code, escape
from core.schedule import BadSchedule, local
from core.schedule_words import describe
from core.standing_orders import (
    PROBLEMS,
    Misfire,
    OrderRun,
    OrderState,
    RunState,
    StandingOrder,
)
from core.words import Words

_SHOWN_CHARS = 400
"""As much of a prompt as a list shows."""


def headline(order: StandingOrder, words: Words) -> str:
    """Name, id, state and schedule on one line."""
    said = words(
        "**{name}** {id} ({state}): {schedule}",
        name=escape(order.name),
        id=code(order.id),
        state=_state(order, words),
        schedule=describe(order.schedule, words),
    )
    if not order.problem:
        return said
    return words("{order}; it stands still because {why}", order=said, why=problem(order, words))


def problem(order: StandingOrder, words: Words) -> str:
    """Why it was paused by itself."""
    return words.of(PROBLEMS.get(order.problem, order.problem))


def details(order: StandingOrder, words: Words, now_ms: int) -> str:
    """All that somebody should know before they confirm it."""
    lines = [headline(order, words), _quoted(order.prompt)]
    if order.condition:
        lines.append(words("You are told only if: {condition}", condition=escape(order.condition)))
    times = coming(order, now_ms)
    if times:
        lines.append(words("Next: {times}", times=words(", ").join(times)))
    late = (
        words("A run that is more than 10 minutes late is left out and shown as missed.")
        if order.misfire is Misfire.SKIP
        else words("Runs that were missed are made up for by one late run.")
    )
    budget = words("At most {tokens:,} tokens a calendar month.", tokens=order.budget_tokens)
    return "\n\n".join([*lines, f"{late} {budget}"])


def coming(order: StandingOrder, now_ms: int) -> list[str]:
    """The next times, on the clock of its zone; none for a schedule that cannot be read."""
    try:
        times = order.coming(now_ms)
    except BadSchedule:
        return []
    return [on_the_clock(order, at_ms) for at_ms in times]


def on_the_clock(order: StandingOrder, at_ms: int) -> str:
    """Such as ``2026-11-24 08:00``, in its zone."""
    return f"{local(at_ms, order.schedule.timezone):%Y-%m-%d %H:%M}"


def history(order: StandingOrder, runs: Sequence[OrderRun], words: Words) -> str:
    """A line for each run, the newest first."""
    lines = [f"- {on_the_clock(order, run.due_at_ms)}: {run_said(run, words)}" for run in runs]
    return "\n".join(lines) if lines else words("It did not run yet.")


def run_said(run: OrderRun, words: Words) -> str:
    """What became of a due time."""
    said = _became(run, words)
    return words("{said}, asked for by hand", said=said) if run.manual else said


def _became(run: OrderRun, words: Words) -> str:
    match run.state:
        case RunState.STARTED:
            return words("running")
        case RunState.ENDED:
            return _ended(run.reason, words)
        case RunState.SKIPPED:
            return words("skipped: the run before was not over")
        case RunState.REFUSED:
            return words("refused ({reason})", reason=run.reason)
        case RunState.MISSED:
            _, _, more = run.reason.partition(":")
            if more:
                return words("missed, with the runs after it {count} in all", count=more)
            return words("missed")


def _ended(reason: str, words: Words) -> str:
    named = {
        "answered": words("answered"),
        "cancelled": words("stopped"),
        "refused": words("refused"),
        "failed": words("failed"),
    }
    return named.get(reason) or words("failed ({reason})", reason=reason)


def _state(order: StandingOrder, words: Words) -> str:
    match order.state:
        case OrderState.PROPOSED:
            return words("not confirmed")
        case OrderState.ACTIVE:
            return words("active")
        case OrderState.PAUSED:
            return words("paused")
        case OrderState.DELETED:
            return words("deleted")


def _quoted(text: str) -> str:
    shown = text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1].rstrip()}…"
    return "\n".join(f"> {escape(line)}" for line in shown.splitlines())
