"""Slack's rate limits: tiers by method and workspace, and one post a second in a channel.

Source: the Web API rate limits page. A tier is so many calls a minute; short bursts above one
post a second are tolerated. ``speed`` makes the clock run faster, for tests and benchmarks.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque

from tests.fakes.slack_model import Violation

TIER_1, TIER_2, TIER_3, TIER_4 = 1, 20, 50, 100
SPECIAL = 600
"""``chat.postMessage`` in a whole workspace ("several hundred a minute"), ``auth.test``."""
WINDOW_S = 60.0


class RateLimits:
    """Counts calls; says how long to wait. Every refusal is a ``Violation``."""

    def __init__(self, *, enabled: bool) -> None:
        """``per_minute`` overrides a method's tier."""
        self.enabled = enabled
        self.per_minute: dict[str, int] = {}
        self.posts_per_s = 1.0
        self.post_burst = 3
        self.speed = 1.0
        self.violations: list[Violation] = []
        self._calls: dict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._posts: dict[str, tuple[float, float]] = {}
        self._pauses: dict[tuple[str, str, str], float] = {}

    def wait_s(self, method: str, team: str, channel: str, tier: int) -> int:
        """0 lets the call pass and counts it; otherwise the whole seconds of ``Retry-After``."""
        if not self.enabled:
            return 0
        now = time.monotonic() * self.speed
        posting = channel if method == "chat.postMessage" else ""
        wait = max(self._window(method, team, tier, now), self._bucket(posting, now))
        key = (method, team, posting)
        if wait <= 0:
            self._calls[method, team].append(now)
            if posting:
                tokens, _ = self._posts[posting]
                self._posts[posting] = (tokens - 1, now)
            return 0
        seconds = max(1, math.ceil(wait / self.speed))
        self.violations.append(
            Violation(
                at=time.monotonic(),
                method=method,
                team=team,
                channel=channel,
                retry_after_s=seconds,
                ignored=now < self._pauses.get(key, 0.0),
            )
        )
        self._pauses[key] = now + wait
        return seconds

    def _window(self, method: str, team: str, tier: int, now: float) -> float:
        calls = self._calls[method, team]
        while calls and calls[0] <= now - WINDOW_S:
            calls.popleft()
        if len(calls) < self.per_minute.get(method, tier):
            return 0.0
        return calls[0] + WINDOW_S - now if calls else WINDOW_S

    def _bucket(self, channel: str, now: float) -> float:
        if not channel:
            return 0.0
        tokens, at = self._posts.get(channel, (float(self.post_burst), now))
        tokens = min(float(self.post_burst), tokens + (now - at) * self.posts_per_s)
        self._posts[channel] = (tokens, now)
        return 0.0 if tokens >= 1 else (1 - tokens) / self.posts_per_s
