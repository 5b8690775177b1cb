"""What the commands' answers are made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from core.messages import ConversationAddress
from core.turns import Ending, Outcome, Turn
from core.words import Words

Handler = Callable[[Turn, str], Awaitable[Ending]]
"""Answers ``/word rest``; gets the turn and the rest."""


def answered(text: str, *, continue_in: str | None = None) -> Ending:
    """The command did what it is for."""
    return Ending(outcome=Outcome.ANSWERED, reply=text, continue_in=continue_in)


def refused(text: str) -> Ending:
    """The command could not be carried out; the text says why and what to do."""
    return Ending(outcome=Outcome.REFUSED, reply=text)


def escape(text: str) -> str:
    """Text of people's, so that it stays text inside Markdown."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|~#" else char for char in text)


def code(text: str) -> str:
    """Text of people's as a code span: no backtick can end it."""
    return f"`{text.replace('`', chr(0x2B9))}`"


def is_shared(address: ConversationAddress) -> bool:
    """Whether other people read along at this place.

    Slack: every conversation but a direct message, whose id begins with D
    (docs.slack.dev/apis/web-api/using-the-conversations-api). Telegram: the ids of groups are
    negative (core.telegram.org/bots/api#chat). The API and the terminal: never.
    """
    match address.platform:
        case "slack":
            return not address.channel.startswith("D")
        case "telegram":
            return address.channel.startswith("-")
        case _:
            return False


def place_name(platform: str, channel: str, words: Words) -> str:
    """Where a conversation is held, in words."""
    here = ConversationAddress(platform=platform, workspace="", channel=channel, thread="")
    match platform, is_shared(here):
        case "slack", True:
            return words("Slack, in a channel")
        case "slack", False:
            return words("Slack, direct message")
        case "telegram", True:
            return words("Telegram, in a group")
        case "telegram", False:
            return words("Telegram, private chat")
        case "api", _:
            return words("API or terminal")
        case "web", _:
            return words("Browser")
        case _:
            return platform


def platform_name(platform: str) -> str:
    """A platform's own name."""
    names = {"slack": "Slack", "telegram": "Telegram", "api": "API", "it0": "API", "web": "Browser"}
    return names.get(platform, platform)
