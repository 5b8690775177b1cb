"""How Telegram punishes a bot that writes too fast: a model to test pacing against.

Telegram publishes rules of thumb only ("Bots FAQ": about one message a second in a chat, 20 a
minute in a group, 30 a second in all, short bursts allowed); what is known from practice is
that edits count like messages and that calls made during a penalty prolong it.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

ALL_CHATS = 0
"""The key of penalties for writing too fast over all chats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FloodLimits:
    """What is allowed, and what it costs to ignore it. Times are seconds."""

    private_burst: int = 5
    private_per_s: float = 1.0
    group_burst: int = 20
    group_per_s: float = 20 / 60
    total_burst: int = 30
    total_per_s: float = 30.0
    penalty_s: int = 3
    """The shortest penalty; it is longer where the next token takes longer."""
    extend_s: int = 2
    """What each call during a penalty adds to it; 0 adds nothing."""
    drafts_count: bool = False


@dataclass(slots=True, kw_only=True)
class Penalty:
    """One violation. ``provoked_again`` counts the calls made while it ran."""

    chat_id: int
    at: float
    until: float
    retry_after: int
    """Seconds, as first announced."""
    method: str
    provoked_again: int = 0


@dataclass(slots=True)
class _Bucket:
    burst: int
    per_s: float
    tokens: float
    at: float

    def refill(self, now: float) -> None:
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.per_s)
        self.at = now

    def wait_s(self) -> float:
        return max(0.0, (1 - self.tokens) / self.per_s)


@dataclass(slots=True)
class FloodModel:
    """One bucket per chat for sends and edits together, and one over all chats."""

    limits: FloodLimits = field(default_factory=FloodLimits)
    clock: Callable[[], float] = time.monotonic
    penalties: dict[int, list[Penalty]] = field(default_factory=lambda: defaultdict(list))
    """Every violation, by chat; those of all chats together under ``ALL_CHATS``."""
    _buckets: dict[int, _Bucket] = field(default_factory=dict)

    def admit(self, chat_id: int, method: str) -> int:
        """0 if the call may pass, else the seconds to wait, which the call has made longer."""
        now = self.clock()
        retry_after = self._running(ALL_CHATS, now) or self._running(chat_id, now)
        if retry_after:
            return retry_after
        chat, total = self._bucket(chat_id, now), self._bucket(ALL_CHATS, now)
        for key, bucket in ((ALL_CHATS, total), (chat_id, chat)):
            if bucket.tokens < 1:
                return self._punish(key, bucket, method, now)
        chat.tokens -= 1
        total.tokens -= 1
        return 0

    def provoked_again(self) -> int:
        """How many calls were made into running penalties, in all chats."""
        return sum(item.provoked_again for items in self.penalties.values() for item in items)

    def _running(self, key: int, now: float) -> int:
        if key not in self.penalties:
            return 0
        penalty = self.penalties[key][-1]
        if now >= penalty.until:
            return 0
        penalty.provoked_again += 1
        penalty.until += self.limits.extend_s
        return max(1, math.ceil(penalty.until - now))

    def _punish(self, key: int, bucket: _Bucket, method: str, now: float) -> int:
        retry_after = max(1, self.limits.penalty_s, math.ceil(bucket.wait_s()))
        self.penalties[key].append(
            Penalty(
                chat_id=key,
                at=now,
                until=now + retry_after,
                retry_after=retry_after,
                method=method,
            )
        )
        return retry_after

    def _bucket(self, chat_id: int, now: float) -> _Bucket:
        bucket = self._buckets.get(chat_id)
        if bucket is None:
            limits = self.limits
            if chat_id == ALL_CHATS:
                burst, per_s = limits.total_burst, limits.total_per_s
            elif chat_id > 0:
                burst, per_s = limits.private_burst, limits.private_per_s
            else:
                burst, per_s = limits.group_burst, limits.group_per_s
            bucket = self._buckets[chat_id] = _Bucket(burst, per_s, float(burst), now)
        bucket.refill(now)
        return bucket
