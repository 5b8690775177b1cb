"""When a turn is over, and how often a failing model call is tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Protocol

from core.engines.claude_faults import OVERLOADED, RATE_LIMITED, Fault, too_long_to_wait
from core.engines.replies import joined_text
from core.events import Completed, Notice, StopReason, TextReset
from core.steps import ModelStep, Step
from core.words import sentence

MAX_MODEL_CALLS = 30
_MAX_RESETS = 2
"""How often an answer that was already visible may start again."""
_LONGEST_BACKOFF_S = 8.0

LIMIT = sentence(
    "Stopped after {calls} model calls in one turn. "
    'Say "continue" to go on from here, or split the task.',
    calls=MAX_MODEL_CALLS,
)
_CUT = sentence('The answer was cut at its length limit. Say "continue" to get the rest.')
_FULL = sentence(
    "The conversation fills the model's memory. Start a new one with /new, or send smaller files."
)
_DECLINED = sentence(
    "The model declined to answer this. Ask in other words, or ask for something else."
)
EMPTY_ANSWER = sentence("The model gave no answer. Ask again in other words.")


def ending_of(steps: Sequence[Step]) -> Completed | None:
    """How the turn ends with these steps, or None when the model is to be asked again."""
    last = steps[-1] if steps else None
    if isinstance(last, ModelStep) and not last.tool_calls:
        match last.stop_reason:
            case "pause_turn":
                pass
            case "max_tokens":
                return Completed(stop_reason=StopReason.MAX_TOKENS, notice=_CUT)
            case "model_context_window_exceeded":
                return Completed(stop_reason=StopReason.MAX_TOKENS, notice=_FULL)
            case "refusal":
                return Completed(stop_reason=StopReason.REFUSED, notice=_DECLINED)
            case _:
                return Completed(notice="" if joined_text(steps).strip() else EMPTY_ANSWER)
    if sum(isinstance(step, ModelStep) for step in steps) >= MAX_MODEL_CALLS:
        return Completed(stop_reason=StopReason.LIMIT, notice=LIMIT)
    return None


def announcement(fault: Fault, steps: Sequence[Step], *, shown: bool) -> Notice | TextReset:
    """What the user is told about a retry; visible text of the failed try is taken back."""
    busy = fault.reason in (RATE_LIMITED.reason, OVERLOADED.reason)
    what = sentence("Anthropic is busy") if busy else sentence("The connection to Anthropic failed")
    if not shown:
        return Notice(text=sentence("{problem}; trying again.", problem=what))
    reason = sentence("{problem} in the middle of the answer; it starts again.", problem=what)
    return TextReset(text=joined_text(steps), reason=reason)


class Patience(Protocol):
    """How long a failing model call is tried again; ``ClaudeApiConfig`` explains the figures."""

    @property
    def max_tries(self) -> int:
        """Calls without visible text."""

    @property
    def retry_after_cap_s(self) -> float:
        """Longest wait that a provider may ask for."""

    @property
    def give_up_after_s(self) -> float:
        """No new try later than this after the first."""

    @property
    def backoff_s(self) -> float:
        """Pause before the first retry."""


class Retries:
    """The patience of one model call: counts what failed, says how long to pause."""

    def __init__(self, config: Patience) -> None:
        """Start the clock."""
        self._config = config
        self._began = time.monotonic()
        self._silent = 0
        self._resets = 0

    def pause_after(self, fault: Fault, *, shown: bool) -> float:
        """Seconds to wait before the next try. Raises ``EngineFailure`` to give up."""
        pause_s = self.next_pause(fault, shown=shown)
        if isinstance(pause_s, Fault):
            raise pause_s.failure()
        return pause_s

    def next_pause(self, fault: Fault, *, shown: bool) -> float | Fault:
        """Seconds to wait before the next try, or the fault with which the call is given up."""
        config = self._config
        if not fault.retry:
            return fault
        asked_s = fault.retry_after_s or 0.0
        if asked_s > config.retry_after_cap_s:
            return too_long_to_wait(fault)
        if shown:
            self._resets += 1
        else:
            self._silent += 1
        if self._resets > _MAX_RESETS or self._silent >= config.max_tries:
            return fault
        backoff_s = config.backoff_s * 2.0 ** (self._silent + self._resets - 1)
        jitter = random.uniform(0.5, 1.0)  # noqa: S311  # spreads retries, guards nothing
        pause_s = max(asked_s, min(backoff_s, _LONGEST_BACKOFF_S) * jitter)
        if time.monotonic() - self._began + pause_s > config.give_up_after_s:
            return fault
        return pause_s
