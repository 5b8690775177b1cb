"""The HTTP client of the agent's API: one turn is one stream that survives drops.

A turn is posted under an id that the client makes, so posting it again after a drop starts
nothing twice. Once the server has named the turn, its stream is resumed after the last event
that was seen.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

import aiohttp

from bots.console_errors import ConsoleError, Refused, Unreachable, raise_problem
from bots.console_events import Reconnecting, ServerEvent, TurnAccepted, TurnCompleted, parse_event
from bots.sse import BadStream, SseMessage, SseParser
from core.errors import It0Error
from core.ids import new_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
    from types import TracebackType

    from core.messages import Attachment, Overlap

__all__ = [
    "ConsoleClient",
    "ConsoleError",
    "ConversationSummary",
    "PastMessage",
    "Refused",
    "Unreachable",
]

MAX_ATTEMPTS = 8
"""Tries in a row without a new event before a turn is given up; about 40 s of waiting."""
LONGEST_WAIT_S = 30.0
"""Longest ``Retry-After`` that is obeyed by waiting; a longer one is an answer."""
_TRANSIENT = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSummary:
    """One line of the list of conversations."""

    id: str
    title: str
    updated_at: str
    platform: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastMessage:
    """One message of a conversation's history."""

    role: str
    text: str


@dataclass(slots=True)
class _Progress:
    """How far a turn's stream was read."""

    turn_id: str = ""
    last_id: str = ""
    attempt: int = 0


class ConsoleClient:
    """Speaks to one server as one person. ``token_source`` is asked at each request."""

    def __init__(
        self,
        base_url: str,
        token_source: Callable[[], str],
        *,
        idle_timeout_s: float = 60.0,
        first_wait_s: float = 0.25,
        find: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        """``idle_timeout_s``: silence after which a stream counts as dropped.

        ``find`` names the server's URL anew after it went away; it may raise ``It0Error``.
        """
        self._base = base_url.rstrip("/") + "/api/v1"
        self._find = find
        self._token = token_source
        self._idle = idle_timeout_s
        self._first_wait = first_wait_s
        self._session: aiohttp.ClientSession | None = None
        self._reached = False

    async def __aenter__(self) -> Self:
        """Open the connection pool."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=self._idle)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all connections."""
        if self._session:
            await self._session.close()

    async def turn(
        self,
        text: str,
        *,
        conversation_id: str | None = None,
        engine: str | None = None,
        overlap: Overlap | None = None,
        attachments: Sequence[Attachment] = (),
    ) -> AsyncGenerator[ServerEvent, None]:
        """Send a message and yield its events; the last one is ``TurnCompleted``.

        A drop yields ``Reconnecting`` and goes on after the last event. Raises Unreachable
        or Refused.
        """
        body = _turn_body(text, conversation_id, engine, overlap, attachments)
        key = new_id("cli")
        progress = _Progress()
        while True:
            try:
                async with (
                    self._open(body, key, progress) as response,
                    contextlib.aclosing(self._events(response, progress)) as events,
                ):
                    async for event in events:
                        yield event
                        if isinstance(event, TurnCompleted):
                            return
                wait = 0.0
            except Refused as refusal:
                if refusal.status not in _TRANSIENT or not self._may_wait(refusal, progress):
                    raise
                wait = refusal.retry_after_s or 0.0
            except (aiohttp.ClientError, TimeoutError, OSError, BadStream) as error:
                if not self._reached and self._find is None:
                    raise Unreachable(self._no_server()) from error
                await self._find_again()
                wait = 0.0
            progress.attempt += 1
            if progress.attempt >= MAX_ATTEMPTS:
                raise Unreachable(_gone(progress))
            yield Reconnecting(
                attempt=progress.attempt, text="The connection dropped; trying again."
            )
            await asyncio.sleep(wait or min(8.0, self._first_wait * 2 ** (progress.attempt - 1)))

    async def conversations(self) -> tuple[ConversationSummary, ...]:
        """The person's conversations, newest first. Raises Unreachable or Refused."""
        found = (await self._get("/conversations")).get("conversations")
        return tuple(
            ConversationSummary(
                id=str(item.get("id", "")),
                title=str(item.get("title", "")),
                updated_at=str(item.get("updated_at", "")),
                platform=str(item.get("platform", "")),
            )
            for item in (found if isinstance(found, list) else [])
            if isinstance(item, dict)
        )

    async def messages(self, conversation_id: str) -> tuple[PastMessage, ...]:
        """A conversation's messages, oldest first. Raises Unreachable or Refused."""
        found = (await self._get(f"/conversations/{_segment(conversation_id)}/messages")).get(
            "messages"
        )
        return tuple(
            PastMessage(role=str(item.get("role", "")), text=str(item.get("text", "")))
            for item in (found if isinstance(found, list) else [])
            if isinstance(item, dict)
        )

    async def stop(self, conversation_id: str) -> None:
        """Ask the server to stop what runs in this conversation. Raises like ``turn``."""
        async with contextlib.aclosing(
            self.turn("/stop", conversation_id=conversation_id)
        ) as events:
            async for _ in events:
                pass

    async def decide(self, approval_id: str, *, approve: bool, comment: str) -> None:
        """Approve or deny what waits; the first decision counts. Raises Unreachable or Refused."""
        body = {"decision": "approve" if approve else "deny", "comment": comment}
        url = f"{self._base}/approvals/{_segment(approval_id)}/decision"
        try:
            async with self._http().post(
                url, headers=self._headers(), json=body, allow_redirects=False
            ) as response:
                await raise_problem(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(self._no_server()) from error

    async def _get(self, path: str) -> dict[str, object]:
        try:
            body = await self._get_once(path)
        except (aiohttp.ClientError, TimeoutError, OSError):
            await self._find_again()
            try:
                body = await self._get_once(path)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                raise Unreachable(self._no_server()) from error
        except ValueError as error:
            raise Unreachable(self._stranger()) from error
        return body if isinstance(body, dict) else {}

    async def _get_once(self, path: str) -> object:
        async with self._http().get(
            self._base + path, headers=self._headers(), allow_redirects=False
        ) as response:
            self._reached = True
            await raise_problem(response)
            return await response.json()

    async def _find_again(self) -> None:
        """Ask where the server is now: it may have moved, or have ended with its terminal."""
        if self._find is None:
            return
        try:
            self._base = (await self._find()).rstrip("/") + "/api/v1"
        except It0Error as error:
            raise Unreachable(error.sentence) from error

    @contextlib.asynccontextmanager
    async def _open(
        self, body: dict[str, object], key: str, progress: _Progress
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = self._headers() | {"Accept": "text/event-stream"}
        if progress.last_id:
            headers["Last-Event-ID"] = progress.last_id
        if progress.turn_id:
            url = f"{self._base}/agent/turns/{_segment(progress.turn_id)}/events"
            request = self._http().get(url, headers=headers, allow_redirects=False)
        else:
            headers["Idempotency-Key"] = key
            request = self._http().post(
                self._base + "/agent/turns", headers=headers, json=body, allow_redirects=False
            )
        async with request as response:
            self._reached = True
            await raise_problem(response)
            if response.content_type != "text/event-stream":
                raise Unreachable(self._stranger())
            yield response

    async def _events(
        self, response: aiohttp.ClientResponse, progress: _Progress
    ) -> AsyncGenerator[ServerEvent, None]:
        parser = SseParser()
        async for chunk in response.content.iter_any():
            for message in parser.feed(chunk):
                if not _is_new(message.id, progress.last_id):
                    continue
                event = _translate(message)
                progress.last_id = message.id or progress.last_id
                progress.attempt = 0
                if isinstance(event, TurnAccepted):
                    progress.turn_id = event.turn_id
                if event is not None:
                    yield event

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token()}"}

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            message = "use the client as an async context manager"
            raise RuntimeError(message)
        return self._session

    def _may_wait(self, refusal: Refused, progress: _Progress) -> bool:
        """A server that restarts answers 503 for a moment; only a turn under way waits."""
        short = (refusal.retry_after_s or 0.0) <= LONGEST_WAIT_S
        return short and (bool(progress.turn_id) or progress.attempt > 0)

    def _stranger(self) -> str:
        return f"What answers at {self._base.removesuffix('/api/v1')} is no IT0 server."

    def _no_server(self) -> str:
        address = self._base.removesuffix("/api/v1")
        return f"No IT0 server answers at {address}. Start one with `it0 up`."


def _segment(value: str) -> str:
    """One part of a path, whatever was typed."""
    return quote(value, safe="")


def _turn_body(
    text: str,
    conversation_id: str | None,
    engine: str | None,
    overlap: Overlap | None,
    attachments: Sequence[Attachment],
) -> dict[str, object]:
    body: dict[str, object] = {"text": text}
    if conversation_id:
        body["conversation_id"] = conversation_id
    if engine:
        body["engine"] = engine
    if overlap:
        body["overlap"] = overlap.value
    if attachments:
        body["attachments"] = [
            {
                "name": item.name,
                "media_type": item.media_type,
                "data": base64.b64encode(item.data).decode(),
            }
            for item in attachments
        ]
    return body


def _translate(message: SseMessage) -> ServerEvent | None:
    try:
        return parse_event(message.event, message.data)
    except ValueError as error:
        problem = f"event {message.event} is malformed"
        raise BadStream(problem) from error


def _is_new(candidate: str, last: str) -> bool:
    """Whether an event id ``A-N`` is after the last one; ids of another form always are."""
    new, old = _order(candidate), _order(last)
    return new is None or old is None or new > old


def _order(event_id: str) -> tuple[int, int] | None:
    attempt, dash, number = event_id.partition("-")
    if dash and attempt.isdecimal() and number.isdecimal():
        return int(attempt), int(number)
    return None


def _gone(progress: _Progress) -> str:
    if progress.turn_id:
        return (
            "The server went away and did not come back. Your message is stored and will be "
            "answered; look into the conversation later."
        )
    return "The server went away before it took the message, and did not come back."
