"""Which links Telegram takes, and which of a text's link definitions are really text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TypedDict, cast
from urllib.parse import unquote

from markdown_it import MarkdownIt

from core.markdown import parser

MAX_URL_CHARS = 2_048

_WEB = re.compile(
    r"https?://[a-z0-9_-]+(?:\.[a-z0-9_-]+)+(?::(\d{1,5}))?(?:[/?#][!-~]*)?", re.IGNORECASE
)
_DEEP = re.compile(r"tg://(?!user\b)[a-z]{1,32}(?:\?[!-~]*)?", re.IGNORECASE)
_LAST_PORT = 65_535


class _Definition(TypedDict):
    """A link reference definition, as the parser leaves it in its environment."""

    href: str
    map: list[int]


class _Environment(TypedDict, total=False):
    """What the parser learns about a text besides its tokens."""

    references: dict[str, _Definition]
    duplicate_refs: list[_Definition]


def linkable(url: str) -> bool:
    """Whether Telegram accepts ``url`` behind a text; a wrong one gets the message refused.

    The host needs a dot (TDLib, ``LinkManager::check_link``): ``http://grafana:3000`` is shown
    as text instead. ``tg://user?id=`` is a mention in disguise. A ``mailto:`` URL would become
    a web address; a written address is found by Telegram itself.
    """
    if len(url) > MAX_URL_CHARS:
        return False
    web = _WEB.fullmatch(url)
    if web:
        return web[1] is None or 0 < int(web[1]) <= _LAST_PORT
    return _DEEP.fullmatch(url) is not None


def shown(url: str, *, shortest: bool) -> str:
    """``url`` as a reader sees it; the parser has percent-encoded it."""
    text = parser().normalizeLinkText(url.removeprefix("mailto:"))
    return unquote(text) if shortest else text


@cache
def _blocks() -> MarkdownIt:
    """The canonical parser without the inline half, which definitions do not need."""
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("inline")


def text_definitions(text: str) -> frozenset[int]:
    """Lines of link definitions that a reader would miss.

    ``[WARN]: timeout`` in a log is a definition by the rules of Markdown, and would vanish.
    A definition is one when its URL is a link and its label is used.
    """
    if "]:" not in text:
        return frozenset()
    found: dict[str, object] = {}
    _blocks().parse(text, found)
    return frozenset(_text_definitions(text, cast("_Environment", found)))


def _text_definitions(text: str, found: _Environment) -> Iterator[int]:
    words = " ".join(text.split()).lower().upper()
    for label, definition in found.get("references", {}).items():
        if not linkable(definition["href"]) or words.count(f"[{label}]") < 2:  # noqa: PLR2004  # itself and a use
            yield definition["map"][0]
    for definition in found.get("duplicate_refs", []):
        yield definition["map"][0]
