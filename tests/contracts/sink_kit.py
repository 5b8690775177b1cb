"""What the contract of reply sinks runs against: one kit per platform and way of writing.

To add a platform: write a fake of it with the few words of ``Stage``, and append a kit to
``KITS``. The kit says whether the platform can look posts up; one that cannot (Telegram) may
leave an orphaned placeholder after a crash, never a second answer. The contract's turns come
from a platform of no name: ``Placed`` gives each turn a place of its own on the real one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from core.replies import PLACEHOLDER
from core.sinks import DeliveryFailed, Destination, ReplySink, SinkLimits, View
from tests.fakes.platform import FakePlatform, HttpSink


class Stage(Protocol):
    """The platform behind a sink, as a test sees and controls it."""

    def texts(self, turn: str) -> list[str]:
        """What the user sees of a turn, oldest message first."""

    def refs(self, turn: str) -> list[str]:
        """The ids of those messages."""

    def decidable(self, turn: str) -> list[bool]:
        """Which of them have buttons to approve and to deny."""

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

    def another(self) -> ReplySink:
        """The sink of another process: it remembers nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkKit:
    """How to start a platform with its sink."""

    name: str
    can_find: bool
    placeholder: str = PLACEHOLDER
    """What the user sees before there is an answer."""
    drafts: bool = False
    """Previews are no messages there: the first message comes with the answer."""
    everywhere: bool = False
    """Runs on each database; what a platform adds has nothing to do with them."""
    message_of: Callable[[str], str] = str
    """The platform's id of a message, from the part's id as the sink made it."""
    start: Callable[[], AbstractAsyncContextManager[tuple[ReplySink, Stage]]]


@dataclass(slots=True)
class FakeStage:
    """``Stage`` over a ``FakePlatform``."""

    platform: FakePlatform
    sink: HttpSink

    def texts(self, turn: str) -> list[str]:
        """See there."""
        return self.platform.texts(turn)

    def refs(self, turn: str) -> list[str]:
        """See there."""
        return [message.id for message in self.platform.shown(turn)]

    def decidable(self, turn: str) -> list[bool]:
        """See there."""
        return [bool(message.approvals) for message in self.platform.shown(turn)]

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

    def another(self) -> ReplySink:
        """The same: it remembers nothing anyway."""
        return self.sink


def _http(*, can_find: bool) -> Callable[[], AbstractAsyncContextManager[tuple[ReplySink, Stage]]]:
    @asynccontextmanager
    async def start() -> AsyncGenerator[tuple[ReplySink, Stage]]:
        async with FakePlatform() as platform:
            sink = HttpSink(url=platform.url, can_find=can_find)
            try:
                yield sink, FakeStage(platform, sink)
            finally:
                await sink.close()

    return start


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
        """As the sink."""
        return await self.sink.draft(to, view)

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


MAX_CHARS = 400
"""Short, so that long replies need parts."""
HASTE = 50.0
"""How much faster than in life the platforms' pauses go by."""


@dataclass(slots=True)
class Placed:
    """A platform's sink, with each turn in a place of its own, and in a hurry."""

    sink: ReplySink
    place: Callable[[Destination], Destination]

    @property
    def limits(self) -> SinkLimits:
        """The platform's, with shorter messages that come sooner."""
        return replace(self.sink.limits, max_chars=MAX_CHARS, edit_interval_s=0.05)

    async def draft(self, to: Destination, view: View) -> bool:
        """See the port."""
        with _hurried():
            return await self.sink.draft(self.place(to), view)

    async def post(self, to: Destination, part: int, view: View) -> str:
        """See the port."""
        with _hurried():
            return await self.sink.post(self.place(to), part, view)

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """See the port."""
        with _hurried():
            await self.sink.edit(self.place(to), ref, view)

    async def find(self, to: Destination, part: int) -> str | None:
        """See the port."""
        with _hurried():
            return await self.sink.find(self.place(to), part)


@contextmanager
def _hurried() -> Iterator[None]:
    """Platforms ask for whole seconds, which would be the suite's."""
    try:
        yield
    except DeliveryFailed as failure:
        if failure.retry_after_s is not None:
            failure.retry_after_s /= HASTE
        raise


HTTP_KITS = (
    SinkKit(name="finding", can_find=True, everywhere=True, start=_http(can_find=True)),
    SinkKit(name="blind", can_find=False, everywhere=True, start=_http(can_find=False)),
)
