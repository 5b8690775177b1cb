"""The fake Messages API in its own process; it also tells when each request arrived.

``GET /arrivals`` answers with ``{first word of the prompt: time.monotonic() in seconds}``;
that clock is the same for all processes of a Linux machine. The time is taken when the
request's head has been read, before its body.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from aiohttp import web

from tests.fakes.anthropic import FakeAnthropic


class Upstream(FakeAnthropic):
    """The fake, with arrival times."""

    def __init__(self, *, chunk_s: float) -> None:
        """Listen on a free port; ``chunk_s`` is the pause between two deltas."""
        super().__init__(chunk_s=chunk_s, keep=64)
        self._arrivals: dict[str, float] = {}
        self._runner.app.router.add_get("/arrivals", self._tell)

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        arrived = time.monotonic()
        request["arrived"] = arrived
        return await super()._messages(request)

    async def _stream(self, request, plan, answer, seen):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202  # the fake's own types
        self._arrivals[seen.prompt.split(None, 1)[0]] = request["arrived"]
        return await super()._stream(request, plan, answer, seen)

    async def _tell(self, _request: web.Request) -> web.Response:
        told, self._arrivals = self._arrivals, {}
        return web.json_response(told)


async def _main(chunk_s: float) -> None:
    async with Upstream(chunk_s=chunk_s) as fake:
        print(fake.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunk-ms", type=float, default=0.0)
    asyncio.run(_main(parser.parse_args().chunk_ms / 1000))
