"""What happens in one channel is taken in the order in which it came.

Envelopes are handled side by side, and some wait for Slack (names), some for the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from bots.slack.fields import Json, text


def channel_of(body: Json) -> str:
    """What an event is about, for the order of events; empty where there is no order."""
    channel = text(body, "event", "channel")
    return f"{text(body, 'team_id')}:{channel}" if channel else ""


@dataclass(slots=True)
class _Line:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


@dataclass(slots=True)
class Order:
    """A line for each channel in which something happens just now."""

    _lines: dict[str, _Line] = field(default_factory=dict)

    @asynccontextmanager
    async def of(self, key: str) -> AsyncGenerator[None]:
        """Wait for those who came before. ``asyncio.Lock`` is fair: first come, first served."""
        if not key:
            yield
            return
        line = self._lines.setdefault(key, _Line())
        line.waiting += 1
        try:
            async with line.lock:
                yield
        finally:
            line.waiting -= 1
            if not line.waiting:
                del self._lines[key]
