"""Slack's message text to what the person wrote: mentions, links, entities, command words.

Source: docs.slack.dev/messaging/formatting-message-text. Slack's client keeps every text that
begins with a slash for itself, so a command is also the argument of ``/it0``, or ``/stop`` after
a mention. The words alone (``stop``) are commands only where it is harmless to mistake an answer
to the model's question for one: never those that erase, share or let somebody in.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from core.commands import HELP
from core.words import LANGUAGES

_TOKEN = re.compile(r"<([@#!][^<>|]*|(?:https?|ftp|mailto|tel):[^<>|]*)(?:\|([^<>]*))?>")
_WORDS = frozenset(HELP)
_WITH_ARGUMENT = {word for word, line in HELP.items() if f"`/{word} " in line}
_BARE = frozenset({"help", "new", "sessions", "stop", "whoami"})
_BARE_WITH = {
    "resume": re.compile(r"\d{1,4}"),
    "language": re.compile("|".join(LANGUAGES), re.IGNORECASE),
    "link": re.compile(r"[0-9A-Za-z]{4}(?:-[0-9A-Za-z]{4}){1,2}"),
}
"""Commands without a slash, and what must follow: a number of a list, a language or a code."""

Names = Callable[[str], str]
"""The name of a person, as far as it is known; empty otherwise."""


def mentions(slack_text: str, user: str) -> bool:
    """Whether the text mentions this user."""
    return re.search(rf"<@{re.escape(user)}[|>]", slack_text) is not None


def plain(slack_text: str, bot_user: str, names: Names) -> str:
    """The text as a person reads it, without the mentions of the bot."""

    def shown(token: re.Match[str]) -> str:
        return _shown(token[1], token[2] or "", bot_user, names)

    text = _TOKEN.sub(shown, slack_text)
    text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return text.strip()


def _shown(what: str, label: str, bot_user: str, names: Names) -> str:
    if what == f"@{bot_user}":
        return ""
    if what[0] == "@":
        return f"@{label or names(what[1:]) or what[1:]}"
    if what[0] == "#":
        return f"#{label or what[1:]}"
    if what[0] == "!":
        return label or f"@{what[1:].partition('^')[0]}"
    bare = what.partition(":")[2].removeprefix("//").removesuffix("/")
    if not label or label == what:
        return what
    return label if label.removesuffix("/") == bare else f"{label} ({what})"


def as_command(text: str) -> str:
    """A message that is a harmless command alone gets its slash."""
    first, _, rest = text.partition(" ")
    word, rest = first.casefold(), rest.strip()
    follows = _BARE_WITH.get(word)
    meant = follows.fullmatch(rest) is not None if follows else word in _BARE and not rest
    return f"/{text}" if meant else text


def after_slash(text: str) -> str:
    """What ``/it0 TEXT`` means: a command, with its arguments if it takes any, or a question."""
    text = text.strip()
    first, _, rest = text.partition(" ")
    word = first.casefold()
    if not text:
        return "/help"
    if word in _WORDS and (not rest or word in _WITH_ARGUMENT):
        return f"/{text}"
    return text
