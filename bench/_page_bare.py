"""The other side of the page's benchmark: the model provider, and a page with nothing in it.

The bare page appends the text of each event of an ``EventSource`` to one element, which is the
least that a page can do. Both answer with the deltas that they were asked for, at one pace.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from bench._page_stamps import Stamps, serve
from tests.browser.provider import Provider

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Bare</title>
<main><p id="text"></p></main><script src="/bare.js"></script>"""
_SCRIPT = """
const text = document.getElementById("text");
window.begin = () => {
  const source = new EventSource("/events");
  source.onmessage = (event) => { text.textContent += JSON.parse(event.data).text; };
  source.addEventListener("end", () => source.close());
};
"""


class Bare:
    """The bare page's server."""

    def __init__(self) -> None:
        """Nothing is asked for yet."""
        self.deltas: list[str] = []
        self.pause_s = 0.0
        self.application = web.Application()
        self.application.router.add_get("/", self._page)
        self.application.router.add_get("/bare.js", self._script)
        self.application.router.add_get("/events", self._events)

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(text=_PAGE, content_type="text/html")

    async def _script(self, _request: web.Request) -> web.Response:
        return web.Response(text=_SCRIPT, content_type="text/javascript")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for delta in self.deltas:
            await asyncio.sleep(self.pause_s)
            await response.write(f"data: {json.dumps({'text': delta})}\n\n".encode())
        await response.write(b"event: end\ndata: {}\n\n")
        return response


async def _main() -> None:
    stamps = Stamps()
    stamps.install()
    bare = Bare()
    runner = web.AppRunner(bare.application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with Provider() as provider:

        async def answer(question: dict[str, Any]) -> object:
            """Take the deltas of the next answer, or tell when the last ones were written."""
            if "deltas" not in question:
                return stamps.take()
            bare.deltas, bare.pause_s = question["deltas"], question["pause_s"]
            provider.script(question["key"], bare.deltas, pause_s=bare.pause_s)
            return {}

        port = runner.addresses[0][1]
        await serve({"provider": provider.url, "bare": f"http://127.0.0.1:{port}"}, answer)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_main())
