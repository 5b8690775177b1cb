"""A chat platform on loopback that remembers everything, and the sink that speaks to it.

``async with FakePlatform() as platform`` runs in the test's own process, so it survives the
workers that are killed around it. It waits a little before and after each effect, so that a
kill falls between the effect and its answer, too. It keeps every message with its whole
history and every call with its outcome; what it shows is what the user would see.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from core.sinks import DeliveryFailed, Destination, SinkLimits, View

MAX_CHARS = 400
"""Short, so that long replies need parts."""


@dataclass(slots=True, kw_only=True)
class Message:
    """One message of the platform. ``texts`` is what it showed, with the time of each."""

    id: str
    conversation: str
    turn: str
    part: int
    worker: str
    texts: list[tuple[float, str]]
    approvals: list[str] = field(default_factory=list)
    """Whose buttons it shows."""

    @property
    def text(self) -> str:
        """What it shows now."""
        return self.texts[-1][1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request that reached the platform."""

    at: float
    kind: str
    turn: str
    part: int
    status: int
    worker: str


@dataclass(slots=True, kw_only=True)
class Weather:
    """What the platform does to its callers. Change it while it runs."""

    down: bool = False
    """Refuses every call with 503, without an effect."""
    refuses: bool = False
    """Refuses every call for good (the bot was removed), without an effect."""
    limited: int = 0
    """This many of the next calls are answered 429, without an effect."""
    limited_share: float = 0.0
    """The share of all calls that are answered 429."""
    retry_after_s: float = 0.02
    lost_answers: int = 0
    """This many of the next posts take effect, but their answer is lost."""


class FakePlatform:
    """The server."""

    def __init__(self, *, max_delay_s: float = 0.0, seed: int = 0) -> None:
        """``max_delay_s`` is the longest random pause before, and after, an effect."""
        self.weather = Weather()
        self.messages: list[Message] = []
        self.calls: list[Call] = []
        self.effects: list[tuple[float, str]] = []
        """What the mutating tool did: the time and the key of each run."""
        self.reads: Counter[str] = Counter()
        self.found = 0
        """How often a look-up found a post."""
        self.url = ""
        self._by_id: dict[str, Message] = {}
        self._max_delay_s = max_delay_s
        self._random = random.Random(seed)
        app = web.Application()
        app.router.add_post("/post", self._post)
        app.router.add_post("/edit", self._edit)
        app.router.add_post("/find", self._find)
        app.router.add_post("/effect", self._effect)
        app.router.add_post("/read", self._read)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        """Listen."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=512).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    # -- what a test asks ---------------------------------------------------------------

    def shown(self, turn: str) -> list[Message]:
        """Every message of a turn, in the order of posting."""
        return [message for message in self.messages if message.turn == turn]

    def texts(self, turn: str) -> list[str]:
        """What the user sees of a turn."""
        return [message.text for message in self.shown(turn)]

    def count(self, kind: str, turn: str | None = None) -> int:
        """How many calls of a kind had an effect."""
        return sum(
            call.kind == kind and call.status == 200 and turn in {None, call.turn}
            for call in self.calls
        )

    # -- the API ------------------------------------------------------------------------

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        refusal = await self._refusal(request, "post", body["turn"], body["part"])
        if refusal is not None:
            return refusal
        message = Message(
            id=f"m{len(self.messages) + 1}",
            conversation=body["conversation"],
            turn=body["turn"],
            part=body["part"],
            worker=body["worker"],
            texts=[(time.monotonic(), body["text"])],
            approvals=body["approvals"].split(),
        )
        self.messages.append(message)
        self._by_id[message.id] = message
        self._note(body, "post", body["turn"], body["part"])
        await self._pause()
        if self.weather.lost_answers:
            self.weather.lost_answers -= 1
            return web.Response(status=502)
        return web.json_response({"id": message.id})

    async def _edit(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        message = self._by_id[body["id"]]
        refusal = await self._refusal(request, "edit", message.turn, message.part)
        if refusal is not None:
            return refusal
        message.texts.append((time.monotonic(), body["text"]))
        message.approvals = body["approvals"].split()
        message.worker = body["worker"]
        self._note(body, "edit", message.turn, message.part)
        await self._pause()
        return web.json_response({})

    async def _find(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        refusal = await self._refusal(request, "find", body["turn"], body["part"])
        if refusal is not None:
            return refusal
        self._note(body, "find", body["turn"], body["part"])
        posts = [item for item in self.shown(body["turn"]) if item.part == body["part"]]
        self.found += bool(posts)
        return web.json_response({"id": posts[0].id if posts else None})

    async def _effect(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        await self._pause()
        self.effects.append((time.monotonic(), body["key"]))
        await self._pause()
        return web.json_response({})

    async def _read(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        await self._pause()
        self.reads[body["key"]] += 1
        return web.json_response({"effects": len(self.effects)})

    async def _refusal(
        self, request: web.Request, kind: str, turn: str, part: int
    ) -> web.StreamResponse | None:
        await self._pause()
        weather, headers = self.weather, {}
        if weather.refuses:
            status = 403
        elif weather.down:
            status = 503
        elif weather.limited or self._random.random() < weather.limited_share:
            weather.limited = max(0, weather.limited - 1)
            status, headers = 429, {"Retry-After": str(weather.retry_after_s)}
        else:
            return None
        self._note(await request.json(), kind, turn, part, status)
        return web.Response(status=status, headers=headers)

    def _note(
        self, body: dict[str, str], kind: str, turn: str, part: int, status: int = 200
    ) -> None:
        self.calls.append(
            Call(
                at=time.monotonic(),
                kind=kind,
                turn=turn,
                part=part,
                status=status,
                worker=body["worker"],
            )
        )

    async def _pause(self) -> None:
        if self._max_delay_s:
            await asyncio.sleep(self._random.uniform(0, self._max_delay_s))


@dataclass(slots=True, kw_only=True)
class HttpSink:
    """``ReplySink`` over HTTP to a ``FakePlatform``; one per event loop, close it.

    ``can_find`` tells a platform that can look posts up (Slack) from one that cannot (Telegram).
    """

    url: str
    can_find: bool = True
    worker: str = "test"
    edit_interval_s: float = 0.05
    max_chars: int = MAX_CHARS
    _session: aiohttp.ClientSession = field(
        default_factory=lambda: aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=20), connector=aiohttp.TCPConnector(limit=0)
        )
    )

    @property
    def limits(self) -> SinkLimits:
        """Short messages, a quick pace."""
        return SinkLimits(max_chars=self.max_chars, edit_interval_s=self.edit_interval_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def draft(self, to: Destination, view: View) -> bool:
        """This platform has no drafts."""
        return False

    async def post(self, to: Destination, part: int, view: View) -> str:
        """Post a message that carries its turn and part."""
        body: dict[str, str | int] = {
            "conversation": to.address.thread,
            "turn": to.turn_id,
            "part": part,
            "text": view.text,
            "approvals": " ".join(view.approvals),
        }
        answer = await self.call("/post", body)
        return str(answer["id"])

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """Replace a message's text."""
        approvals = " ".join(view.approvals)
        await self.call("/edit", {"id": ref, "text": view.text, "approvals": approvals})

    async def find(self, to: Destination, part: int) -> str | None:
        """Look a post up; None also where the platform cannot."""
        if not self.can_find:
            return None
        answer = await self.call("/find", {"turn": to.turn_id, "part": part})
        return None if answer["id"] is None else str(answer["id"])

    async def call(self, path: str, body: dict[str, str | int]) -> dict[str, str | int | None]:
        """Send one request. Raises ``DeliveryFailed``."""
        try:
            async with self._session.post(
                self.url + path, json={**body, "worker": self.worker}
            ) as answer:
                if answer.status == 200:
                    data: dict[str, str | int | None] = await answer.json()
                    return data
                pause = answer.headers.get("Retry-After")
                raise DeliveryFailed(
                    f"The platform answered {answer.status}.",
                    retry_after_s=None if pause is None else float(pause),
                    permanent=answer.status == 403,
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise DeliveryFailed(
                f"The platform did not answer: {type(error).__name__}.",
                retry_after_s=None,
                permanent=False,
            ) from error
