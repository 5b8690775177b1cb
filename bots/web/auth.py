"""Bearer tokens: JWTs that say who, and nothing about what they may do.

A token carries user, tenant, id and expiry (RFC 7519). Role and revocation are read at
each request. The operator's own commands use a token of another audience, signed with the
same installation key: whoever can read the key owns the installation anyway.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import jwt
from aiohttp import web

from bots.web.problems import Problem
from core.errors import NotFound
from core.ids import new_id
from core.tenants import Role, User

ALGORITHM = "HS256"
OPERATOR_SECONDS = 300
"""Life of an operator token; the command line makes a new one for each request."""
MAX_DAYS = 3650


class TokenStore(Protocol):
    """Tokens and the people behind them."""

    async def token_user(self, token_id: str, user_id: str) -> User | None:
        """The user of a live token, with the role of this moment."""

    async def user_by_email(self, email: str | None) -> User:
        """The user of that address, or the first admin. Raises ``NotFound``."""

    async def save_token(self, user: User, token_id: str, *, expires_ms: int) -> None:
        """Remember an issued token."""


def operator_token(key: bytes, email: str | None) -> str:
    """A short-lived token for whoever holds the installation's key, acting as ``email``."""
    claims = {"aud": "it0-operator", "exp": int(time.time()) + OPERATOR_SECONDS}
    if email is not None:
        claims["as"] = email
    return jwt.encode(claims, key, ALGORITHM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a request."""

    user: User
    operator: bool
    """Holds the installation's key: may do what only the installer may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authenticator:
    """Issues tokens and recognises them."""

    key: bytes
    store: TokenStore

    async def issue(self, user: User, *, days: int) -> str:
        """A token for a user, remembered so that it can be revoked."""
        token_id, expires = new_id("tok"), int(time.time()) + days * 86_400
        await self.store.save_token(user, token_id, expires_ms=expires * 1000)
        claims = {
            "aud": "it0",
            "sub": user.id,
            "tenant": user.tenant_id,
            "jti": token_id,
            "exp": expires,
        }
        return jwt.encode(claims, self.key, ALGORITHM)

    async def caller(self, request: web.Request) -> Caller:
        """Who sent the request. Raises ``Problem`` 401 with a sentence."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.casefold() != "bearer" or not token:
            raise _unauthorized("Send a bearer token; `it0 token` makes one.")
        try:
            claims = jwt.decode(
                token.strip(),
                self.key,
                algorithms=[ALGORITHM],
                audience=["it0", "it0-operator"],
                options={"require": ["exp", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise _unauthorized("The token has expired; `it0 token` makes a new one.") from None
        except jwt.InvalidTokenError:
            raise _unauthorized("The token is not valid; `it0 token` makes one.") from None
        if claims["aud"] == "it0-operator":
            return await self._operator(claims.get("as"))
        user = await self.store.token_user(str(claims.get("jti")), str(claims.get("sub")))
        if user is None:
            raise _unauthorized("The token was revoked; `it0 token` makes a new one.")
        return Caller(user=user, operator=False)

    async def _operator(self, email: object) -> Caller:
        try:
            user = await self.store.user_by_email(None if email is None else str(email))
        except NotFound as missing:
            raise Problem(HTTPStatus.NOT_FOUND, "unknown_user", missing.sentence) from None
        return Caller(user=user, operator=True)


def require_admin(caller: Caller) -> None:
    """Raise ``Problem`` 403 unless the caller may manage the team."""
    if not (caller.operator or caller.user.role.includes(Role.ADMIN)):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "not_allowed",
            f"This needs the role admin; you are {caller.user.role}. Ask an admin of your team.",
        )


def _unauthorized(sentence: str) -> Problem:
    return Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", sentence)
