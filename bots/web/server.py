"""The aiohttp application: routes from all edges, one error form, one size limit."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import web, web_response

from bots.web.headers import protect
from bots.web.openapi import document
from bots.web.problems import problems
from core.errors import It0Error

HEAD_S = 20.0
"""A connection without a complete request for this long is closed. Longer than the 15 s for
which our own clients keep an idle connection, so that it is they who close it."""
SERVER = "it0"
"""What the ``Server`` header says: no versions."""
MAX_BODY = 15 * 1024 * 1024
"""10 MB of attachments in Base64, 100,000 characters of text, and the JSON around them."""


class CannotListen(It0Error):
    """The address is taken or not ours; the sentence says which."""

    code = "cannot_listen"


Prepare = Callable[[web.Request, web.StreamResponse], Awaitable[None]]
"""Completes the headers of an answer before its first byte is sent."""


def build(
    routes: Sequence[web.RouteDef],
    *,
    hooks: Sequence[web.RouteDef] = (),
    prepare: Sequence[Prepare] = (),
    version: str,
) -> web.Application:
    """An application with these routes and their description at ``/openapi.json``.

    ``hooks`` are called by other services in their own form; they are not described.
    """
    application = web.Application(middlewares=[problems], client_max_size=MAX_BODY)
    application.on_response_prepare.extend([*prepare, protect])

    async def openapi(_request: web.Request) -> web.Response:
        # Made on request: few ask, and at start it would cost everybody.
        return web.json_response(document(routes, version=version))

    application.add_routes([*routes, *hooks, web.get("/openapi.json", openapi, allow_head=False)])
    return application


@asynccontextmanager
async def listening(
    application: web.Application, host: str, port: int
) -> AsyncGenerator[str, None]:
    """Serve until left; yields the URL. Port 0 takes a free one. Raises ``CannotListen``."""
    # The one place that also reaches what aiohttp answers before a request can be parsed.
    web_response.SERVER_SOFTWARE = SERVER  # type: ignore[attr-defined]  # not exported
    runner = web.AppRunner(
        application,
        access_log=None,
        shutdown_timeout=1,
        keepalive_timeout=HEAD_S,
        auto_decompress=False,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            message = (
                f"IT0 cannot listen on {host}:{port}: {error.strerror or error}. Stop what "
                "uses the port, or choose another one with IT0_HTTP_PORT."
            )
            raise CannotListen(message) from error
        address = runner.addresses[0]
        shown = f"[{address[0]}]" if ":" in str(address[0]) else address[0]
        yield f"http://{shown}:{address[1]}"
    finally:
        await runner.cleanup()
