"""When a process wrote each marker: words such as ``r0w12`` in the bytes it sends."""

from __future__ import annotations

import json
import re
import sys
import time
from asyncio import to_thread
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

_MARKER = re.compile(rb"r\d+w\d+")


class Stamps:
    """The first time that each marker was handed to a response, in epoch milliseconds."""

    def __init__(self) -> None:
        """Nothing was written."""
        self._at: dict[str, float] = {}

    def install(self) -> None:
        """From now on see what every streamed response of this process writes."""
        write = web.StreamResponse.write
        stamps = self._at

        async def stamped(response: web.StreamResponse, data: bytes) -> None:
            now = time.time() * 1000
            for marker in _MARKER.findall(data):
                stamps.setdefault(marker.decode(), now)
            await write(response, data)

        web.StreamResponse.write = stamped  # type: ignore[method-assign,assignment]  # a child's own

    def take(self) -> dict[str, float]:
        """What was seen since the last time."""
        taken = dict(self._at)
        self._at.clear()
        return taken


async def serve(greeting: object, answer: Callable[[dict[str, Any]], Awaitable[object]]) -> None:
    """In a child: greet with one line of JSON, then answer each question with one."""
    print(json.dumps(greeting), flush=True)
    while line := await to_thread(sys.stdin.readline):
        print(json.dumps(await answer(json.loads(line))), flush=True)
