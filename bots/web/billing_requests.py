"""What billing's routes have in common: who asks, what a query says, why something is refused."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel

from bots.web.auth import Authenticator, Caller, require_admin
from bots.web.idempotency import Keys, once
from bots.web.openapi import MAX_NUMBER
from bots.web.problems import Problem
from bots.web.requests import read_body
from core.refusals import Rejected
from core.words import sentence

_M = TypeVar("_M", bound=BaseModel)
_T = TypeVar("_T")

_NOT_FOUND: Final = frozenset(
    {
        "not_found",
        "unknown_invoice",
        "unknown_line",
        "unknown_plan",
        "unknown_provider",
        "unknown_quote",
        "unknown_subject",
        "unknown_user",
    }
)
_WRONG: Final = frozenset(
    {"bad_amount", "bad_budget", "bad_cursor", "bad_range", "choose_method", "unknown_method"}
)
PROVIDER_RETRY_S: Final = 30
_NUMBER: Final = re.compile(rf"[1-9][0-9]{{0,{len(str(MAX_NUMBER)) - 1}}}")

CHANGE_ERRORS: Final = (400, 403, 404, 408, 409, 413, 415, 422)
"""Of every request that changes something."""


def refused(rejected: Rejected) -> Problem:
    """A refusal as a problem: what the state does not allow now is a 409."""
    code, said = rejected.code, rejected.sentence
    if code in _NOT_FOUND:
        return Problem(HTTPStatus.NOT_FOUND, code, said)
    if code in _WRONG:
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, code, said)
    if code == "bad_signature":
        return Problem(HTTPStatus.BAD_REQUEST, code, said)
    if code == "not_allowed":
        return Problem(HTTPStatus.FORBIDDEN, code, said)
    if code == "provider_unreachable":
        status = HTTPStatus.SERVICE_UNAVAILABLE
        return Problem(status, code, said, retry_after_s=PROVIDER_RETRY_S)
    return Problem(HTTPStatus.CONFLICT, code, said)


def granted(answer: _T | Rejected) -> _T:
    """The answer. Raises ``Problem`` for a refusal."""
    if isinstance(answer, Rejected):
        raise refused(answer)
    return answer


def asked(model: type[_M], request: web.Request) -> _M:
    """The query, checked; of a repeated name the first counts. Raises ``ValidationError``."""
    return model.model_validate({name: request.query[name] for name in request.query})


def number_of(request: web.Request, name: str) -> int:
    """A whole number of the path, from 1 to ``MAX_NUMBER``. Raises ``Problem`` 422."""
    written = request.match_info[name]
    if _NUMBER.fullmatch(written) is None:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "bad_request",
            sentence(
                "In the address, '{name}' must be a whole number from 1 to {most}.",
                name=name,
                most=MAX_NUMBER,
            ),
        )
    return int(written)


def body_of(model: type[_M], body: bytes) -> _M:
    """The body, checked; an empty one stands for an empty object. Raises ``ValidationError``."""
    return model.model_validate_json(body or b"{}")


def answered(answer: BaseModel) -> web.Response:
    """The answer as JSON; it is about money, and nobody keeps a copy."""
    return web.json_response(
        text=answer.model_dump_json(by_alias=True), headers={"Cache-Control": "no-store"}
    )


class Counter:
    """Who asks, and what is done once under their key."""

    def __init__(self, auth: Authenticator, keys: Keys) -> None:
        """Wire the ports."""
        self._auth = auth
        self._keys = keys

    async def member(self, request: web.Request) -> Caller:
        """Anybody of the team. Raises ``Problem`` 401."""
        return await self._auth.caller(request)

    async def admin(self, request: web.Request) -> Caller:
        """An admin of the team. Raises ``Problem`` 401 or 403."""
        caller = await self._auth.caller(request)
        require_admin(caller)
        return caller

    async def once(
        self, request: web.Request, work: Callable[[Caller, bytes], Awaitable[BaseModel]]
    ) -> web.Response:
        """Let an admin do something, once for each of their keys. Raises ``Problem``."""
        caller = await self.admin(request)
        body = await read_body(request)

        async def carried_out() -> web.Response:
            return answered(await work(caller, body))

        return await once(self._keys, request, caller, body, carried_out)
