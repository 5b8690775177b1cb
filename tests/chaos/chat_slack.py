"""Slack in a chaos run: direct messages, channels and threads of the strict fake."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tests.chaos.chat_history import Shown
from tests.chaos.chat_messages import Planned
from tests.chaos.chat_network import LOG, Counts, Newcomer, Place, Sent
from tests.chaos.chat_telegram import void
from tests.fakes.slack import Channel, Message, SlackFake, User

RETRIES_S = (0.1, 0.5, 2.0, 5.0, 5.0, 5.0, 5.0)
"""As often as it takes to outlive the kills; the real Slack tries for five minutes."""


@dataclass(slots=True, kw_only=True)
class SlackPlace:
    """A direct message, a channel, or a thread of it (``threaded``; the first message is its root)."""

    network: SlackNetwork
    channel: Channel
    people: tuple[User, ...]
    threaded: bool = False
    root: str | None = None

    def say(self, planned: Planned, rng: random.Random) -> Sent:
        """One of the people writes; in a channel the bot is mentioned."""
        person = rng.choice(self.people)
        named = "" if self.channel.kind == "im" else f"{self.network.team.mention} "
        files = (person.file("disk.log", "text/plain", LOG),) if planned.kind == "file" else ()
        before = len(self.network.fake.outbox.deliveries)
        message = person.say(self.channel, named + planned.text, thread_ts=self.root, files=files)
        told = self.network.fake.outbox.deliveries[before:]
        if self.threaded and self.root is None:
            self.root = message.ts
        self.network.said += 1
        return Sent(
            place=_place(self.channel, message),
            edit=lambda text: person.edit(message, named + text),
            redeliver=lambda: void([self.network.fake.outbox.redeliver(item) for item in told]),
        )


class SlackNetwork:
    """The fake with one workspace."""

    name = "slack"
    ordered = False

    def __init__(self, fake: SlackFake) -> None:
        """``fake`` serves already."""
        self.fake = fake
        self.team = fake.team("chaos")
        self.said = 0
        fake.outbox.retry_delays_s = RETRIES_S

    @property
    def environ(self) -> Mapping[str, str]:
        """Socket Mode."""
        return {
            "SLACK_BOT_TOKEN": self.team.bot_token,
            "SLACK_APP_TOKEN": self.fake.app_token,
            "IT0_SLACK_API_URL": self.fake.api_url,
        }

    def connected(self) -> bool:
        """A socket is open: commands are for whoever is there, now."""
        return bool(self.fake.outbox.sockets.open)

    def populate(self, places: int) -> tuple[Sequence[Newcomer], Sequence[Place]]:
        """Half direct messages, a quarter channels, a quarter threads."""
        people = tuple(self.team.user(f"s{at}") for at in range(max(3, places // 2)))
        newcomers = [self._person(person, admin=at == 0) for at, person in enumerate(people)]
        made = [
            SlackPlace(network=self, channel=self.team.dm(person), people=(person,))
            for person in people
        ]
        while len(made) < places:
            channel = self.team.channel(f"channel-{len(made) // 2}")
            threaded = bool(len(made) % 2)
            made.append(SlackPlace(network=self, channel=channel, people=people, threaded=threaded))
        return newcomers, made[:places]

    def _person(self, person: User, *, admin: bool) -> Newcomer:
        channel = self.team.dm(person)
        return Newcomer(
            name=person.name,
            admin=admin,
            needs_code=True,
            link=lambda code: void(person.slash("/it0", f"link {code}", channel)),
            welcomed=lambda: any(len(text) > 1 for text in self.fake.texts(channel)),
        )

    def turned_round(self) -> AbstractContextManager[None]:
        """See the fake."""
        return self.fake.backwards()

    def shown(self) -> list[Shown]:
        """Everything that the bot wrote."""
        return [
            Shown(
                platform=self.name,
                place=_place(channel, message),
                ref=f"{channel.id}/{message.ts}",
                order=float(message.ts),
                texts=tuple(message.shown),
                open=message.streaming,
            )
            for channel in self.team.channels.values()
            for message in self.fake.bot_messages(channel)
        ]

    def leftovers(self) -> Mapping[str, int]:
        """Status lines that nobody took away."""
        left = sum(bool(status) for status in self.team.status_now.values())
        return Counter({"status lines left in Slack": left})

    def counts(self) -> Counts:
        """By what stands there."""
        messages = [
            message
            for channel in self.team.channels.values()
            for message in channel.messages.values()
            if message.app_id == self.fake.app.id
        ]
        return Counts(
            said=self.said,
            posts=len(messages),
            edits=sum(len(message.shown) for message in messages) - len(messages),
        )

    async def wait_for(self, predicate: Callable[[], bool], timeout_s: float) -> None:
        """See the fake."""
        await self.fake.wait_for(predicate, timeout_s)

    def refused(self) -> int:
        """By HTTP, or as an internal error."""
        return sum(
            call.status != 200 or call.error == "internal_error" for call in self.fake.calls()
        )

    def drizzle(self) -> None:
        """See the port."""
        self.fake.weather.limited_share = 0.01

    async def gust(self, rng: random.Random) -> None:
        """An outage, a limit, an error, a lost answer, broken sockets, doubled events."""
        weather = self.fake.weather
        match rng.choice(["down", "limited", "error", "lost", "lost", "cut", "refresh", "twice"]):
            case "down":
                weather.down = True
                await asyncio.sleep(0.6)
                weather.down = False
            case "limited":
                weather.limited += 2
            case "error":
                weather.errors.append("internal_error")
            case "lost":
                weather.lost_answers += 1
            case "cut":
                self.fake.outbox.sockets.cut()
            case "refresh":
                await self.fake.outbox.sockets.refresh()
            case _:
                weather.duplicates += 2

    def calm(self) -> None:
        """See the port."""
        weather = self.fake.weather
        weather.down, weather.limited, weather.duplicates = False, 0, 0
        weather.lost_answers, weather.limited_share = 0, 0.0
        weather.errors.clear()


def _place(channel: Channel, message: Message) -> str:
    """A thread of a channel is a place of its own; direct messages are one."""
    if channel.kind == "im":
        return channel.id
    return f"{channel.id}/{message.thread_ts or message.ts}"
