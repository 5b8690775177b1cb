"""Telegram for the contract of reply sinks (``tests/contracts/sink_kit.py``).

The contract's turns come from a platform of no name; here each gets a private chat of its own,
on a server without drafts and with short messages, so that long replies need parts.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from bots.telegram.sink import TelegramSink
from core.messages import ConversationAddress
from core.sinks import Destination, SinkLimits, View
from tests.bots.telegram.kit import open_sink
from tests.fakes.telegram import Chat, TelegramFake

MAX_CHARS = 400
FIRST_CHAT = 9001


@dataclass(slots=True)
class Stage:
    """``tests.contracts.sink_kit.Stage`` over the fake."""

    fake: TelegramFake
    refused: bool = False
    chats: dict[str, Chat] = field(default_factory=dict)

    def chat(self, turn: str) -> Chat:
        """The chat of a turn."""
        if turn not in self.chats:
            self.chats[turn] = self.fake.private(FIRST_CHAT + len(self.chats))
            if self.refused:
                self.chats[turn].status = "blocked"
        return self.chats[turn]

    def texts(self, turn: str) -> list[str]:
        """See there."""
        return self.chat(turn).texts()

    def refs(self, turn: str) -> list[str]:
        """See there."""
        chat = self.chat(turn)
        return [f"{chat.id}:{message.id}" for message in chat.shown()]

    def calls(self, turn: str) -> int:
        """See there."""
        chat = self.chat(turn)
        calls = self.fake.calls_of("sendMessage", "editMessageText")
        return sum(call.chat_id == chat.id for call in calls)

    def go_down(self) -> None:
        """See there."""
        self.fake.weather.down = True

    def come_back(self) -> None:
        """See there."""
        self.fake.weather.down = self.refused = False
        for chat in self.chats.values():
            chat.status = "member"

    def refuse(self) -> None:
        """See there."""
        self.refused = True
        for chat in self.chats.values():
            chat.status = "blocked"

    def limit(self, calls: int) -> None:
        """See there."""
        self.fake.weather.limited = calls

    def lose_answer(self) -> None:
        """See there."""
        self.fake.weather.only = frozenset({"sendMessage"})
        self.fake.weather.lost_answers = 1


@dataclass(slots=True)
class Placed:
    """The sink, with each turn in a chat of its own."""

    sink: TelegramSink
    stage: Stage

    @property
    def limits(self) -> SinkLimits:
        """Telegram's, with shorter messages that come sooner."""
        return replace(self.sink.limits, max_chars=MAX_CHARS, edit_interval_s=0.05)

    async def draft(self, to: Destination, view: View) -> bool:
        """See there."""
        return await self.sink.draft(self._placed(to), view)

    async def post(self, to: Destination, part: int, view: View) -> str:
        """See there."""
        return await self.sink.post(self._placed(to), part, view)

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """See there."""
        await self.sink.edit(self._placed(to), ref, view)

    async def find(self, to: Destination, part: int) -> str | None:
        """See there."""
        return await self.sink.find(self._placed(to), part)

    def _placed(self, to: Destination) -> Destination:
        chat = self.stage.chat(to.turn_id)
        address = ConversationAddress(
            platform="telegram",
            workspace=str(self.stage.fake.bot.id),
            channel=str(chat.id),
            thread="",
        )
        return replace(to, address=address, sender=str(chat.id))


@asynccontextmanager
async def start_telegram() -> AsyncGenerator[tuple[Placed, Stage]]:
    """What ``SinkKit.start`` wants."""
    async with TelegramFake(drafts=False) as fake, open_sink(fake) as sink:
        stage = Stage(fake)
        yield Placed(sink, stage), stage
