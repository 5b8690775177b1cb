"""The proof that a request comes from whoever holds the installation's key.

A bearer token says who somebody is; a team's admin has one, too. What only the operator may do
(mark an invoice paid, bill everybody) asks for this proof besides: a token signed with a key
derived from the installation's for this alone. It is for one method and path, lives for
seconds and works once in each process.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import jwt
from aiohttp import web

from bots.web.problems import Problem
from core.ids import new_id
from core.words import sentence

HEADER: Final = "IT0-Operator-Proof"
PURPOSE: Final = "operator-billing"
"""Of the derived key (``core.keys.Keys.derive``)."""
_ALGORITHM: Final = "HS256"
_AUDIENCE: Final = "it0-operator-billing"
_SECONDS: Final = 30


def operator_proof(key: bytes, method: str, path: str) -> str:
    """A proof for one request."""
    claims: dict[str, str | int] = {
        "aud": _AUDIENCE,
        "exp": int(time.time()) + _SECONDS,
        "jti": new_id("opp"),
        "sub": f"{method} {path}",
    }
    return jwt.encode(claims, key, _ALGORITHM)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofCheck:
    """Recognises proofs."""

    key: bytes
    spent: dict[str, int] = field(default_factory=dict)
    """Those that were used here, by id, with their expiry (s)."""

    def require(self, request: web.Request) -> None:
        """Raise ``Problem`` 403 unless the request proves that the operator sent it."""
        try:
            claims = jwt.decode(
                request.headers.get(HEADER, ""),
                self.key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={"require": ["exp", "aud", "jti", "sub"]},
            )
        except (jwt.InvalidTokenError, UnicodeError):  # bytes that are not UTF-8
            raise _forbidden() from None
        if claims["sub"] != f"{request.method} {request.path}":
            raise _forbidden()
        self._spend(str(claims["jti"]), int(claims["exp"]))

    def _spend(self, proof_id: str, expires: int) -> None:
        now = int(time.time())
        for known in [known for known, end in self.spent.items() if end < now]:
            del self.spent[known]
        if proof_id in self.spent:
            raise _forbidden()
        self.spent[proof_id] = expires


def _forbidden() -> Problem:
    return Problem(
        HTTPStatus.FORBIDDEN,
        "operator_only",
        sentence(
            "Only whoever runs this installation may do that, with `it0 billing` on its machine."
        ),
    )
