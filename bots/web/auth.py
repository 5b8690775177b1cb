"""Who makes a request: by a bearer token, or by the cookie of a browser's session.

Tokens are JWTs that say who, and nothing about what they may do.

A token carries user, tenant, id and expiry (RFC 7519). Role and revocation are read at
each request. The operator's own commands use a token of another audience, signed with the
same installation key: whoever can read the key owns the installation anyway. Such a token
lives for seconds and works once in each process, and it is sent only to a server that has
proven that it holds the key (``identity_proof``).

A request with both is judged by its ``Authorization`` header alone: no page can add one to a
request that it makes another site's browser send.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol

import jwt
from aiohttp import web

from bots.web.languages import READER, Reader
from bots.web.problems import Problem
from bots.web.sign_in import ALIVE, Alive, BrowserSessions
from core.errors import NotFound
from core.ids import new_id
from core.sign_in import Profile
from core.tenants import Role, User
from core.words import Sentence, sentence

ALGORITHM = "HS256"
NO_TOKEN: Final = sentence("Send a bearer token; `it0 token` makes one.")
_EXPIRED: Final = sentence("The token has expired; `it0 token` makes a new one.")
_INVALID: Final = sentence("The token is not valid; `it0 token` makes one.")
_REVOKED: Final = sentence("The token was revoked; `it0 token` makes a new one.")
_USED: Final = sentence("The operator's token was used before; each works once.")
_ROLES: Final[Mapping[Role, Sentence]] = {
    Role.VIEWER: sentence("viewer"),
    Role.OPERATOR: sentence("operator"),
    Role.ADMIN: sentence("admin"),
}
SIGNED_OUT: Final = sentence(
    "You are signed out: this session has ended. Sign in with a new link: `/login` in a chat with "
    "IT0, or `it0 login` on its server."
)
OPERATOR_SECONDS = 30
"""Life of an operator token; the command line makes a new one for each request."""


class TokenStore(Protocol):
    """Tokens and the people behind them."""

    async def token_user(self, token_id: str, user_id: str) -> User | None:
        """The user of a live token, with the role of this moment."""

    async def user_by_email(self, email: str | None) -> User:
        """The user of that address, or the first admin. Raises ``NotFound``."""

    async def save_token(
        self, user: User, token_id: str, *, expires_ms: int, parent: str | None = None
    ) -> None:
        """Remember an issued token. Raises ``NotFound`` when its parent was revoked."""


class Readers(Protocol):
    """What people chose."""

    async def profile(self, user: User) -> Profile:
        """Among it the language they read."""


def operator_token(key: bytes, email: str | None) -> str:
    """A short-lived token for whoever holds the installation's key, acting as ``email``."""
    claims: dict[str, str | int] = {
        "aud": "it0-operator",
        "exp": int(time.time()) + OPERATOR_SECONDS,
        "jti": new_id("op"),
    }
    if email is not None:
        claims["as"] = email
    return jwt.encode(claims, key, ALGORITHM)


def identity_proof(key: bytes, nonce: str) -> str:
    """What only a holder of the installation's ``identity`` key can answer to a nonce."""
    return hmac.new(key, b"it0-identity:" + nonce.encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a request."""

    user: User
    operator: bool
    """Holds the installation's key: may do what only the installer may."""
    token_id: str | None = None
    """The token the request came with; None for the operator's."""
    expires: int | None = None
    """When that token, or the session, ends in any case, in epoch seconds."""
    session_id: str | None = None
    """The session of the browser that sent its cookie."""

    @property
    def maker(self) -> str | None:
        """What all that this caller makes ends with; None for the operator."""
        return self.token_id or self.session_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A token that was just made; the text is shown once."""

    id: str
    token: str
    expires: int
    """In epoch seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticator:
    """Issues tokens and recognises them."""

    key: bytes
    store: TokenStore
    browser: BrowserSessions | None = None
    """Recognises cookies; None where no page is served."""
    readers: Readers | None = None
    """Tells in which language somebody is answered; None: as the request asks."""
    spent: dict[str, int] = field(default_factory=dict)
    """Operator tokens that were used here, by id, with their expiry (s)."""

    async def issue(self, user: User, *, days: int, by: Caller | None = None) -> Issued:
        """A token for a user, remembered so that it can be revoked.

        One that is made with another token, or in a session, neither outlives that nor survives
        its end: a stolen token cannot renew itself.
        """
        token_id, expires = new_id("tok"), int(time.time()) + days * 86_400
        if by is not None and by.expires is not None:
            expires = min(expires, by.expires)
        parent = None if by is None else by.maker
        await self.store.save_token(user, token_id, expires_ms=expires * 1000, parent=parent)
        claims = {
            "aud": "it0",
            "sub": user.id,
            "tenant": user.tenant_id,
            "jti": token_id,
            "exp": expires,
        }
        token = jwt.encode(claims, self.key, ALGORITHM)
        return Issued(id=token_id, token=token, expires=expires)

    async def caller(self, request: web.Request) -> Caller:
        """Who sent the request. Raises ``Problem`` 401 or 403 with a sentence."""
        if "Authorization" not in request.headers and self.browser is not None:
            caller = await self._of_browser(request, self.browser)
        else:
            caller = await self._of_token(request)
        readers, user = self.readers, caller.user
        if readers is not None:

            async def choice() -> str:
                return (await readers.profile(user)).language

            request[READER] = Reader(choice)
        return caller

    async def _of_token(self, request: web.Request) -> Caller:
        """Whose token it is. Raises ``Problem`` 401."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.casefold() != "bearer" or not token:
            raise _unauthorized(NO_TOKEN)
        try:
            claims = jwt.decode(
                token.strip(),
                self.key,
                algorithms=[ALGORITHM],
                audience=["it0", "it0-operator"],
                options={"require": ["exp", "aud", "jti"]},
            )
        except jwt.ExpiredSignatureError:
            raise _unauthorized(_EXPIRED) from None
        except (jwt.InvalidTokenError, UnicodeError):  # bytes that are not UTF-8
            raise _unauthorized(_INVALID) from None
        if claims["aud"] == "it0-operator":
            self._spend(str(claims["jti"]), int(claims["exp"]))
            return await self._operator(claims.get("as"))
        token_id, user_id = str(claims["jti"]), str(claims.get("sub"))
        user = await self.store.token_user(token_id, user_id)
        if user is None:
            raise _unauthorized(_REVOKED)

        async def alive() -> bool:
            return await self.store.token_user(token_id, user_id) is not None

        request[ALIVE] = Alive(alive)
        return Caller(user=user, operator=False, token_id=token_id, expires=int(claims["exp"]))

    async def _of_browser(self, request: web.Request, browser: BrowserSessions) -> Caller:
        """Whose cookie it is. Raises ``Problem`` 401, or 403 when another page sent it along."""
        cookie = browser.cookie(request)
        found = None if cookie is None else await browser.signed_in(request)
        if found is None:
            raise _unauthorized(NO_TOKEN if cookie is None else SIGNED_OUT)
        return Caller(
            user=found.user,
            operator=False,
            expires=found.session.ends_at_ms // 1000,
            session_id=found.session.id,
        )

    def _spend(self, token_id: str, expires: int) -> None:
        """Let an operator token work once. An expired one is refused before it comes here."""
        now = int(time.time())
        for known in [known for known, end in self.spent.items() if end < now]:
            del self.spent[known]
        if token_id in self.spent:
            raise _unauthorized(_USED)
        self.spent[token_id] = expires

    async def _operator(self, email: object) -> Caller:
        try:
            user = await self.store.user_by_email(None if email is None else str(email))
        except NotFound as missing:
            raise Problem(HTTPStatus.NOT_FOUND, "unknown_user", missing.sentence) from None
        return Caller(user=user, operator=True)


def is_admin(caller: Caller) -> bool:
    """Whether the caller may manage the team."""
    return caller.operator or caller.user.role.includes(Role.ADMIN)


def require_admin(caller: Caller) -> None:
    """Raise ``Problem`` 403 unless the caller may manage the team."""
    if not is_admin(caller):
        raise Problem(HTTPStatus.FORBIDDEN, "not_allowed", needs(Role.ADMIN, caller.user))


def needs(role: Role, user: User) -> Sentence:
    """What somebody is told who may not do something."""
    return sentence(
        "This needs the role {needed}; you are {role}. Ask an admin of your team.",
        needed=_ROLES[role],
        role=_ROLES[user.role],
    )


def _unauthorized(said: Sentence) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", said)
