"""Headers that every answer has: what a browser may make of it.

After the OWASP HTTP Headers cheat sheet. A handler that set one of them keeps its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

DEFAULTS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
OF_DOCUMENTS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
"""For all that a browser would show by itself."""
NO_DOCUMENTS: Final = frozenset({"text/javascript", "text/css"})
"""A page has dozens of these: what means nothing to them is not sent."""


async def protect(_request: web.Request, response: web.StreamResponse) -> None:
    """Add what is missing, before the first byte is sent (``on_response_prepare``)."""
    for name, value in DEFAULTS.items():
        response.headers.setdefault(name, value)
    if response.content_type in NO_DOCUMENTS:
        return
    for name, value in OF_DOCUMENTS.items():
        response.headers.setdefault(name, value)
