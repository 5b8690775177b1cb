"""Small sites of other people, on loopback: ``localhost`` is another site than ``127.0.0.1``."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

from aiohttp import web


@asynccontextmanager
async def served(documents: Mapping[str, str], **headers: str) -> AsyncGenerator[str]:
    """Serve HTML and scripts by path; yields the URL. Headers are those of every answer."""

    async def answer(request: web.Request) -> web.Response:
        text = documents.get(request.path)
        if request.path == "/favicon.ico":
            return web.Response(status=HTTPStatus.NO_CONTENT)
        if text is None:
            raise web.HTTPNotFound
        kind = "text/javascript" if request.path.endswith(".js") else "text/html"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(text=text, content_type=kind, charset="utf-8", headers=named)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
