"""The session's cookie, and whose request it may speak for; pure functions alone.

Name and attributes after RFC 6265bis (the ``__Host-`` prefix, ``SameSite``); the judgement after
the Fetch Metadata specification and the OWASP cross-site request forgery cheat sheet.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final
from urllib.parse import urlsplit

from core.sign_in import Cookie

_PLAIN: Final = "it0"
_SECURE: Final = f"__Host-{_PLAIN}"
_PORT: Final = re.compile(r":([0-9]{1,5})$")
_HALVES: Final = re.compile(r"([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]{43})")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_READS: Final = frozenset({"GET", "HEAD"})

MAX_BROWSER_WORDS: Final = 500
"""Characters of a ``User-Agent`` that are looked at."""
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


def cookie_name(host: str, *, secure: bool) -> str:
    """``__Host-it0`` where the connection is safe: no other host can set or replace it.

    Cookies know no ports (RFC 6265, 8.5), so the name does: installations beside each other on
    one ``host`` do not sign each other out.
    """
    port = _PORT.search(host)
    return f"{_SECURE if secure else _PLAIN}{'' if port is None else '-' + port[1]}"


def set_cookie(cookie: Cookie, name: str, *, secure: bool, life_s: int) -> str:
    """The ``Set-Cookie`` header of a session; ``life_s`` is what is left of it."""
    return _header(f"{name}={cookie.series}.{cookie.token}", secure=secure, life_s=life_s)


def remove_cookie(name: str, *, secure: bool) -> str:
    """The ``Set-Cookie`` header that makes the browser forget the session."""
    return _header(f"{name}=", secure=secure, life_s=0)


def _header(pair: str, *, secure: bool, life_s: int) -> str:
    parts = [
        pair,
        f"Max-Age={max(0, life_s)}",
        "Path=/",
        "HttpOnly",
        "SameSite=Strict",
    ]
    return "; ".join([*parts, "Secure"] if secure else parts)


def read_cookie(headers: Sequence[str], name: str) -> Cookie | None:
    """The session's cookie of a request's ``Cookie`` headers.

    Two of that name are none: somebody has put one beside it, and which counts is anybody's guess.
    """
    found: set[str] = set()
    for header in headers:
        for pair in header.split(";"):
            key, equals, value = pair.strip().partition("=")
            if equals and key == name:
                found.add(value.strip())
    halves = _HALVES.fullmatch(found.pop()) if len(found) == 1 else None
    return None if halves is None else Cookie(series=halves[1], token=halves[2])


def own_origin(scheme: str, host: str) -> str | None:
    """An origin in one form, without a default port; None for what is none."""
    try:
        parts = urlsplit(f"{scheme}://{host}")
        port = parts.port
    except ValueError:
        return None
    name = parts.hostname
    if not name or parts.path or parts.query or parts.fragment or "@" in host:
        return None
    shown = f"[{name}]" if ":" in name else name
    if port in (None, _DEFAULT_PORTS.get(scheme)):
        return f"{scheme}://{shown}"
    return f"{scheme}://{shown}:{port}"


def parse_origin(text: str) -> str | None:
    """The origin of an ``Origin`` header or of a URL; None for ``null`` and for no origin."""
    scheme, separator, rest = text.strip().partition("://")
    if not separator or scheme.casefold() not in _DEFAULT_PORTS:
        return None
    return own_origin(scheme.casefold(), rest.partition("/")[0])


def from_own_page(
    method: str, sites: Sequence[str], origins: Sequence[str], own: Collection[str]
) -> bool:
    """Whether a request may act with a cookie: our own page made it, or a person typed it.

    ``sites`` and ``origins`` are all values of ``Sec-Fetch-Site`` and ``Origin``; ``own`` the
    origins that the page has. No page can set either header. ``Sec-Fetch-Site`` is missing over
    plain HTTP and in old browsers: there ``Origin`` decides on everything that changes something.
    """
    told = set(sites)
    if told == {"same-origin"}:
        return True
    if told:
        return told == {"none"} and method in _READS
    return method in _READS or from_own_origin(origins, own)


def from_own_origin(origins: Sequence[str], own: Collection[str]) -> bool:
    """Whether every ``Origin`` that was sent is ours, and there is one."""
    sent = {parse_origin(origin) for origin in origins}
    return bool(sent) and None not in sent and sent <= set(own)


def browser_name(user_agent: str) -> str:
    """Such as "Firefox on Linux": what its owner knows it by; empty when it tells nothing."""
    looked_at = user_agent[:MAX_BROWSER_WORDS]
    browser = next((name for mark, name in _BROWSERS if f"{mark}/" in looked_at), "")
    system = next((name for mark, name in _SYSTEMS if mark in looked_at), "")
    return f"{browser} on {system}" if browser and system else browser or system
