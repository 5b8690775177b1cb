"""Telegram in a chaos run: private chats, groups and forum topics of the strict fake."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from tests.chaos.chat_history import Shown
from tests.chaos.chat_messages import Planned
from tests.chaos.chat_network import LOG, Counts, Newcomer, Place, Sent
from tests.fakes.telegram import Chat, Message, Person, TelegramFake
from tests.fakes.telegram_records import Topic

_FIRST_USER = 7001


@dataclass(slots=True, kw_only=True)
class TelegramPlace:
    """A chat or one of its topics."""

    network: TelegramNetwork
    chat: Chat
    people: tuple[Person, ...]
    topic: Topic | None = None

    def say(self, planned: Planned, rng: random.Random) -> Sent:
        """One of the people writes; in a group the bot is named."""
        named = "" if self.chat.kind == "private" else f"@{self.network.fake.bot.username} "
        person, text = rng.choice(self.people), named + planned.text
        if planned.kind == "file":
            message = self.chat.document(person, "disk.log", LOG, caption=text, topic=self.topic)
        else:
            message = self.chat.say(person, text, topic=self.topic)
        self.network.said += 1
        return Sent(
            place=_place(self.chat.id, self.topic.id if self.topic else None),
            edit=lambda text: self.chat.edit(message, named + text),
            redeliver=partial(self.network.redeliver, message),
        )


class TelegramNetwork:
    """The fake with its people."""

    name = "telegram"
    ordered = True

    def __init__(self, fake: TelegramFake) -> None:
        """``fake`` serves already."""
        self.fake = fake
        self.said = 0

    @property
    def environ(self) -> Mapping[str, str]:
        """Long polling."""
        return {"TELEGRAM_BOT_TOKEN": self.fake.token, "IT0_TELEGRAM_API_URL": self.fake.url}

    def connected(self) -> bool:
        """A long poll waits."""
        return self.fake.updates.polled

    def populate(self, places: int) -> tuple[Sequence[Newcomer], Sequence[Place]]:
        """Half private chats, a quarter groups, a quarter topics of one forum."""
        privates = [
            self.fake.private(_FIRST_USER + at, first_name=f"P{at}")
            for at in range(max(3, places // 2))
        ]
        newcomers = [self._person(chat, admin=at == 0) for at, chat in enumerate(privates)]
        made: list[Place] = [
            TelegramPlace(network=self, chat=chat, people=(chat.user,)) for chat in privates
        ]
        while len(made) < places:
            made.append(self._shared(len(made), privates, newcomers))
        return newcomers, made[:places]

    def _shared(self, number: int, privates: list[Chat], newcomers: list[Newcomer]) -> Place:
        """A group, or the only topic of a forum: Telegram limits each to 20 messages a minute."""
        people, topic = tuple(chat.user for chat in privates), None
        if number % 2:
            group = self.fake.supergroup(f"Forum {number}", list(people), forum=True)
            topic = group.topic("Topic", by=people[0])
        else:
            group = self.fake.group(f"Group {number}", list(people))
        newcomers.append(self._group(group, privates[0]))
        return TelegramPlace(network=self, chat=group, people=people, topic=topic)

    def _person(self, chat: Chat, *, admin: bool) -> Newcomer:
        return Newcomer(
            name=f"t{chat.id}",
            admin=admin,
            needs_code=True,
            link=lambda code: void(chat.say(chat.user, f"/link {code}")),
            welcomed=lambda: _texts(chat) > 0,
        )

    def _group(self, chat: Chat, admin: Chat) -> Newcomer:
        """The welcome is for the admin's eyes: it comes in the private chat."""
        named = f"/link@{self.fake.bot.username}"
        before = 0

        def link(_code: str) -> None:
            nonlocal before
            before = _texts(chat, admin)
            chat.say(admin.user, named)

        return Newcomer(
            name=chat.title,
            admin=True,
            needs_code=False,
            link=link,
            welcomed=lambda: _texts(chat, admin) > before,
        )

    @contextmanager
    def turned_round(self) -> Iterator[None]:
        """Keep updates back and let them go backwards."""
        self.fake.updates.hold()
        try:
            yield
        finally:
            self.fake.updates.release(backwards=True)

    def redeliver(self, message: Message) -> None:
        """Once more; a message that was held has no number yet."""
        if message.update_id is not None:
            self.fake.redeliver(message.update_id)

    def shown(self) -> list[Shown]:
        """Everything that the bot wrote; drafts are no messages."""
        return [
            Shown(
                platform=self.name,
                place=_place(chat.id, message.thread_id),
                ref=f"{chat.id}/{message.id}",
                order=message.id,
                texts=tuple(message.texts),
            )
            for chat in self.fake.hub.chats.values()
            for message in chat.shown()
        ]

    def leftovers(self) -> Mapping[str, int]:
        """Nothing: drafts vanish by themselves."""
        return {}

    def counts(self) -> Counts:
        """By the calls."""
        return Counts(
            said=self.said,
            posts=len(self.fake.calls_of("sendMessage")),
            edits=len(self.fake.calls_of("editMessageText")),
        )

    async def wait_for(self, predicate: Callable[[], bool], timeout_s: float) -> None:
        """See the fake."""
        await self.fake.wait_for(predicate, timeout_s)

    def refused(self) -> int:
        """Also the calls that were lost on their way."""
        return sum(call.status in {0, 429, 502} or call.lost for call in self.fake.calls)

    def drizzle(self) -> None:
        """See the port."""
        self.fake.weather.limited_share = 0.01

    async def gust(self, rng: random.Random) -> None:
        """An outage shorter than a worker's patience, a limit, a lost call or a lost answer."""
        weather = self.fake.weather
        match rng.choice(["down", "limited", "dropped", "lost", "lost"]):
            case "down":
                weather.down = True
                await asyncio.sleep(0.6)
                weather.down = False
            case "limited":
                weather.limited += 2
            case "dropped":
                weather.dropped += 1
            case _:
                weather.lost_answers += 1

    def calm(self) -> None:
        """See the port."""
        weather = self.fake.weather
        weather.down, weather.limited, weather.dropped = False, 0, 0
        weather.lost_answers, weather.limited_share = 0, 0.0


def void(_result: object) -> None:
    """Forget what a function returned."""


def _place(chat_id: int, topic: int | None) -> str:
    return f"{chat_id}/{topic}" if topic else str(chat_id)


def _texts(*chats: Chat) -> int:
    return sum(len(text) > 1 for chat in chats for text in chat.texts())
