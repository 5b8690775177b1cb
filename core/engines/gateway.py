"""The gateway between the Claude Code CLI and the provider: admits, meters, hides the key.

A child process gets a loopback address and a secret of its own instead of the provider's
key. Each model call that it makes is admitted by the meter of the turn that it serves, its
usage is read as the answer passes, and it is tried again within the bounds of all engines.
"""

from __future__ import annotations

import asyncio
import contextvars
import hmac
import secrets
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from core.engines.gateway_turn import (
    CallBegan,
    CallFailed,
    CallFinished,
    CallRefused,
    GatewayEvent,
    RoutedCall,
    RouteTurn,
    RunningTurn,
)

if TYPE_CHECKING:
    from aiohttp import web

    from core.engines.gateway_relay import Relay
    from core.engines.gateway_upstream import Upstream

__all__ = [
    "CallBegan",
    "CallFailed",
    "CallFinished",
    "CallRefused",
    "Gateway",
    "GatewayConfig",
    "GatewayEvent",
    "Route",
    "RouteTurn",
    "RoutedCall",
]

_PREFIX = "sk-ant-it0-"
_MAX_BODY = 64 * 1024 * 1024
"""Twice what the provider takes, which says so in its own words."""
_MESSAGES = "/v1/messages"
_COUNT = "/v1/messages/count_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """How to reach the provider, and how patient to be: as ``ClaudeApiConfig``, in seconds."""

    api_key: str | None = field(default=None, repr=False)
    """The installation's; None when each tenant brings its own."""
    base_url: str | None = None
    ca_file: Path | None = None
    stall_timeout_s: float = 60
    max_tries: int = 3
    retry_after_cap_s: float = 20
    give_up_after_s: float = 90
    backoff_s: float = 0.5
    max_in_flight: int = 64
    """Model calls at one time, over all children; further ones wait."""


class Route:
    """What one child process may use, and which turn it works for."""

    def __init__(self, gateway: Gateway, url: str) -> None:
        """Made by ``Gateway.open``."""
        self.url = url
        """The child's ANTHROPIC_BASE_URL."""
        self.id = secrets.token_hex(8)
        self.secret = f"{_PREFIX}{self.id}-{secrets.token_urlsafe(32)}"
        """The child's ANTHROPIC_API_KEY."""
        self._gateway = gateway
        self._turn: RunningTurn | None = None
        self._last: RunningTurn | None = None

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Route(id={self.id!r}, url={self.url!r})"

    @property
    def running(self) -> RunningTurn | None:
        """The turn whose requests these are now."""
        return self._turn

    @property
    def active(self) -> bool:
        """Whether a request of the child is being answered."""
        return self._turn is not None and any(not task.done() for task in self._turn.work)

    def begin(self, turn: RouteTurn) -> None:
        """From now on the child's requests belong to this turn."""
        if self._turn is not None:
            raise RuntimeError("the turn before has not ended")
        self._turn = self._last = RunningTurn(given=turn)

    async def end(self) -> None:
        """No more requests for the turn: cut those in flight, wait until they are metered."""
        turn, self._turn = self._turn, None
        if turn is not None:
            await turn.stop()

    @property
    def error(self) -> Exception | None:
        """What the meter of the running turn, or of the last one, raised: raise it as it is.

        ``CallFailed`` was told as well, with the reason ``not_admitted``.
        """
        return self._last.error if self._last is not None else None

    def close(self) -> None:
        """Make the secret void."""
        self._gateway.forget(self)

    def call(self, message_id: str) -> RoutedCall | None:
        """A call of the running turn, or of the last one, by the provider's message id."""
        return self._last.calls.get(message_id) if self._last is not None else None


class Gateway:
    """The loopback server. One instance serves all children of this process."""

    def __init__(self, config: GatewayConfig) -> None:
        """Keep the configuration; nothing is imported or opened yet."""
        self._config = config
        self._starting = asyncio.Lock()
        self._routes: dict[str, Route] = {}
        self._url = ""
        self._relay: Relay | None = None
        self._upstream: Upstream | None = None
        self._runner: web.AppRunner | None = None
        self._opening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen on a free loopback port; again and at the same time does no harm.

        Raises ``EngineFailure`` when the CA file cannot be used.
        """
        async with self._starting:
            if self._runner is None:
                # Whoever is cancelled meanwhile leaves nothing half open behind.
                self._opening = self._opening or asyncio.create_task(
                    # It serves every turn: its log lines must not carry the ids of the first.
                    self._begin(),
                    context=contextvars.Context(),
                )
                await asyncio.shield(self._opening)

    async def aclose(self) -> None:
        """End what is in flight and stop listening."""
        for route in list(self._routes.values()):
            await route.end()
            route.close()
        async with self._starting:
            if self._opening is not None:
                await asyncio.gather(self._opening, return_exceptions=True)
            if self._runner is not None:
                await self._runner.cleanup()
                self._runner = None
            if self._upstream is not None:
                await self._upstream.aclose()
                self._upstream = None

    def open(self) -> Route:
        """Let one more child in. The gateway must have been started."""
        if self._runner is None:
            raise RuntimeError("the gateway is not started")
        route = Route(self, self._url)
        self._routes[route.id] = route
        return route

    def forget(self, route: Route) -> None:
        """Let a child in no more."""
        self._routes.pop(route.id, None)

    async def _begin(self) -> None:
        try:
            await self._connect()
            await self._listen()
        finally:
            self._opening = None

    async def _connect(self) -> None:
        from core.engines import gateway_relay, gateway_upstream  # noqa: PLC0415  # aiohttp

        config = self._config
        self._upstream = gateway_upstream.Upstream(
            base_url=config.base_url,
            ca_file=config.ca_file,
            stall_timeout_s=config.stall_timeout_s,
        )
        await self._upstream.start()
        self._relay = gateway_relay.Relay(
            self._upstream, config, api_key=config.api_key, max_in_flight=config.max_in_flight
        )

    async def _listen(self) -> None:
        from aiohttp import web  # noqa: PLC0415  # not needed at rest

        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("GET", "/api/hello", _hello)
        app.router.add_route("HEAD", "/api/hello", _hello)
        app.router.add_post(_MESSAGES, self._answer)
        app.router.add_post(_COUNT, self._answer)
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._runner = runner

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Find whose request it is, and answer it as a part of that turn's work."""
        from core.engines.gateway_relay import cut, error_answer  # noqa: PLC0415  # aiohttp

        route = self._route_of(request)
        if route is None:
            return error_answer(HTTPStatus.UNAUTHORIZED, "authentication_error", "Unknown key.")
        turn = route.running
        if turn is None:
            return error_answer(HTTPStatus.FORBIDDEN, "permission_error", "No turn is running.")
        assert self._relay is not None  # noqa: S101  # it listens
        serve = self._relay.messages if request.path == _MESSAGES else self._relay.count_tokens
        work: asyncio.Task[web.StreamResponse] = asyncio.create_task(serve(request, turn))
        turn.work.add(work)
        work.add_done_callback(turn.work.discard)
        try:
            return await work
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # the child hung up
                raise
            return cut(request)

    def _route_of(self, request: web.Request) -> Route | None:
        """The route whose secret the request carries; compared in constant time."""
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        shown = request.headers.get("x-api-key") or bearer
        route = self._routes.get(shown.removeprefix(_PREFIX).partition("-")[0])
        if route is None:
            return None
        given = shown.encode(errors="surrogateescape")
        return route if hmac.compare_digest(given, route.secret.encode()) else None


async def _hello(_request: web.Request) -> web.Response:
    from aiohttp import web  # noqa: PLC0415  # not needed at rest

    return web.Response(text="ok")
