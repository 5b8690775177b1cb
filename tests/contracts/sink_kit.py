"""What the contract of reply sinks runs against: one kit per platform.

To add a platform: write a fake of it with the few words of ``Stage``, and append a kit to
``KITS``. The kit says whether the platform can look posts up; one that cannot (Telegram) may
leave an orphaned placeholder after a crash, never a second answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from core.sinks import Destination, ReplySink, SinkLimits, View
from tests.fakes.platform import FakePlatform, HttpSink


class Stage(Protocol):
    """The platform behind a sink, as a test sees and controls it."""

    def texts(self, turn: str) -> list[str]:
        """What the user sees of a turn, oldest message first."""

    def refs(self, turn: str) -> list[str]:
        """The ids of those messages."""

    def calls(self, turn: str) -> int:
        """How many requests about a turn reached the platform, refused ones included."""

    def go_down(self) -> None:
        """From now on every call fails, without an effect."""

    def come_back(self) -> None:
        """End every disturbance."""

    def refuse(self) -> None:
        """From now on every call is refused for good."""

    def limit(self, calls: int) -> None:
        """Answer the next calls with "too many requests, wait a moment"."""

    def lose_answer(self) -> None:
        """Let the next post take effect, and lose its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkKit:
    """How to start a platform with its sink."""

    name: str
    can_find: bool
    start: Callable[[], AbstractAsyncContextManager[tuple[ReplySink, Stage]]]


@dataclass(slots=True)
class FakeStage:
    """``Stage`` over a ``FakePlatform``."""

    platform: FakePlatform

    def texts(self, turn: str) -> list[str]:
        """See there."""
        return self.platform.texts(turn)

    def refs(self, turn: str) -> list[str]:
        """See there."""
        return [message.id for message in self.platform.shown(turn)]

    def calls(self, turn: str) -> int:
        """See there."""
        return sum(call.turn == turn for call in self.platform.calls)

    def go_down(self) -> None:
        """See there."""
        self.platform.weather.down = True

    def come_back(self) -> None:
        """See there."""
        self.platform.weather.down = self.platform.weather.refuses = False

    def refuse(self) -> None:
        """See there."""
        self.platform.weather.refuses = True

    def limit(self, calls: int) -> None:
        """See there."""
        self.platform.weather.limited = calls

    def lose_answer(self) -> None:
        """See there."""
        self.platform.weather.lost_answers = 1


def _http(*, can_find: bool) -> Callable[[], AbstractAsyncContextManager[tuple[ReplySink, Stage]]]:
    @asynccontextmanager
    async def start() -> AsyncGenerator[tuple[ReplySink, Stage]]:
        async with FakePlatform() as platform:
            sink = HttpSink(url=platform.url, can_find=can_find)
            try:
                yield sink, FakeStage(platform)
            finally:
                await sink.close()

    return start


KITS = (
    SinkKit(name="finding", can_find=True, start=_http(can_find=True)),
    SinkKit(name="blind", can_find=False, start=_http(can_find=False)),
)


@dataclass(slots=True)
class Hooked:
    """A sink with something that happens after each edit's effect, before its answer."""

    sink: ReplySink
    after_edit: list[Callable[[str], None]] = field(default_factory=list)

    @property
    def limits(self) -> SinkLimits:
        """The sink's own."""
        return self.sink.limits

    async def draft(self, to: Destination, view: View) -> bool:
        """This platform has no drafts."""
        return False

    async def post(self, to: Destination, part: int, view: View) -> str:
        """Post."""
        return await self.sink.post(to, part, view)

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """Edit, then let it happen."""
        await self.sink.edit(to, ref, view)
        for happens in self.after_edit:
            happens(view.text)

    async def find(self, to: Destination, part: int) -> str | None:
        """Look up."""
        return await self.sink.find(to, part)
