"""Flood control: what may be sent when, so that Telegram never has to punish.

Telegram allows about one message a second in a chat, 20 a minute in a group and 30 a second in
all (Bots FAQ), counts edits like messages, and punishes what comes during a penalty by a longer
one. So posts and edits of a chat share one bucket. A preview takes a token only while another
one is left for the final text; a final text waits for its token here, and a token that it
waits for is taken at once: whoever asks later finds it gone. That alone puts final texts first.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import islice

from core.sinks import DeliveryFailed, Throttled

PRIVATE_PER_S = 1.0
GROUP_PER_S = 20 / 60
TOTAL_PER_S = 28.0
PRIVATE_BURST = 2
GROUP_BURST = 3
TOTAL_BURST = 20
"""Less than Telegram's 30: calls that were spread out may arrive together."""
STRICT_SHARE = 0.8
"""A chat that was punished once gets tokens this much slower, and one at a time."""
NO_DRAFTS_S = 600.0
MARGIN_S = 0.5
"""Added to a penalty: Telegram counts whole seconds, by its own clock."""
MAX_WAIT_S = 30.0
"""A final text that would wait longer here is left to the sweeper."""
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
    penalties: int = 0
    drafts_at: float = 0.0
    """No drafts before this time."""

    @property
    def strict(self) -> bool:
        return self.penalties > 0


@dataclass(slots=True)
class Pace:
    """The pace of one bot. Times are seconds of ``now``; chats of groups are negative."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    drafts_cost: bool = False
    """Set by the first draft that is punished: from then on each takes a token."""
    _chats: OrderedDict[int, _Chat] = field(default_factory=OrderedDict)
    _total: _Bucket = field(init=False)

    def __post_init__(self) -> None:
        """Begin with full buckets."""
        self._total = _Bucket(TOTAL_BURST, TOTAL_PER_S, TOTAL_BURST, self.now())

    async def final(self, chat_id: int) -> None:
        """Wait for this chat's next token. Raises ``DeliveryFailed`` if that takes too long."""
        while True:
            chat, now = self._refilled(chat_id)
            wait = max(chat.bucket.wait_s(now, 1), self._total.wait_s(now, 1))
            if wait > MAX_WAIT_S:
                sentence = "Telegram asks for a long pause."
                raise DeliveryFailed(sentence, retry_after_s=wait, permanent=False)
            self._take(chat)
            if wait <= 0:
                return
            penalties = chat.penalties
            await self.sleep(wait)
            if chat.penalties == penalties:
                return

    def placeholder(self, chat_id: int) -> None:
        """Take a token for a first message, if the final text has one left. Else ``Throttled``.

        In a chat that was punished there is never a second one; the final text then waits
        for the next.
        """
        chat, now = self._refilled(chat_id)
        wait = max(chat.bucket.wait_s(now, 1 if chat.strict else 2), self._total.wait_s(now, 1))
        if wait > 0:
            raise Throttled(wait)
        self._take(chat)

    def preview(self, chat_id: int) -> None:
        """Take a token for an edit that nobody would miss. Else ``Throttled``.

        In a chat that was punished nothing is left over for previews.
        """
        chat, now = self._refilled(chat_id)
        if chat.strict:
            raise Throttled(NO_DRAFTS_S)
        wait = max(chat.bucket.wait_s(now, 2), self._total.wait_s(now, 1 + _FOR_FINALS))
        if wait > 0:
            raise Throttled(wait)
        self._take(chat)

    def draft(self, chat_id: int) -> bool:
        """Whether a draft may be shown now. They are free as long as Telegram says nothing."""
        chat, now = self._refilled(chat_id)
        if now < max(chat.drafts_at, chat.bucket.at):
            return False
        if not self.drafts_cost:
            return True
        try:
            self.preview(chat_id)
        except Throttled:
            return False
        return True

    def punished(self, chat_id: int, retry_after_s: float) -> None:
        """Telegram punished the chat: be silent until then, and slower for good."""
        chat, now = self._refilled(chat_id)
        per_s = (GROUP_PER_S if chat_id < 0 else PRIVATE_PER_S) * STRICT_SHARE
        until = max(chat.bucket.at, now + retry_after_s + MARGIN_S)
        chat.bucket = _Bucket(1, per_s, 1, until)
        chat.penalties += 1
        chat.drafts_at = now + NO_DRAFTS_S

    def _take(self, chat: _Chat) -> None:
        chat.bucket.tokens -= 1
        self._total.tokens -= 1

    def _refilled(self, chat_id: int) -> tuple[_Chat, float]:
        now = self.now()
        chat = self._chats.get(chat_id)
        if chat is None:
            burst = GROUP_BURST if chat_id < 0 else PRIVATE_BURST
            per_s = GROUP_PER_S if chat_id < 0 else PRIVATE_PER_S
            chat = self._chats[chat_id] = _Chat(_Bucket(burst, per_s, burst, now))
            if len(self._chats) > MAX_CHATS:
                self._forget(now)
        self._chats.move_to_end(chat_id)
        chat.bucket.refill(now)
        self._total.refill(now)
        return chat, now

    def _forget(self, now: float) -> None:
        """Drop the chat that was silent for the longest time, rather one in good standing."""
        oldest = list(islice(self._chats.items(), 16))
        calm = (key for key, chat in oldest if not chat.strict and chat.bucket.at <= now)
        del self._chats[next(calm, oldest[0][0])]
