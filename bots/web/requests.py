"""What is read of a request: its body, within limits of time, and what it accepts."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from aiohttp import web

from bots.web.problems import Problem
from core.words import sentence

BODY_S: Final = 60.0
"""A whole body must have come within this time; 15 MB need 2 Mbit/s."""
MAX_KEY_CHARS: Final = 200
NO_NUL: Final = r"^[^\x00]*$"
"""What texts of billing look like: PostgreSQL stores no NUL, and no name has one."""


async def read_body(request: web.Request, most: int | None = None) -> bytes:
    """The body. Raises ``Problem`` 408 when it comes too slowly, 415 when it is compressed.

    ``most`` bytes are kept at most (413); where it is missing, what the server takes at all.
    """
    if request.headers.get("Content-Encoding", "identity").strip().casefold() != "identity":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            sentence("Send the body as it is, without Content-Encoding."),
        )
    try:
        async with asyncio.timeout(BODY_S):
            return await (request.read() if most is None else read_short(request, most))
    except TimeoutError:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT,
            "request_timeout",
            sentence(
                "The body did not arrive within {seconds:g} seconds. Send it again.",
                seconds=BODY_S,
            ),
        ) from None


async def read_short(request: web.Request, most: int) -> bytes:
    """A body that strangers send: no more of it is held than it may have; else ``Problem`` 413."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > most:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "content_too_large",
                sentence("The body may have at most {most:,} bytes here.", most=most),
            )
    return bytes(body)


def idempotency_key(request: web.Request) -> str | None:
    """The client's key. Raises ``Problem`` 422 for one that cannot be kept as it is.

    Bytes that are not UTF-8 arrive as surrogates, which are not printable.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not key.isprintable():
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "idempotency_key_unprintable",
            sentence("The Idempotency-Key may have printable characters in UTF-8 only."),
        )
    if len(key) > MAX_KEY_CHARS:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "idempotency_key_too_long",
            sentence(
                "The Idempotency-Key has {chars:,} characters; at most {most} are accepted.",
                chars=len(key),
                most=MAX_KEY_CHARS,
            ),
        )
    return key


def prefers_json(accept: str) -> bool:
    """Whether JSON is preferred over an event stream (RFC 9110, section 12.5.1).

    Of two that are as welcome, the one that is named more exactly counts; a client that
    does not care gets the stream.
    """
    return _rank(accept, "application/json") > _rank(accept, "text/event-stream")


def _rank(accept: str, media_type: str) -> tuple[float, int]:
    """How welcome a type is: its quality, and how exactly it is named."""
    ranges = (media_type, media_type.partition("/")[0] + "/*", "*/*")
    best = (-1, 0.0)
    for part in accept.split(","):
        name, *parameters = (word.strip().casefold() for word in part.split(";"))
        if name in ranges:
            best = max(best, (2 - ranges.index(name), _quality(parameters)))
    exactness, quality = best
    return quality, exactness if quality > 0 else 0


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
