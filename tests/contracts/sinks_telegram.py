"""Telegram for the contract of reply sinks: private chats without and with drafts, and groups."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace

from bots.telegram.account import Account
from bots.telegram.client import Client, open_client
from bots.telegram.pace import Pace
from bots.telegram.sending import Sender
from bots.telegram.sink import TelegramSink
from core.messages import ConversationAddress
from core.sinks import Destination, ReplySink
from tests.bots.telegram.kit import BUTTONS, quicken
from tests.contracts.sink_kit import Placed, SinkKit, Stage
from tests.fakes.telegram import Chat, Message, TelegramFake

FIRST_PERSON = 9001


@dataclass(slots=True)
class TelegramStage:
    """``Stage`` over the fake."""

    fake: TelegramFake
    client: Client
    groups: bool
    refused: bool = False
    asked: dict[str, tuple[Chat, Message]] = field(default_factory=dict)

    def place(self, to: Destination) -> Destination:
        """Each turn has a chat, and a message in it that is answered."""
        chat, question = self._asked(to.turn_id)
        address = ConversationAddress(
            platform="telegram",
            workspace=str(self.fake.bot.id),
            channel=str(chat.id),
            thread="",
        )
        sender = str(next(iter(chat.members)))
        return replace(to, address=address, sender=sender, source_ref=str(question.id))

    def texts(self, turn: str) -> list[str]:
        """See there."""
        return [message.text for message in self._shown(turn)]

    def refs(self, turn: str) -> list[str]:
        """See there."""
        return [f"{self._asked(turn)[0].id}:{message.id}" for message in self._shown(turn)]

    def decidable(self, turn: str) -> list[bool]:
        """See there."""
        rows = [(message.markup or {}).get("inline_keyboard", []) for message in self._shown(turn)]
        labels = [[button["text"] for row in keyboard for button in row] for keyboard in rows]
        return [{"Approve", "Deny"} <= set(shown) for shown in labels]

    def calls(self, turn: str) -> int:
        """See there."""
        chat, _ = self._asked(turn)
        return sum(call.chat_id == chat.id for call in self.fake.calls)

    def go_down(self) -> None:
        """See there."""
        self.fake.weather.down = True

    def come_back(self) -> None:
        """See there."""
        self.fake.weather.down = False

    def refuse(self) -> None:
        """See there."""
        self.refused = True

    def limit(self, calls: int) -> None:
        """See there."""
        self.fake.weather.limited = calls

    def lose_answer(self) -> None:
        """See there."""
        self.fake.weather.only = frozenset({"sendMessage"})
        self.fake.weather.lost_answers = 1

    def another(self) -> ReplySink:
        """See there."""
        pace = Pace()
        quicken(pace)
        sink = TelegramSink(Account(self.client), Sender(self.client, pace), pace, BUTTONS)
        return Placed(sink, self.place)

    def _shown(self, turn: str) -> list[Message]:
        return [message for message in self._asked(turn)[0].shown() if message.by_bot]

    def _asked(self, turn: str) -> tuple[Chat, Message]:
        if turn not in self.asked:
            number = FIRST_PERSON + len(self.asked)
            person = self.fake.person(number)
            chat = self.fake.private(number)
            if self.groups:
                chat = self.fake.group(f"Team {number}", [person])
            self.asked[turn] = chat, chat.say(person, "@it0_bot how full is web-3?")
            if self.refused:
                chat.status = "kicked" if self.groups else "blocked"
        return self.asked[turn]


def _telegram(
    *, groups: bool = False, drafts: bool = False
) -> Callable[[], AbstractAsyncContextManager[tuple[ReplySink, Stage]]]:
    @asynccontextmanager
    async def start() -> AsyncGenerator[tuple[ReplySink, Stage]]:
        async with (
            TelegramFake(drafts=drafts) as fake,
            open_client(fake.token, fake.url, None) as client,
        ):
            stage = TelegramStage(fake, client, groups)
            yield stage.another(), stage

    return start


TELEGRAM_KITS = (
    SinkKit(name="telegram-private", can_find=False, start=_telegram()),
    SinkKit(name="telegram-drafts", can_find=False, drafts=True, start=_telegram(drafts=True)),
    SinkKit(name="telegram-group", can_find=False, start=_telegram(groups=True)),
)
