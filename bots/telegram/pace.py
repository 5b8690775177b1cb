"""Flood control: what may be sent when, so that Telegram punishes a chat at most once.

Telegram allows about one message a second in a chat, with short bursts of unknown size, 20 a
minute in a group and 30 a second in all (Bots FAQ), counts edits like messages, and punishes
what comes during a penalty by a longer one. So posts and edits of a chat share one bucket, and
go one by one: what comes after a punished call knows of it.

In a private chat that was never punished a bucket holds back previews only. Placeholders and
final texts are counted and sent, down to a debt; previews wait until all of it is paid, so that
the usual final text finds the chat at rest. After the first penalty a chat is strict. A group
counts from the start. A token that a final text waits for is taken at once: whoever asks later
finds it gone. That alone puts final texts first.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice

from core.sinks import DeliveryFailed, Throttled

PRIVATE_PER_S = 1.0
GROUP_PER_S = 19 / 60
"""One a minute less than allowed: calls may arrive closer together than they left."""
TOTAL_PER_S = 28.0
PRIVATE_BURST = 2
GROUP_BURST = 5
TOTAL_BURST = 20
"""Less than Telegram's 30: calls that were spread out may arrive together."""
PRIVATE_DEBT = 20
"""Calls over its bucket that a private chat may make before final texts wait."""
PREVIEW_GAP_S = 1.2
"""Silence in a chat before a preview."""
STRICT_SHARE = 0.8
"""A chat that was punished once gets tokens this much slower, and one at a time."""
NO_DRAFTS_S = 600.0
MARGIN_S = 0.5
"""Added to a penalty: Telegram counts whole seconds, by its own clock."""
MAX_WAIT_S = 30.0
"""A final text that would wait longer here is left to the sweeper."""
BUSY_S = 0.25
"""When to ask again where another call of the chat is under way."""
TOGETHER_S = 5.0
"""Chats that are punished within this time are punished together."""
MIN_TOTAL_PER_S = 5.0
MAX_CHATS = 10_000
_FOR_FINALS = 4
"""Tokens of all chats together that edits of previews leave alone."""


@dataclass(slots=True)
class _Bucket:
    """Tokens may be owed: then the next ones are taken already."""

    capacity: float
    per_s: float
    tokens: float
    at: float
    """The tokens are of this time; in the future during a penalty."""

    def refill(self, now: float) -> None:
        if now > self.at:
            self.tokens = min(self.capacity, self.tokens + (now - self.at) * self.per_s)
            self.at = now

    def wait_s(self, now: float, tokens: float) -> float:
        """Until so many are there; ``refill`` first."""
        return max(0.0, self.at - now) + max(0.0, tokens - self.tokens) / self.per_s


@dataclass(slots=True)
class _Chat:
    bucket: _Bucket
    debt: float
    """Tokens that placeholders and final texts may owe without waiting."""
    penalties: int = 0
    called_at: float = float("-inf")
    drafts_at: float = 0.0
    """No drafts before this time."""
    finals: int = 0
    """Final texts that wait or are on their way."""
    line: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held during each call; only final texts wait for it."""

    @property
    def strict(self) -> bool:
        return self.penalties > 0

    @property
    def busy(self) -> bool:
        return self.finals > 0 or self.line.locked()


@dataclass(slots=True)
class Pace:
    """The pace of one bot: each call is made inside one of its contexts.

    Times are seconds of ``now``; the ids of groups are negative.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    drafts_cost: bool = False
    """Set by the first draft that is punished: from then on each takes a token."""
    _chats: OrderedDict[int, _Chat] = field(default_factory=OrderedDict)
    _total: _Bucket = field(init=False)
    _punished: dict[int, float] = field(default_factory=dict)
    """Chats punished just now, and when."""
    _pauses: int = 0
    """How often all chats had to be silent."""

    def __post_init__(self) -> None:
        """Begin with full buckets."""
        self._total = _Bucket(TOTAL_BURST, TOTAL_PER_S, TOTAL_BURST, self.now())

    @asynccontextmanager
    async def final(self, chat_id: int) -> AsyncGenerator[None]:
        """Wait for a token and for the chat's other calls, then call.

        Raises ``DeliveryFailed`` if the token takes too long.
        """
        chat, _ = self._refilled(chat_id)
        chat.finals += 1
        try:
            while True:
                penalties = (chat.penalties, self._pauses)
                await self._wait_for_token(chat)
                async with chat.line:
                    if (chat.penalties, self._pauses) != penalties:
                        continue  # punished meanwhile: the token was worth nothing
                    chat.called_at = self.now()
                    yield
                    return
        finally:
            chat.finals -= 1

    @asynccontextmanager
    async def placeholder(self, chat_id: int) -> AsyncGenerator[None]:
        """Take a token for a first message, if the final text has one left. Else ``Throttled``.

        In a chat that was punished there is never a second one; the final text then waits
        for the next.
        """
        chat, now = self._refilled(chat_id)
        tokens = (1 if chat.strict else 2) - chat.debt
        wait = max(chat.bucket.wait_s(now, tokens), self._total.wait_s(now, 1))
        async with self._call(chat, wait):
            yield

    @asynccontextmanager
    async def preview(self, chat_id: int) -> AsyncGenerator[None]:
        """Take a token for an edit that nobody would miss. Else ``Throttled``.

        Only when the chat is at rest; one that was punished has nothing left for previews.
        """
        chat, now = self._refilled(chat_id)
        if chat.strict:
            raise Throttled(NO_DRAFTS_S)
        wait = max(
            chat.bucket.wait_s(now, chat.bucket.capacity),
            chat.called_at + PREVIEW_GAP_S - now,
            self._total.wait_s(now, 1 + _FOR_FINALS),
        )
        async with self._call(chat, wait):
            yield

    @asynccontextmanager
    async def draft(self, chat_id: int) -> AsyncGenerator[None]:
        """Show a draft. Free as long as Telegram punishes none; else like a preview."""
        chat, now = self._refilled(chat_id)
        wait = max(chat.drafts_at, chat.bucket.at) - now
        if wait > 0 or chat.busy:
            raise Throttled(max(wait, BUSY_S))
        if self.drafts_cost:
            async with self.preview(chat_id):
                yield
        else:
            async with chat.line:
                yield

    def punished(self, chat_id: int, retry_after_s: float) -> None:
        """Telegram punished the chat: be silent until then, and slower for good."""
        chat, now = self._refilled(chat_id)
        per_s = (GROUP_PER_S if chat_id < 0 else PRIVATE_PER_S) * STRICT_SHARE
        until = max(chat.bucket.at, now + retry_after_s + MARGIN_S)
        chat.bucket = _Bucket(1, per_s, 1, until)
        chat.debt = 0
        chat.penalties += 1
        chat.drafts_at = now + NO_DRAFTS_S
        self._punished[chat_id] = now
        self._punished = {key: at for key, at in self._punished.items() if now - at < TOGETHER_S}
        if len(self._punished) > 1:
            # Not this chat alone: the bot as a whole is too fast, and each call makes it longer.
            slower = max(MIN_TOTAL_PER_S, self._total.per_s * STRICT_SHARE)
            self._total = _Bucket(1, slower, 1, max(until, self._total.at))
            self._pauses += 1

    async def _wait_for_token(self, chat: _Chat) -> None:
        """Take it, and sleep until it is there."""
        now = self.now()
        chat.bucket.refill(now)
        self._total.refill(now)
        wait = max(chat.bucket.wait_s(now, 1 - chat.debt), self._total.wait_s(now, 1))
        if wait > MAX_WAIT_S:
            sentence = "Telegram asks for a long pause."
            raise DeliveryFailed(sentence, retry_after_s=wait, permanent=False)
        self._take(chat)
        if wait > 0:
            await self.sleep(wait)

    @asynccontextmanager
    async def _call(self, chat: _Chat, wait: float) -> AsyncGenerator[None]:
        """A call that never waits: what is not free now is ``Throttled``."""
        if wait > 0 or chat.busy:
            raise Throttled(max(wait, BUSY_S if chat.busy else 0.0))
        self._take(chat)
        async with chat.line:
            chat.called_at = self.now()
            yield

    def _take(self, chat: _Chat) -> None:
        chat.bucket.tokens -= 1
        self._total.tokens -= 1

    def _refilled(self, chat_id: int) -> tuple[_Chat, float]:
        now = self.now()
        chat = self._chats.get(chat_id)
        if chat is None:
            chat = self._chats[chat_id] = _fresh(chat_id, now)
            if len(self._chats) > MAX_CHATS:
                self._forget(now)
        self._chats.move_to_end(chat_id)
        chat.bucket.refill(now)
        self._total.refill(now)
        return chat, now

    def _forget(self, now: float) -> None:
        """Drop the chat that was silent for the longest time, rather one in good standing."""
        oldest = list(islice(self._chats.items(), 16))
        calm = (
            key
            for key, chat in oldest
            if not chat.strict and not chat.busy and chat.bucket.at <= now
        )
        del self._chats[next(calm, oldest[0][0])]


def _fresh(chat_id: int, now: float) -> _Chat:
    if chat_id < 0:
        return _Chat(bucket=_Bucket(GROUP_BURST, GROUP_PER_S, GROUP_BURST, now), debt=0)
    bucket = _Bucket(PRIVATE_BURST, PRIVATE_PER_S, PRIVATE_BURST, now)
    return _Chat(bucket=bucket, debt=PRIVATE_DEBT)
