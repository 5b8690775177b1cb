"""Headers that every answer has: what a browser may make of it.

After the OWASP HTTP Headers cheat sheet. A handler that set one of them keeps its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

DEFAULTS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


async def protect(_request: web.Request, response: web.StreamResponse) -> None:
    """Add what is missing, before the first byte is sent (``on_response_prepare``)."""
    for name, value in DEFAULTS.items():
        response.headers.setdefault(name, value)
