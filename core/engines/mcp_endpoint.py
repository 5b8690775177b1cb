"""Where a Claude Code process finds our tools: a loopback address that speaks MCP over HTTP.

The protocol is served by the ``mcp`` library's own server; here its messages are carried
over the *streamable HTTP* transport of the Model Context Protocol (revision 2026-07-28,
section "Streamable HTTP"): a request is a POST, its answer an event stream that is kept open
for as long as a tool takes (an approval may take many minutes). Each process gets an address
and a secret of its own and can reach nothing but its own server.
"""

from __future__ import annotations

import asyncio
import contextvars
import hmac
import secrets
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from aiohttp import web
    from mcp.server.lowlevel import Server
    from mcp.types import JSONRPCMessage, JSONRPCRequest

_log = structlog.get_logger()
_MAX_BODY = 8 * 1024 * 1024
"""Bytes of a request. The longest answer of a model is a tenth of it."""
_KEEP_ALIVE_S = 15.0
_LOOPBACK = "127.0.0.1"
_KEEP_ALIVE = b": still at work\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class McpEndpointConfig:
    """How patient to be, in seconds."""

    keep_alive_s: float = _KEEP_ALIVE_S
    """Silence on an open answer after which a comment is sent: HTTP clients give up on it."""


class McpEndpoint:
    """The listener. It is there as long as there are processes, and shared by them."""

    def __init__(self, config: McpEndpointConfig | None = None) -> None:
        """Nothing is imported or opened before the first process."""
        self._config = config or McpEndpointConfig()
        self._changing = asyncio.Lock()
        self._routes: dict[str, McpRoute] = {}
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def open(self, server: Server[Any]) -> McpRoute:
        """Let one more process in, to this server. Raises OSError."""
        async with self._changing:
            if self._runner is None:
                # It serves every turn: its log lines must not carry the ids of the first.
                await asyncio.create_task(self._listen(), context=contextvars.Context())
            route = McpRoute(self, server, port=self._port, config=self._config)
            self._routes[route.id] = route
        return route

    async def forget(self, route: McpRoute) -> None:
        """Let a process in no more; with the last one, stop listening."""
        async with self._changing:
            self._routes.pop(route.id, None)
            if not self._routes and self._runner is not None:
                runner, self._runner = self._runner, None
                await runner.cleanup()

    @property
    def listening(self) -> bool:
        """Whether there is a socket."""
        return self._runner is not None

    async def _listen(self) -> None:
        from aiohttp import web  # noqa: PLC0415  # not needed at rest

        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_post("/{id}", self._serve)
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, _LOOPBACK, 0).start()
        except OSError:
            await runner.cleanup()
            raise
        self._port = runner.addresses[0][1]
        self._runner = runner

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Host") != f"{_LOOPBACK}:{self._port}":
            return _refused(HTTPStatus.MISDIRECTED_REQUEST)  # a name that was rebound to us
        if "Origin" in request.headers:
            return _refused(HTTPStatus.FORBIDDEN)  # a web page; the CLI sends none
        route = self._routes.get(request.match_info["id"])
        if route is None or not route.admits(request.headers.get("Authorization", "")):
            return _refused(HTTPStatus.FORBIDDEN)
        return await route.serve(request)


@dataclass(slots=True)
class _Open:
    """A request that waits for its answer."""

    answer: asyncio.Future[str | None]
    """As JSON; None when there will be none."""

    def settle(self, line: str | None) -> None:
        if not self.answer.done():
            self.answer.set_result(line)


@dataclass(slots=True, eq=False)
class _Session:
    """A running server, between two queues."""

    inbox: asyncio.Queue[JSONRPCMessage] = field(default_factory=asyncio.Queue)
    open: dict[str | int, _Open] = field(default_factory=dict)
    ended: bool = False

    async def run(self, server: Server[Any]) -> None:
        """Carry messages to the server and its answers back, until cancelled."""
        from mcp.shared.memory import (  # noqa: PLC0415  # heavy
            create_client_server_memory_streams,
        )
        from mcp.shared.message import SessionMessage  # noqa: PLC0415  # as above

        async with create_client_server_memory_streams() as ((read, write), (its_read, its_write)):

            async def pump() -> None:
                while True:
                    await write.send(SessionMessage(await self.inbox.get()))

            pumping = asyncio.create_task(pump())
            serving = asyncio.create_task(
                server.run(its_read, its_write, server.create_initialization_options())
            )
            try:
                async for said in read:
                    if isinstance(said, SessionMessage):
                        self._answered(said.message)
            finally:
                self.ended = True
                for waiting in self.open.values():
                    waiting.settle(None)
                for task in (pumping, serving):
                    task.cancel()
                for done in await asyncio.gather(pumping, serving, return_exceptions=True):
                    if isinstance(done, Exception):
                        _log.warning("mcp.server_failed", error=type(done).__name__)

    def _answered(self, message: JSONRPCMessage) -> None:
        """Hand over an answer. What is none (a notification) has no stream to go to."""
        from mcp.types import JSONRPCError, JSONRPCResponse  # noqa: PLC0415  # heavy

        if not isinstance(message, JSONRPCResponse | JSONRPCError) or message.id is None:
            return
        if (waiting := self.open.get(message.id)) is not None:
            waiting.settle(message.model_dump_json(by_alias=True, exclude_unset=True))


class McpRoute:
    """What one process may reach, as long as it lives."""

    def __init__(
        self, endpoint: McpEndpoint, server: Server[Any], *, port: int, config: McpEndpointConfig
    ) -> None:
        """Made by ``McpEndpoint.open``."""
        self.id = secrets.token_urlsafe(16)
        self.url = f"http://{_LOOPBACK}:{port}/{self.id}"
        self.authorization = f"Bearer {secrets.token_urlsafe(32)}"
        """The value of the header that the process must send."""
        self._endpoint = endpoint
        self._config = config
        self._session = _Session()
        self._running = asyncio.create_task(self._session.run(server))

    def __repr__(self) -> str:
        """Without the secrets."""
        return "McpRoute()"

    def admits(self, authorization: str) -> bool:
        """Whether this is the secret; compared in constant time."""
        shown = authorization.encode(errors="surrogateescape")
        return hmac.compare_digest(shown, self.authorization.encode())

    async def close(self) -> None:
        """Cancel what waits, and make address and secret void."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._endpoint.forget(self)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer one POST."""
        from aiohttp import web  # noqa: PLC0415  # loaded already
        from mcp.types import JSONRPCRequest, jsonrpc_message_adapter  # noqa: PLC0415  # heavy

        body = await request.read()
        try:
            message = jsonrpc_message_adapter.validate_json(body, by_name=False)
        except ValueError:
            return _refused(HTTPStatus.BAD_REQUEST)
        if self._session.ended:
            return _refused(HTTPStatus.GONE)
        if isinstance(message, JSONRPCRequest):
            if message.id in self._session.open:
                return _refused(HTTPStatus.CONFLICT)
            return await self._answer(request, message)
        self._tell(message)
        return web.Response(status=HTTPStatus.ACCEPTED)

    async def _answer(self, request: web.Request, asked: JSONRPCRequest) -> web.StreamResponse:
        """Keep the stream open until there is an answer."""
        from aiohttp import web  # noqa: PLC0415  # loaded already

        waiting = _Open(asyncio.get_running_loop().create_future())
        self._session.open[asked.id] = waiting
        self._session.inbox.put_nowait(asked)
        try:
            response = web.StreamResponse(
                headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
            )
            await response.prepare(request)
            while not waiting.answer.done():
                await asyncio.wait((waiting.answer,), timeout=self._config.keep_alive_s)
                if not waiting.answer.done():
                    await response.write(_KEEP_ALIVE)
            if (line := waiting.answer.result()) is not None:
                await response.write(f"event: message\ndata: {line}\n\n".encode())
            return response
        finally:
            del self._session.open[asked.id]
            if not waiting.answer.done():
                self._hung_up(asked)

    def _hung_up(self, asked: JSONRPCRequest) -> None:
        """Nobody can be given this answer any more: have the server cancel it."""
        from mcp.types import JSONRPCNotification  # noqa: PLC0415  # loaded already

        self._session.inbox.put_nowait(
            JSONRPCNotification(
                jsonrpc="2.0", method="notifications/cancelled", params={"requestId": asked.id}
            )
        )

    def _tell(self, message: JSONRPCMessage) -> None:
        """Pass on what needs no answer. A request that is cancelled gets none either."""
        from mcp.shared.jsonrpc_dispatcher import (  # noqa: PLC0415  # loaded already
            cancelled_request_id_from_params,
        )
        from mcp.types import JSONRPCNotification  # noqa: PLC0415  # as above

        self._session.inbox.put_nowait(message)
        if isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            cancelled = cancelled_request_id_from_params(message.params)
            waiting = self._session.open.get(cancelled) if cancelled is not None else None
            if waiting is not None:
                waiting.settle(None)


def _refused(status: HTTPStatus) -> web.Response:
    """Say no, and nothing about why."""
    from aiohttp import web  # noqa: PLC0415  # loaded already

    return web.Response(status=status)
