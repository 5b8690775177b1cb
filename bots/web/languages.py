"""The language of whoever reads an answer: their own choice, else what the request asks for."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from core.errors import It0Error
from core.words import LANGUAGES

MAX_CHARS: Final = 200
"""Of the header; no browser sends more."""
_RANGE: Final = re.compile(
    r"([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)(?:\s*;\s*q=([01](?:\.\d{1,3})?))?"
)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reader:
    """Who made a request, as far as their language goes."""

    choice: Callable[[], Awaitable[str]]
    """The language that they chose; empty when they made no choice."""


READER: Final = web.RequestKey("it0.reader", Reader)
"""Set on a request as soon as it is known who made it."""


async def language_for(request: web.Request) -> str:
    """The tag of the language to answer in; empty: English.

    A database that cannot say what somebody chose is no reason to lose the answer.
    """
    reader = request.get(READER)
    try:
        chosen = "" if reader is None else await reader.choice()
    except It0Error as fault:
        _log.warning("reader.language_unknown", code=fault.code)
        chosen = ""
    return chosen or asked_language(request)


def asked_language(request: web.Request) -> str:
    """What the request's own header prefers (RFC 9110, section 12.5.4); empty: nothing we have."""
    return preferred(request.headers.get("Accept-Language", ""))


def preferred(accepted: str) -> str:
    """The tag that is welcome most among the languages that we speak; empty: none is named."""
    best, weight = "", 0.0
    for part in accepted[:MAX_CHARS].split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is None:
            continue
        tag, quality = found[1], float(found[2] or 1)
        if tag.partition("-")[0].casefold() in LANGUAGES and quality > weight:
            best, weight = tag, quality
    return best
