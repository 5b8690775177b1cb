"""What the fake Slack remembers: channels, messages, files, calls; and the app's own secrets."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

Json = dict[str, Any]
T = TypeVar("T")

ALL_SCOPES = (
    "app_mentions:read assistant:write channels:history channels:read chat:write commands "
    "files:read files:write groups:history groups:read im:history im:read im:write mpim:history "
    "mpim:read reactions:read reactions:write team:read users:read users:read.email"
)


class SlackError(Exception):
    """A refusal of the Web API: ``{"ok": false, "error": code}``, always with HTTP 200."""

    def __init__(self, code: str, *details: str, **extra: Any) -> None:
        """``details`` become ``response_metadata.messages``."""
        super().__init__(code)
        self.code = code
        self.extra: Json = dict(extra)
        if details:
            messages = [f"[ERROR] {detail}" for detail in details]
            self.extra |= {"errors": list(details), "response_metadata": {"messages": messages}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to the Web API. ``error`` is Slack's code; "" says that it took effect."""

    at: float
    method: str
    team: str
    status: int
    error: str
    args: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A call that was too fast. ``ignored`` says that it came inside an announced pause."""

    at: float
    method: str
    team: str
    channel: str
    retry_after_s: int
    ignored: bool


@dataclass(slots=True, kw_only=True)
class Weather:
    """What Slack does to its callers. Change it while it runs."""

    down: bool = False
    """Refuses every call with 503, without an effect."""
    limited: int = 0
    """This many of the next calls are answered 429, without an effect."""
    limited_share: float = 0.0
    """The share of all calls that are answered 429."""
    retry_after_s: int = 1
    """What those 429 announce. Slack counts whole seconds."""
    lost_answers: int = 0
    """This many of the next calls take effect, but their answer is lost (502)."""
    errors: list[str] = field(default_factory=list)
    """These codes answer the next calls, one each, without an effect (``internal_error``)."""
    methods: frozenset[str] | None = None
    """Only these methods have weather; None: all."""
    max_delay_s: float = 0.0
    """The longest random pause before, and again after, an effect."""
    duplicates: int = 0
    """This many of the next events are sent a second time although the first was accepted."""
    event_delay_s: float = 0.0
    """The longest random pause before an event is sent, so that events overtake each other."""


@dataclass(slots=True, kw_only=True)
class File:
    """A file. ``shape`` is what an event shows of it."""

    id: str
    team: str
    name: str
    mimetype: str
    data: bytes
    shape: Json
    done: bool = True


@dataclass(slots=True, kw_only=True)
class Stream:
    """The streaming side of a message.

    ``state`` is open, stopped, expired (by time) or stopped_by_user. ``mode`` is "text" or
    "chunks"; the first payload decides and the other kind is refused from then on.
    """

    state: str
    mode: str
    started_at: float
    touched_at: float
    recipient_user: str
    recipient_team: str
    tasks: dict[str, Json] = field(default_factory=dict)
    blocks: list[Json] = field(default_factory=list)
    """Blocks that came as chunks."""
    plan: str = ""


@dataclass(slots=True, kw_only=True)
class Message:
    """One message. ``shown`` is every visible text it had, with the time of each."""

    channel: str
    ts: str
    user: str
    team: str
    text: str
    thread_ts: str | None = None
    blocks: list[Json] = field(default_factory=list)
    metadata: Json | None = None
    files: list[File] = field(default_factory=list)
    subtype: str | None = None
    bot_id: str | None = None
    app_id: str | None = None
    client_msg_id: str | None = None
    edited: Json | None = None
    reactions: dict[str, list[str]] = field(default_factory=dict)
    stream: Stream | None = None
    ephemeral_to: str | None = None
    deleted_at: float | None = None
    options: Json = field(default_factory=dict)
    """What the sender asked for besides: unfurl_links, mrkdwn, username ..."""
    shown: list[tuple[float, str]] = field(default_factory=list)

    @property
    def streaming(self) -> bool:
        """Still open for ``chat.appendStream``."""
        return self.stream is not None and self.stream.state == "open"


@dataclass(slots=True, kw_only=True)
class Channel:
    """A channel or direct message; ``teams`` has two entries when it is shared."""

    id: str
    name: str
    kind: str
    """"channel", "group" or "im", as in ``channel_type``."""
    teams: list[str]
    user: str = ""
    """Who the direct message is with."""
    archived: bool = False
    bots: set[str] = field(default_factory=set)
    """The workspaces whose bot is a member."""
    members: set[str] = field(default_factory=set)
    messages: dict[str, Message] = field(default_factory=dict)
    ephemerals: list[Message] = field(default_factory=list)

    @property
    def shared(self) -> bool:
        """A Slack Connect channel."""
        return len(self.teams) > 1

    def thread(self, thread_ts: str) -> list[Message]:
        """The root, when it is there, and its replies."""
        return [
            message
            for message in self.messages.values()
            if message.deleted_at is None and thread_ts in {message.ts, message.thread_ts}
        ]


class Watch:
    """Wakes whoever waits for a change."""

    def __init__(self) -> None:
        """Nothing has changed yet."""
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Tell the waiters."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, predicate: Callable[[], T], timeout_s: float) -> T:
        """Return the first true value of ``predicate``. Raises ``TimeoutError``."""
        async with asyncio.timeout(timeout_s):
            while not (value := predicate()):
                await self._changed.wait()
            return value


class App:
    """The app as its vendor sees it: ids, secrets, the clock, and what it did."""

    def __init__(self) -> None:
        """Fixed ids and secrets; they name no real app."""
        self.id = "A0IT0FAKE1"
        self.client_id = "1111111111.2222222222"
        self.client_secret = "fake-client-secret"
        self.signing_secret = "fake-signing-secret"
        self.app_token = "xapp-1-A0IT0FAKE1-3333333333-fake"
        self.verification_token = "fake-verification-token"
        self.name = "it0"
        self.base_url = ""
        self.subscriptions: frozenset[str] | None = None
        """The event types that are sent; None: all. ``message.im`` counts as ``message``."""
        self.echo = True
        """The bot's own messages come back as events, as from the real Slack."""
        self.weather = Weather()
        self.watch = Watch()
        self.calls: list[Call] = []
        self.files: dict[str, File] = {}
        self.teams: dict[str, str] = {}
        """Name of each workspace by id, for both sides of a shared channel."""
        self._ids = itertools.count(1)
        self._last_us = 0
        self._block_ids: Counter[str] = Counter()

    def new_id(self, prefix: str) -> str:
        """A fresh id that looks like Slack's."""
        return f"{prefix}0{next(self._ids):09d}"

    def ts(self) -> str:
        """The present as Slack writes it; strictly rising, so it is unique in every channel."""
        self._last_us = max(self._last_us + 1, time.time_ns() // 1000)
        return f"{self._last_us // 1_000_000}.{self._last_us % 1_000_000:06d}"

    def trigger_id(self) -> str:
        """An id for ``views.open``."""
        return f"{next(self._ids)}.{time.time_ns() // 1_000_000}.{secrets.token_hex(16)}"
