"""``Idempotency-Key``: a repeated POST is answered as it was answered first.

Answers are kept for 24 hours, refusals included; what failed on our side (5xx) or came too
early (429) is not kept, so that the client may try again with the same key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, Protocol

from aiohttp import web

from bots.web.auth import Caller
from bots.web.problems import Problem, told
from bots.web.requests import idempotency_key
from core.idempotency import Claim, Claimed, InFlight, Kept, Keyed, Reused
from core.words import sentence

RETRY_S: Final = 2
Work = Callable[[], Awaitable[web.Response]]


class Keys(Protocol):
    """Where keys and answers are kept."""

    async def claim(self, request: Keyed) -> Claim:
        """Take the key for this request, or say what became of the one that took it."""

    async def keep(self, claimed: Claimed, status: int, answer: str) -> None:
        """Keep the answer. A claim that was taken over meanwhile keeps nothing."""

    async def release(self, claimed: Claimed) -> None:
        """Let the key go, as if it had never been sent."""


async def once(
    keys: Keys, request: web.Request, caller: Caller, body: bytes, work: Work
) -> web.Response:
    """Do the work, or answer as it was answered before. Without a key it is simply done.

    Raises ``Problem`` 409 while the same request is carried out, 422 for a key of another one.
    """
    key = idempotency_key(request)
    if key is None:
        return await work()
    if not key:  # every request would have the same one
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "idempotency_key_empty",
            sentence("The Idempotency-Key is empty. Use a new key for each request."),
        )
    claim = await keys.claim(_keyed(request, caller, key, body))
    match claim:
        case Claimed():
            return await _carried_out(keys, request, claim, work)
        case Kept():
            return _again(claim)
        case Reused():
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                sentence(
                    "This Idempotency-Key was sent with another request. Use a new key for each."
                ),
            )
        case InFlight():
            raise Problem(
                HTTPStatus.CONFLICT,
                "request_in_flight",
                sentence(
                    "The request with this Idempotency-Key is being carried out. Ask again shortly."
                ),
                retry_after_s=RETRY_S,
            )


async def _carried_out(
    keys: Keys, request: web.Request, claim: Claimed, work: Work
) -> web.Response:
    try:
        response = await work()
    except Problem as problem:  # kept as it was told: in the reader's language
        response = await told(request, problem)
        await _ended(keys, claim, response)
        return response
    except Exception:
        await keys.release(claim)
        raise
    await _ended(keys, claim, response)
    return response


async def _ended(keys: Keys, claim: Claimed, response: web.Response) -> None:
    if _lasting(response.status):
        await keys.keep(claim, response.status, response.text or "")
    else:
        await keys.release(claim)


def _lasting(status: int) -> bool:
    return status < HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.TOO_MANY_REQUESTS


def _again(kept: Kept) -> web.Response:
    problem = kept.status >= HTTPStatus.BAD_REQUEST
    return web.Response(
        status=kept.status,
        text=kept.answer,
        content_type="application/problem+json" if problem else "application/json",
        headers={"Cache-Control": "no-store", "Idempotent-Replayed": "true"},
    )


def _keyed(request: web.Request, caller: Caller, key: str, body: bytes) -> Keyed:
    digest = hashlib.sha256()
    for part in (request.method.encode(), request.path_qs.encode(), body):
        digest.update(len(part).to_bytes(8))  # no part can be read as the end of another
        digest.update(part)
    return Keyed(
        tenant_id=caller.user.tenant_id,
        user_id=caller.user.id,
        key=key,
        request_hash=digest.hexdigest(),
    )
