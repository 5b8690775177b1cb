"""What the contract of renderers runs against: one kit per place where answers are shown.

To add a place: say how its parts are cut, what a reader sees of one, and what is wrong with it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from bots.console_markdown import Block
from bots.console_terminal import safe_text
from bots.slack import render as slack
from bots.telegram import render as telegram
from core.markdown import split_markdown
from tests.bots.slack.test_render_rules import check, shown
from tests.bots.telegram.render_kit import mentions, problems, utf16


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderKit:
    """One place."""

    name: str
    parts: Callable[[str], tuple[str, ...]]
    """The Markdown of each message."""
    seen: Callable[[str], str]
    """What a reader sees of a message."""
    wrong: Callable[[str], list[str]]
    """What the place would refuse, or do to somebody, because of a message."""


def _slack_wrong(part: str) -> list[str]:
    try:
        check(slack.blocks(part))
    except AssertionError as error:
        return [str(error)]
    told = slack.fallback(part)
    return ["a mention"] if "<!" in told or "<@" in told else []


def _telegram_wrong(part: str) -> list[str]:
    made = telegram.render(part)
    found = [*problems(made.text, made.entities), *mentions(made.text, made.entities)]
    return [*found, "too long"] if utf16(made.text) > telegram.MAX else found


def _terminal(part: str) -> str:
    out = io.StringIO()
    console = Console(file=out, width=20_000, color_system=None, legacy_windows=False)
    console.print(Block(safe_text(part)))
    return out.getvalue()


def _control(part: str) -> list[str]:
    return [repr(char) for char in _terminal(part) if char < " " and char not in "\n\t"]


KITS = (
    RenderKit(
        name="slack",
        parts=lambda text: split_markdown(text, slack.MAX_CHARS, measure=slack.measure),
        seen=lambda part: shown(slack.blocks(part)),
        wrong=_slack_wrong,
    ),
    RenderKit(
        name="telegram",
        parts=lambda text: split_markdown(text, telegram.MAX, measure=telegram.measure),
        seen=lambda part: telegram.render(part).text,
        wrong=_telegram_wrong,
    ),
    RenderKit(name="terminal", parts=lambda text: (text,), seen=_terminal, wrong=_control),
    RenderKit(  # the browser and the API are given the Markdown itself
        name="browser", parts=lambda text: (text,), seen=lambda part: part, wrong=lambda _part: []
    ),
)
