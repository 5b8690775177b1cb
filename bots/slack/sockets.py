"""Socket Mode: events without a public address, over a WebSocket that Slack renews now and then.

Written on aiohttp because the SDK's client keeps to the address it was given once: after a long
outage it is refused for ever. An envelope is acknowledged after it was handled; what is not
acknowledged comes again. (docs.slack.dev/apis/events-api/using-socket-mode)
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

import aiohttp
import structlog

from bots.slack.errors import Refused
from bots.slack.fields import Json, node, text
from bots.slack.workspaces import Api
from core.sinks import DeliveryFailed

HEARTBEAT_S = 15.0
"""A connection without an answer to a ping for so long is dead."""
FIRST_PAUSE_S = 0.5
SHORT_S = 2.0
"""A connection that is told to go after less than this is not replaced at once."""
LONGEST_PAUSE_S = 30.0
WRONG_TOKEN_PAUSE_S = 60.0
DRAIN_S = 20.0
"""How long an old connection may wait for what it brought to be handled."""

_SENTENCES = {
    "invalid_auth": "SLACK_APP_TOKEN is not a valid app-level token (xapp-...).",
    "not_authed": "SLACK_APP_TOKEN is missing.",
    "account_inactive": "SLACK_APP_TOKEN belongs to an app that was deleted.",
    "token_revoked": "SLACK_APP_TOKEN was revoked; make a new app-level token.",
    "not_allowed_token_type": "SLACK_APP_TOKEN must be an app-level token (xapp-...).",
    "missing_scope": "SLACK_APP_TOKEN lacks the scope connections:write; make a new token.",
    "forbidden_team": "SLACK_APP_TOKEN may not be used from this workspace.",
    "socket_mode_disabled": "Socket Mode is off; switch it on in the app's settings.",
}

Handle = Callable[[Json], Awaitable[Json | None]]
"""Handles an envelope; what to acknowledge it with, or None when it must come again."""

_log = structlog.get_logger()


@dataclass(slots=True)
class SocketMode:
    """Keeps one connection open until cancelled."""

    api: Api
    app_token: str = field(repr=False)
    handle: Handle
    _handling: set[asyncio.Task[None]] = field(default_factory=set)
    _draining: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> None:
        """Listen; survives outages and refreshes."""
        pause = FIRST_PAUSE_S
        try:
            while True:
                began = time.monotonic()
                try:
                    await self._connection()
                    pause = FIRST_PAUSE_S
                    if time.monotonic() - began > SHORT_S:
                        continue
                except Refused as refusal:
                    pause = self._refused(refusal, pause)
                except (DeliveryFailed, aiohttp.ClientError, OSError, TimeoutError):
                    pause = min(LONGEST_PAUSE_S, pause * 2)
                    _log.warning("slack.socket_unreachable", again_in_s=round(pause, 1))
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # jitter
        finally:
            for task in self._handling:
                task.cancel()
            await asyncio.gather(*self._handling, *self._draining, return_exceptions=True)

    @staticmethod
    def _refused(refusal: Refused, pause: float) -> float:
        if refusal.retry_after_s is not None:
            return refusal.retry_after_s
        _log.error("slack.socket_refused", problem=problem_of(refusal))
        return max(pause, WRONG_TOKEN_PAUSE_S)

    async def _connection(self) -> None:
        """One connection, to its end; every one has a new address."""
        answer = await self.api.call(self.app_token, "apps.connections.open", {})
        socket = await self.api.session.ws_connect(
            text(answer, "url"), heartbeat=HEARTBEAT_S, max_msg_size=0
        )
        handled: set[asyncio.Task[None]] = set()
        leaving = False
        try:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                envelope = node(json.loads(message.data))
                if text(envelope, "type") == "disconnect":
                    leaving = True
                    _log.info("slack.socket_renewed", reason=text(envelope, "reason"))
                    break
                if text(envelope, "type") == "hello":
                    _log.info("slack.socket_connected")
                if text(envelope, "envelope_id"):
                    _start(self._one(socket, envelope), handled, self._handling)
        finally:
            _start(_drain(socket, handled), self._draining)
        if not leaving:
            raise aiohttp.ClientConnectionError

    async def _one(self, socket: aiohttp.ClientWebSocketResponse, envelope: Json) -> None:
        answer = await self.handle(envelope)
        if answer is None or socket.closed:
            return
        acknowledgement: dict[str, object] = {"envelope_id": text(envelope, "envelope_id")}
        if answer:
            acknowledgement["payload"] = answer
        try:
            await socket.send_json(acknowledgement)
        except (ConnectionError, RuntimeError):
            _log.info("slack.socket_lost_ack")


def problem_of(refusal: Refused) -> str:
    """What is wrong with the app-level token, for the operator."""
    return _SENTENCES.get(refusal.reason, f"SLACK_APP_TOKEN: Slack says {refusal.reason}.")


def _start(work: Coroutine[object, object, None], *owners: set[asyncio.Task[None]]) -> None:
    task = asyncio.create_task(work)
    for tasks in owners:
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def _drain(socket: aiohttp.ClientWebSocketResponse, handled: set[asyncio.Task[None]]) -> None:
    """Let what came over a connection be acknowledged on it, then close it."""
    if handled and not socket.closed:
        await asyncio.wait(set(handled), timeout=DRAIN_S)
    await socket.close()
