"""A gateway between a child that asks as the CLI does and a provider, all over loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from core.engines.gateway import (
    CallFailed,
    Gateway,
    GatewayConfig,
    GatewayEvent,
    Route,
    RouteTurn,
)
from tests.contracts.engine_kit import RecordingMeter

MODEL = "claude-sonnet-5-5"
KEY = "sk-of-the-installation"
MESSAGES = "/v1/messages?beta=true"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a child got."""

    status: int
    headers: dict[str, str]
    raw: bytes
    cut: bool
    """Whether the connection broke before the end."""

    @property
    def ended(self) -> bool:
        """Whether it is a whole stream."""
        return b"message_stop" in self.raw and not self.cut


@dataclass(kw_only=True)
class Child:
    """One child process: its route, and the turn that it works for."""

    route: Route
    http: aiohttp.ClientSession
    meter: RecordingMeter = field(default_factory=RecordingMeter)
    told: list[GatewayEvent] = field(default_factory=list)

    def begin(self, **changes: object) -> None:
        """Begin a turn with its own meter."""
        values: dict[str, object] = {
            "meter": self.meter,
            "engine": "claude_code_cli",
            "model": MODEL,
            "max_output_tokens": 1_000,
            "tell": self.told.append,
        }
        self.route.begin(RouteTurn(**{**values, **changes}))  # type: ignore[arg-type]

    @property
    def faults(self) -> list[tuple[str, bool]]:
        """Reason and finality of each failed call."""
        return [(e.fault.reason, e.final) for e in self.told if isinstance(e, CallFailed)]

    @asynccontextmanager
    async def post(
        self, text: str, *, path: str = MESSAGES, secret: str | None = None, **changes: object
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Send a request and look at its answer while it comes."""
        headers = {
            "x-api-key": self.route.secret if secret is None else secret,
            "anthropic-version": "2023-06-01",
            "anthropic-beta": "effort-2025-11-24",
            "x-app": "cli",
        }
        body = body_of(text, **changes)
        async with self.http.post(self.route.url + path, data=body, headers=headers) as answer:
            yield answer

    async def ask(self, text: str, **changes: object) -> Answer:
        """Send a request and read its answer to the end."""
        async with self.post(text, **changes) as answer:  # type: ignore[arg-type]
            raw, was_cut = b"", False
            try:
                async for chunk in answer.content.iter_any():
                    raw += chunk
            except aiohttp.ClientPayloadError:
                was_cut = True
            return Answer(status=answer.status, headers=dict(answer.headers), raw=raw, cut=was_cut)


def body_of(text: str, **changes: object) -> bytes:
    """A request's body."""
    body: dict[str, object] = {
        "model": MODEL,
        "max_tokens": 500,
        "stream": True,
        "messages": [{"role": "user", "content": text}],
    }
    return json.dumps(body | changes).encode()


def config_of(url: str, **changes: object) -> GatewayConfig:
    """A configuration whose retries do not keep a test waiting."""
    values: dict[str, object] = {
        "api_key": KEY,
        "base_url": url,
        "stall_timeout_s": 10,
        "backoff_s": 0.01,
    }
    return GatewayConfig(**{**values, **changes})  # type: ignore[arg-type]


@asynccontextmanager
async def gateway_to(url: str, **changes: object) -> AsyncGenerator[Gateway]:
    """A started gateway to this provider."""
    gateway = Gateway(config_of(url, **changes))
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.aclose()


@asynccontextmanager
async def child_of(gateway: Gateway) -> AsyncGenerator[Child]:
    """A child with a route of its own; no turn is running yet."""
    async with aiohttp.ClientSession() as http:
        yield Child(route=gateway.open(), http=http)


@asynccontextmanager
async def child_to(url: str, **changes: object) -> AsyncGenerator[Child]:
    """A child in a running turn, behind a gateway of its own."""
    async with gateway_to(url, **changes) as gateway, child_of(gateway) as child:
        child.begin()
        yield child


@asynccontextmanager
async def provider(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """A provider that does what one test needs; gives its address."""
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handler)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def until(holds: Callable[[], object], *, within_s: float = 5) -> None:
    """Wait for something that happens in another task."""
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.005)
