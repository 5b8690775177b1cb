"""The Home tab with a summary of the plan."""

from __future__ import annotations

from typing import Any

from bots.slack import home
from core.commands import ConversationInfo
from core.messages import Actor
from core.refusals import STRANGER, Rejected
from tests.fakes.slack_blocks import blocks_text

ACTOR = Actor(platform="slack", workspace="T1", external_id="U1")
SUMMARY = "**Pro plan** this month:\n\n`█████░░░░░` 50 %. `/pay NUMBER` shows how."


def shown_to(recent: tuple[ConversationInfo, ...] | Rejected) -> str:
    """The text of a Home tab."""
    blocks: Any = home.view(ACTOR, recent, SUMMARY)["blocks"]
    return blocks_text(blocks)


def test_the_summary_is_between_the_greeting_and_the_conversations() -> None:
    """Its commands are named as they are typed in Slack."""
    shown = shown_to(())
    assert shown.index("Hello") < shown.index("Pro plan") < shown.index("no conversations yet")
    assert "/it0 pay NUMBER" in shown


def test_strangers_see_no_plan() -> None:
    """They are told how to get in, and nothing else."""
    assert "Pro plan" not in shown_to(STRANGER)
