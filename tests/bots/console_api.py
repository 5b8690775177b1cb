"""A small server that speaks the agent API's contract, with drops and restarts on demand.

Run as a program it starts the server and a chat in one process, for tests through a pty.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from bots.console import ChatOptions, ConsoleClient, run_chat
from bots.console_terminal import system_terminal
from bots.sse import KEEP_ALIVE, SseMessage, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Step = tuple[str, dict[str, object]]
"""An event's name and data; ``hold`` waits for /stop, ``pause`` for ``seconds``.

``decision`` waits until somebody has decided.
"""


def completed(reply: str, outcome: str = "answered", **more: object) -> Step:
    """The last event of a turn."""
    data: dict[str, object] = {"outcome": outcome, "reply": reply, "notice": "", "usage": {}}
    return "completed", data | {"conversation_id": "conv_1", "engine": "runbook"} | more


def answer(text: str) -> list[Step]:
    """A plain answer, in two pieces."""
    half = len(text) // 2
    return [
        ("text_delta", {"text": text[:half]}),
        ("text_delta", {"text": text[half:]}),
        completed(text),
    ]


@dataclass
class ConsoleApi:
    """The server's state: scripted answers by message text, and what arrived."""

    scripts: dict[str, list[Step]] = field(default_factory=dict)
    past: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    drops: list[int] = field(default_factory=list)
    """For each stream in turn: after how many events it breaks off; -1 is before the answer."""
    refusals: list[tuple[int, dict[str, str], dict[str, str]]] = field(default_factory=list)
    """Status, headers and problem document for the next requests."""
    posts: list[dict[str, object]] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    turns: dict[str, list[Step]] = field(default_factory=dict)
    resumed: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    decisions: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    """Approval ids and bodies."""
    not_yours: dict[str, str] | None = None
    """The problem document for whoever decides."""
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    runner: web.AppRunner | None = None
    port: int = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port as before after a restart."""
        app = web.Application(client_max_size=20_000_000)
        app.router.add_post("/api/v1/agent/turns", self._post)
        app.router.add_get("/api/v1/agent/turns/{turn}/events", self._resume)
        app.router.add_post("/api/v1/approvals/{id}/decision", self._decide)
        app.router.add_get("/api/v1/conversations", self._conversations)
        app.router.add_get("/api/v1/conversations/{id}/messages", self._messages)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection and stop to listen."""
        if self.runner:
            await self.runner.cleanup()

    async def _post(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization", ""))
        if self.refusals:
            status, headers, problem = self.refusals.pop(0)
            return web.json_response(
                problem, status=status, headers=headers, content_type="application/problem+json"
            )
        body = await request.json()
        key = request.headers["Idempotency-Key"]
        if key not in self.keys:
            self.posts.append(body)
            self.keys[key] = f"turn_{len(self.keys) + 1}"
            self.turns[self.keys[key]] = self._script(body)
        return await self._stream(request, self.keys[key], 0)

    def _script(self, body: dict[str, object]) -> list[Step]:
        text = str(body["text"])
        if text == "/stop":
            self.stopped.set()
            return [completed("Stopped.")]
        return self.scripts.get(text) or answer(f"You said: {text}")

    async def _resume(self, request: web.Request) -> web.StreamResponse:
        last = request.headers.get("Last-Event-ID", "1--1")
        self.resumed.append(last)
        turn = request.match_info["turn"]
        return await self._stream(request, turn, int(last.split("-")[1]) + 1)

    async def _stream(self, request: web.Request, turn: str, start: int) -> web.StreamResponse:
        drop = self.drops.pop(0) if self.drops else None
        if drop == -1 and request.transport:
            request.transport.abort()
            return web.Response()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        accepted: Step = (
            "turn",
            {"turn_id": turn, "conversation_id": "conv_1", "engine": "runbook"},
        )
        async for number, (name, data) in self._due([accepted, *self.turns[turn]], start):
            if drop is not None and number - start >= drop:
                if request.transport:
                    request.transport.abort()
                return response
            message = SseMessage(event=name, data=json.dumps(data), id=f"1-{number}")
            await response.write(encode(message) + KEEP_ALIVE)
        return response

    async def _due(self, steps: list[Step], start: int) -> AsyncIterator[tuple[int, Step]]:
        for number, step in enumerate(steps):
            if number < start:
                continue
            if step[0] == "hold":
                await self.stopped.wait()
            elif step[0] == "decision":
                await self.decided.wait()
            elif step[0] == "pause":
                await asyncio.sleep(float(str(step[1]["seconds"])))
            else:
                yield number, step

    async def _decide(self, request: web.Request) -> web.Response:
        self.decisions.append((request.match_info["id"], await request.json()))
        self.decided.set()
        if self.not_yours is not None:
            return web.json_response(
                self.not_yours, status=403, content_type="application/problem+json"
            )
        return web.json_response({})

    async def _conversations(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers.get("Authorization", ""))
        found = [
            {"id": name, "title": f"About {name}", "updated_at": "2026-01-01", "platform": "cli"}
            for name in self.past
        ]
        return web.json_response({"conversations": found})

    async def _messages(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if name not in self.past:
            problem = {"title": "Not found", "detail": f"There is no conversation {name}."}
            return web.json_response(problem, status=404, content_type="application/problem+json")
        return web.json_response(
            {
                "messages": [
                    {"role": role, "text": text, "at": "2026-01-01", "turn_id": "t"}
                    for role, text in self.past[name]
                ]
            }
        )


async def _main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--scripts", type=Path)
    options.add_argument("--history", type=Path)
    options.add_argument("--once")
    options.add_argument("--conversation")
    options.add_argument("--drop", type=int, action="append", default=[])
    arguments = options.parse_args()
    api = ConsoleApi(drops=arguments.drop)
    if arguments.scripts:
        stored = json.loads(arguments.scripts.read_text())
        api.scripts = {text: [tuple(step) for step in steps] for text, steps in stored.items()}
    api.past["conv_1"] = [("user", "how is web-3?"), ("assistant", "**web-3** is fine.")]
    api.past["conv_2"] = [("user", "old question"), ("assistant", "old answer")]
    await api.start()
    async with ConsoleClient(api.url, lambda: "token", first_wait_s=0.01) as client:
        chat = ChatOptions(once=arguments.once, conversation_id=arguments.conversation)
        code = await run_chat(client, chat, system_terminal(arguments.history))
    await api.stop()
    return code


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
