"""How the text of several model calls becomes one reply.

The engines that stream and the turn runner that rebuilds a reply from committed steps must
agree to the character, so the rule lives in one place: the texts of the model steps, in
order, with a blank line between two that both have text.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.steps import ModelStep, Step

STEP_SEPARATOR = "\n\n"


def joined_text(steps: Iterable[Step]) -> str:
    """The reply so far: what all ``TextDelta`` of these steps add up to."""
    return STEP_SEPARATOR.join(
        step.text for step in steps if isinstance(step, ModelStep) and step.text
    )


def separator_after(steps: Iterable[Step]) -> str:
    """What the next model call's first text delta starts with, given the steps before it."""
    has_text = any(isinstance(step, ModelStep) and step.text for step in steps)
    return STEP_SEPARATOR if has_text else ""
