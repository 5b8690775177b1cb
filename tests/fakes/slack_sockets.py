"""The Socket Mode connections of the fake Slack."""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from tests.fakes.slack_model import App, Json

MAX_CONNECTIONS = 10


@dataclass(slots=True, kw_only=True, eq=False)
class Socket:
    """One connection and the envelopes it has not acknowledged."""

    number: int
    ws: web.WebSocketResponse
    request: web.Request
    waiting: dict[str, asyncio.Future[str]] = field(default_factory=dict)
    received: int = 0
    leaving: bool = False


class Sockets:
    """All connections. Envelopes go round robin; an unacknowledged one goes elsewhere next."""

    def __init__(self, app: App) -> None:
        """Nobody is connected."""
        self.open: list[Socket] = []
        self.mute = False
        """Acks are ignored, as when they are lost on their way."""
        self._app = app
        self._tickets: set[str] = set()
        self._numbers = itertools.count(1)
        self._last: dict[str, int] = {}

    def ticket(self) -> str:
        """A single-use WebSocket URL, for ``apps.connections.open``."""
        ticket = secrets.token_hex(8)
        self._tickets.add(ticket)
        base = self._app.base_url.replace("http", "ws", 1)
        return f"{base}/link/?ticket={ticket}&app_id={self._app.id}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=403, text="invalid ticket")
        self._tickets.discard(ticket)
        ws = web.WebSocketResponse(max_msg_size=0)
        await ws.prepare(request)
        if len(self.open) >= MAX_CONNECTIONS:
            await ws.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await ws.close()
            return ws
        socket = Socket(number=next(self._numbers), ws=ws, request=request)
        await ws.send_json(self._hello())
        self.open.append(socket)
        self._app.watch.changed()
        try:
            async for message in ws:
                if message.type == WSMsgType.TEXT:
                    self._acknowledge(socket, json.loads(message.data))
        finally:
            self._drop(socket)
        return ws

    async def send(self, envelope: Json, timeout_s: float) -> tuple[int, str]:
        """Send one envelope; (200, payload of the ack) or (0, ""). Events wait for a connection."""
        event_id = str(envelope["payload"].get("event_id", ""))
        while not (ready := self._ready()):
            if not event_id:
                return 0, ""
            await self._app.watch.until(self._ready, 3600)
        others = [item for item in ready if item.number != self._last.get(event_id)]
        socket = min(others or ready, key=lambda item: item.received)
        self._last[event_id] = socket.number
        socket.received += 1
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        socket.waiting[envelope["envelope_id"]] = future
        try:
            async with asyncio.timeout(timeout_s):
                await socket.ws.send_json(envelope)
                answer = await future
        except (TimeoutError, ConnectionError):
            return 0, ""
        finally:
            socket.waiting.pop(envelope["envelope_id"], None)
        self._last.pop(event_id, None)
        return 200, answer

    async def refresh(self, reason: str = "refresh_requested") -> None:
        """Ask every connection to be made anew, and close it, as Slack does every few hours."""
        for socket in list(self.open):
            socket.leaving = True
            debug = {"host": "applink-fake"}
            await socket.ws.send_json({"type": "disconnect", "reason": reason, "debug_info": debug})
            await socket.ws.close()

    def cut(self) -> None:
        """Break every connection without a word."""
        for socket in list(self.open):
            transport = socket.request.transport
            if transport is not None:
                transport.abort()

    async def close(self) -> None:
        """Close them all."""
        for socket in list(self.open):
            await socket.ws.close()

    def _ready(self) -> list[Socket]:
        return [item for item in self.open if not item.leaving]

    def _hello(self) -> Json:
        return {
            "type": "hello",
            "num_connections": len(self.open) + 1,
            "debug_info": {
                "host": "applink-fake",
                "build_number": 1,
                "approximate_connection_time": 18060,
            },
            "connection_info": {"app_id": self._app.id},
        }

    def _acknowledge(self, socket: Socket, data: Json) -> None:
        future = socket.waiting.get(data.get("envelope_id", ""))
        if future is not None and not future.done() and not self.mute:
            payload = data.get("payload")
            future.set_result(json.dumps(payload) if payload else "")

    def _drop(self, socket: Socket) -> None:
        if socket in self.open:
            self.open.remove(socket)
        for future in socket.waiting.values():
            if not future.done():
                future.set_exception(ConnectionError())
        self._app.watch.changed()
