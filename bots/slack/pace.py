"""How fast Slack may be called, so that it need not punish.

Source: docs.slack.dev/apis/web-api/rate-limits. A method has so many calls a minute in a
workspace, and a channel takes one post a second. Previews and placeholders keep to our count and
leave room for final texts. Final texts wait for what Slack itself says (429), never for our count:
it is of this process alone, and Slack allows more than it writes down. After a 429 those that
wait go one by one, so that they do not meet the same limit all together.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from bots.slack.errors import limited
from core.sinks import Throttled

K = TypeVar("K")
V = TypeVar("V")

MINUTE_S = 60.0
PLACEHOLDER = "placeholder"
PER_MINUTE = {
    "chat.update": 50,
    "chat.startStream": 16,  # of 20: each needs a stopStream, and some begin anew
    "chat.appendStream": 100,
    "chat.stopStream": 20,
    "conversations.history": 50,
    "conversations.replies": 50,
    "users.info": 90,  # of 100
    PLACEHOLDER: 25,  # ours: each of them needs one of the 50 edits when it becomes the answer
}
PREVIEW_SHARE = 0.5
POST_BURST = 3
POST_S = 3.0
"""So many posts to a channel in so many seconds."""
QUICK_S = 1.0
PATIENCE_S = 20.0
_MOST_KEYS = 10_000
_CHANNEL = "#"


@dataclass(slots=True)
class _Window:
    most: int
    seconds: float
    calls: deque[float] = field(default_factory=deque)
    closed_until: float = 0.0
    """Slack said so; after it, when the last of the waiting final texts goes."""
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def spacing_s(self) -> float:
        """Between two final texts after a penalty."""
        return self.seconds / max(1, self.most)

    def wait_s(self, now: float, share: float) -> float:
        """How long until one more call fits; 0 now."""
        while self.calls and self.calls[0] <= now - self.seconds:
            self.calls.popleft()
        most = max(1, int(self.most * share))
        pause = self.closed_until - now
        if len(self.calls) >= most:
            pause = max(pause, self.calls[-most] + self.seconds - now)
        return max(0.0, pause)


@dataclass(slots=True)
class Pace:
    """The calls of the last minute, of this process."""

    now: Callable[[], float] = time.monotonic
    _windows: OrderedDict[tuple[str, str], _Window] = field(default_factory=OrderedDict)

    def fits(self, workspace: str, method: str) -> bool:
        """Take a place if there is one."""
        window = self._window(workspace, method)
        if window.wait_s(self.now(), 1.0) > 0:
            return False
        window.calls.append(self.now())
        return True

    def busy(self, workspace: str, method: str) -> bool:
        """Whether there is no place just now."""
        return self._window(workspace, method).wait_s(self.now(), 1.0) > 0

    async def placeholder(self, workspace: str, channel: str) -> None:
        """Wait a moment for a place among the posts to a channel. Raises ``Throttled``.

        Not for long: the answer itself may be there meanwhile.
        """
        key = channel_key(channel)
        window = self._window(workspace, key)
        wait = window.wait_s(self.now(), 1.0)
        if wait <= QUICK_S:
            await asyncio.sleep(wait)
            wait = window.wait_s(self.now(), 1.0)
        if wait > 0:
            raise Throttled(max(wait, 0.1))
        window.calls.append(self.now())

    def preview(self, workspace: str, method: str) -> None:
        """Take a place, of those that previews may have. Raises ``Throttled``."""
        window = self._window(workspace, method)
        wait = window.wait_s(self.now(), PREVIEW_SHARE)
        if wait > 0:
            raise Throttled(max(wait, 0.1))
        window.calls.append(self.now())

    async def final(self, workspace: str, method: str) -> None:
        """Wait while Slack forbids it. Raises ``DeliveryFailed`` where that takes too long."""
        window = self._window(workspace, method)
        now = self.now()
        start = max(now, window.closed_until)
        if start - now > PATIENCE_S:
            raise limited(start - now)
        if start > now:
            window.closed_until = start + window.spacing_s
            await asyncio.sleep(start - now)
        window.calls.append(self.now())

    @asynccontextmanager
    async def post(self, workspace: str, channel: str) -> AsyncGenerator[None]:
        """Post a final text to a channel inside: one at a time, as long as Slack is quick.

        So the first that meets the channel's limit tells the others. Raises as ``final``.
        """
        window = self._window(workspace, channel_key(channel))
        held = await _within(window.sending.acquire(), QUICK_S)
        try:
            await self.final(workspace, channel_key(channel))
            yield
        finally:
            if held:
                window.sending.release()

    def punished(self, workspace: str, method: str, retry_after_s: float) -> None:
        """Slack said 429: nothing of this kind until then."""
        window = self._window(workspace, method)
        window.closed_until = max(window.closed_until, self.now() + retry_after_s)

    def _window(self, workspace: str, method: str) -> _Window:
        key = (workspace, method)
        window = self._windows.get(key)
        if window is None:
            most, seconds = PER_MINUTE.get(method, 0), MINUTE_S
            if method.startswith(_CHANNEL):
                most, seconds = POST_BURST, POST_S
            window = self._windows[key] = _Window(most=most, seconds=seconds)
        self._windows.move_to_end(key)
        shrink(self._windows, _MOST_KEYS)
        return window


def channel_key(channel: str) -> str:
    """What the posts to a channel are counted as."""
    return f"{_CHANNEL}{channel}"


async def _within(acquired: Coroutine[object, object, bool], seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await acquired
    except TimeoutError:
        return False


def shrink(memory: OrderedDict[K, V], most: int) -> None:
    """Forget the oldest."""
    while len(memory) > most:
        memory.popitem(last=False)
