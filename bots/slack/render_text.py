"""Text that Slack parses: the notification's fallback and the streamed Markdown.

A mention is either a token, ``<!here>``, ``<@U1>``, ``<#C1>``, ``<!subteam^S1>``, or, where a
client asks for names to be linked, a word such as ``@channel``. Both are made inert here by a
zero-width space, which Slack neither drops nor shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from markdown_it.token import Token

from core.markdown import parser
from core.messages import clean_text

FALLBACK_CHARS = 3_000
"""``text`` holds 4,000 characters in chat.update; screen readers read it, so it is no summary."""
_SHOWN_WHEN_EMPTY = "…"
"""Slack refuses an empty ``text``."""

_INERT = "\u200b"
_MENTION = re.compile(
    r"<(?=[@#!\\&])|(?<![^\W_])@(?:channe(?=l)|her(?=e)|everyon(?=e))", re.IGNORECASE
)
"""A token's first character, and an announcement up to the letter that completes it.

Each looks ahead by one character at most, which is the one that the zero-width space precedes:
so what was made of the beginning of a text never changes. A backslash or an entity may turn
into the second character of a token once Slack has parsed the Markdown.
"""
_UNSHOWABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def stream_text(markdown: str) -> str:
    """Markdown for ``markdown_text`` of chat.startStream and chat.appendStream, mentions inert.

    Slack parses standard Markdown there, and its own tokens inside it. Nothing is escaped,
    because Slack does not say whether it decodes entities in code: ``<``, ``>`` and ``&`` stay
    what they are, and a token gets a zero-width space inside. ``stream_text(a + b)`` begins with
    ``stream_text(a)``, wherever the cut is.
    """
    return inert(_UNSHOWABLE.sub("", markdown))


def inert(text: str) -> str:
    """The text with a zero-width space inside all that could notify somebody."""
    return _MENTION.sub(lambda match: match.group() + _INERT, text)


def can_notify(text: str) -> bool:
    """Whether the text has something that could notify somebody where Slack parses it."""
    return _MENTION.search(text) is not None


def fallback(markdown: str) -> str:
    """The plain ``text`` of a message, for notifications and screen readers; never empty.

    ``&``, ``<`` and ``>`` are escaped as docs.slack.dev/messaging/formatting-message-text asks;
    at most ``FALLBACK_CHARS`` characters long, escapes included.
    """
    source = clean_text(markdown)[: 2 * FALLBACK_CHARS]
    text = "".join(_shown(parser().parse(source))).strip()
    return _escaped(inert(text)) or _SHOWN_WHEN_EMPTY


def _shown(tokens: list[Token]) -> Iterator[str]:
    """The words of a text with as little punctuation as makes it readable."""
    for token in tokens:
        match token.type:
            case "inline":
                yield from _shown_inline(token.children or [])
            case "fence" | "code_block":
                yield token.content
            case "list_item_open":
                yield f"{token.info}. " if token.info else "• "
            case "td_close" | "th_close":
                yield "  "
            case "paragraph_close" | "heading_close" | "tr_close":
                yield "\n"
            case _:
                pass


def _shown_inline(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            yield "\n"
        else:
            yield from _shown_inline(token.children or []) if token.children else (token.content,)


def _escaped(text: str) -> str:
    """The text with escapes, cut so that no escape is torn."""
    pieces: list[str] = []
    room = FALLBACK_CHARS
    for char in text:
        piece = _ESCAPES.get(char, char)
        room -= len(piece)
        if room < len(_ELLIPSIS):
            return "".join(pieces) + _ELLIPSIS
        pieces.append(piece)
    return "".join(pieces)


_ELLIPSIS = "…"
