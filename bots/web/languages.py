"""The language that a request asks for (RFC 9110, section 12.5.4)."""

from __future__ import annotations

import re
from typing import Final

from core.words import LANGUAGES

MAX_CHARS: Final = 200
"""Of the header; no browser sends more."""
_RANGE: Final = re.compile(
    r"([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)(?:\s*;\s*q=([01](?:\.\d{1,3})?))?"
)


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
