"""Cookies of sessions on requests and answers: who sent it, is it our page, a new token in time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, Protocol

import structlog
from aiohttp import web

from bots.web.cookies import (
    cookie_name,
    from_own_page,
    own_origin,
    parse_origin,
    read_cookie,
    remove_cookie,
    set_cookie,
)
from bots.web.problems import Problem
from core.errors import StorageFailure
from core.sign_in import Cookie, Session, SignedIn
from core.words import sentence


@dataclass(frozen=True, slots=True)
class Alive:
    """Whether the caller of a request may still be answered; long answers ask now and then."""

    ask: Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class _Due:
    """A cookie that is to be replaced."""

    cookie: Cookie
    session: Session


ALIVE: Final = web.RequestKey("it0.alive", Alive)
_DUE: Final = web.RequestKey("it0.due", _Due)

CROSS_SITE: Final = sentence(
    "This request does not come from IT0's own page, so it cannot use the browser's session. Open "
    "IT0 itself, or send a bearer token."
)
_log = structlog.get_logger()


class CookieStore(Protocol):
    """Sessions, as requests meet them."""

    async def see(self, cookie: Cookie) -> SignedIn | None:
        """Whose cookie it is now; None when it is nobody's."""

    async def offer(self, cookie: Cookie) -> str | None:
        """Another token for the session, when it is time for one."""

    async def alive(self, tenant_id: str, session_id: str) -> bool:
        """Whether the session goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrowserSessions:
    """Reads cookies of requests and sets them on answers."""

    store: CookieStore
    public_url: str | None = None
    """Where the page is, as people know it; a proxy may stand between."""

    def secure(self, request: web.Request) -> bool:
        """Whether browsers reach us over TLS."""
        return request.secure or (self.public_url or "").startswith("https://")

    def _name(self, request: web.Request) -> str:
        return cookie_name(request.host, secure=self.secure(request))

    def origins(self, request: web.Request) -> frozenset[str]:
        """The origins that our page has: as it was asked for, and as it is known."""
        asked = own_origin(request.scheme, request.host)
        known = None if self.public_url is None else parse_origin(self.public_url)
        if known is not None and known.startswith("https://"):
            asked = None  # whoever reaches it otherwise has no cookie of this page
        return frozenset(origin for origin in (asked, known) if origin is not None)

    def cookie(self, request: web.Request) -> Cookie | None:
        """The session's cookie. Raises ``Problem`` 403 when another page sent it along."""
        cookie = read_cookie(request.headers.getall("Cookie", []), self._name(request))
        if cookie is not None:
            self.require_own(request)
        return cookie

    def require_own(self, request: web.Request, *, proof: bool = False) -> None:
        """Raise ``Problem`` 403 unless our own page made the request.

        ``proof``: also where there is no cookie yet, and whatever the method is.
        """
        headers = request.headers
        method = "POST" if proof else request.method
        sites, origins = headers.getall("Sec-Fetch-Site", []), headers.getall("Origin", [])
        if not from_own_page(method, sites, origins, self.origins(request)):
            raise Problem(HTTPStatus.FORBIDDEN, "cross_site", CROSS_SITE)

    async def signed_in(self, request: web.Request) -> SignedIn | None:
        """Who sent the request's cookie. Raises ``Problem`` 403 as above."""
        cookie = self.cookie(request)
        found = None if cookie is None else await self.store.see(cookie)
        if cookie is None or found is None:
            return None
        tenant_id, session_id = found.user.tenant_id, found.session.id
        request[ALIVE] = Alive(lambda: self.store.alive(tenant_id, session_id))
        if found.rotate:
            request[_DUE] = _Due(cookie, found.session)
        return found

    async def refresh(self, request: web.Request, response: web.StreamResponse) -> None:
        """Send another token when it is time (``on_response_prepare``).

        Never on an answer that a cache may keep. A database that does not answer is no reason
        to fail a request that was carried out: the next one tries again.
        """
        due = request.get(_DUE)
        if due is None or "Set-Cookie" in response.headers:
            return
        if "max-age" in response.headers.get("Cache-Control", ""):
            return
        del request[_DUE]
        try:
            token = await self.store.offer(due.cookie)
        except StorageFailure as failure:
            _log.warning("session.not_rotated", code=failure.code)
            return
        if token is not None:
            self.place(request, response, replace(due.cookie, token=token), due.session)

    def place(
        self, request: web.Request, response: web.StreamResponse, cookie: Cookie, session: Session
    ) -> None:
        """Give the browser a session's cookie."""
        life_s = session.ends_at_ms // 1000 - int(time.time())
        name, secure = self._name(request), self.secure(request)
        header = set_cookie(cookie, name, secure=secure, life_s=life_s)
        response.headers["Set-Cookie"] = header

    def remove(self, request: web.Request, response: web.StreamResponse) -> None:
        """Make the browser forget its session."""
        response.headers["Set-Cookie"] = remove_cookie(
            self._name(request), secure=self.secure(request)
        )
