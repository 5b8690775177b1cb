"""A turn's events as an HTTP answer: a stream, its last event, or a 429.

A status is sent once, before the first byte of a stream. So the headers wait a moment for the
first event that shows something: a turn that is refused at once for its quota is a 429, and
one that is refused later tells it in its last event.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from http import HTTPStatus
from typing import Final

from aiohttp import web

from bots.sse import KEEP_ALIVE, SseMessage, encode
from bots.web.problems import Problem
from bots.web.sign_in import ALIVE
from core.clock import Clock
from core.errors import StorageFailure
from core.metering import RefusalCode
from core.streams import REFUSED_EVENT, StreamEvent
from core.words import sentence

KEEP_ALIVE_S = 15.0
"""Silence after which a comment line is sent, so that proxies keep the stream open."""
HOLD_S = 1.0
"""How long the headers of a stream wait for its first event."""
NO_DATE_S = 3600
"""``Retry-After`` of a refusal that no date ends, such as an unpaid invoice, in seconds."""

ENDED: Final = sentence(
    "The session or token that asked has ended. Sign in again and read the answer in the "
    "conversation."
)
_SILENT: Final = frozenset({"turn", REFUSED_EVENT})
_REFUSALS: Final = frozenset(RefusalCode)


async def final_answer(
    request: web.Request, events: AsyncGenerator[StreamEvent, None], clock: Clock
) -> web.StreamResponse:
    """The last event alone.

    Raises ``Problem`` when the meter refused before anything was done, and 401 when the session
    or token that asked ended meanwhile: the wait may last for hours.
    """
    waiting = asyncio.create_task(_final(events, clock))
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=KEEP_ALIVE_S)
            if not await allowed(request):
                raise Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", ENDED)
            if done:
                return waiting.result()
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def _final(events: AsyncGenerator[StreamEvent, None], clock: Clock) -> web.StreamResponse:
    began = False
    async with aclosing(events):
        async for event in events:
            if event.name == "completed":
                problem = None if began else _refusal(event, clock)
                if problem is not None:
                    raise problem
                return web.json_response(text=event.data)
            began = began or event.name not in _SILENT | {"notice"}
    raise AssertionError  # a stream ends with "completed"


async def allowed(request: web.Request) -> bool:
    """Whether the session or token that asked goes on. A silent database is no answer."""
    alive = request.get(ALIVE)
    try:
        return alive is None or await alive.ask()
    except StorageFailure:
        return True


async def stream(
    request: web.Request,
    events: AsyncGenerator[StreamEvent, None],
    clock: Clock,
    *,
    hold_s: float = 0.0,
) -> web.StreamResponse:
    """All events as they come, unless the first is a refusal by the meter (``Problem``).

    Ends early when its reader's session or token does: whoever comes back for the rest is
    asked who they are.
    """
    answer = _Answer(request)
    telling = asyncio.create_task(_tell(answer, events, clock, hold_s))
    waking = asyncio.create_task(answer.keep_awake(hold_s))
    try:
        await asyncio.wait({telling, waking}, return_when=asyncio.FIRST_COMPLETED)
        if telling.done():
            telling.result()  # raises the refusal
        await _ended(telling, waking)
        await answer.response.write_eof()
    except ConnectionResetError:
        pass  # the client has gone; the turn goes on and can be resumed
    finally:
        await _ended(telling, waking)
    return answer.response


async def _ended(*tasks: asyncio.Task[None]) -> None:
    """Both have ended, and neither writes any more. What failed after the other is of no use."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _tell(
    answer: _Answer, events: AsyncGenerator[StreamEvent, None], clock: Clock, hold_s: float
) -> None:
    async with aclosing(events):
        async for event in events:
            if event.name == "completed" and hold_s and not answer.begun:
                problem = _refusal(event, clock)
                if problem is not None:
                    raise problem
            await answer.take(event)


class _Answer:
    """A streamed response that begins late."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._held: list[bytes] = []
        self._one_by_one = asyncio.Lock()
        self.begun = False
        self.response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",
            }
        )

    async def take(self, event: StreamEvent) -> None:
        """Send the event, or hold it back while it shows nothing and the headers wait."""
        message = SseMessage(event=event.name, data=event.data, id=str(event.id))
        self._held.append(encode(message))
        if self.begun or event.name not in _SILENT:
            await self._send()

    async def keep_awake(self, hold_s: float) -> None:
        """Begin when the wait is over, and let no silence last too long.

        Returns when the reader has gone, or may read no longer.
        """
        try:
            await asyncio.sleep(hold_s)
            await self._send()
            while True:
                await asyncio.sleep(KEEP_ALIVE_S)
                if not await allowed(self._request):
                    return
                await self.response.write(KEEP_ALIVE)
        except ConnectionResetError:
            return

    async def _send(self) -> None:
        self.begun = True
        async with self._one_by_one:
            if not self.response.prepared:
                await self.response.prepare(self._request)
            while self._held:
                await self.response.write(self._held.pop(0))


def _refusal(completed: StreamEvent, clock: Clock) -> Problem | None:
    """The problem document of a turn that the meter refused before a word was said."""
    data = json.loads(completed.data)
    if data["failure"] not in _REFUSALS or data["outcome"] != "refused" or data["reply"]:
        return None
    wait_s = NO_DATE_S
    if data["retry_at"] is not None:
        at_ms = int(datetime.fromisoformat(data["retry_at"]).timestamp() * 1000)
        wait_s = max(1, -(-(at_ms - clock.now_ms()) // 1000))
    status = HTTPStatus.TOO_MANY_REQUESTS
    return Problem(status, data["failure"], data["notice"], retry_after_s=wait_s)
