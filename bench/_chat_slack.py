"""The fake Slack as a stage: direct messages in one workspace; it punishes unless ``free``."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator, Mapping

from bench._chat_stage import Person, Sight, serve
from tests.fakes.slack import Message, SlackFake, plain_text
from tests.fakes.slack_blocks import elements_with_action

_SHOWS = ("chat.postMessage", "chat.update", "chat.startStream", "chat.appendStream")
_QUIET = ("auth.test", "apps.connections.open")


class Slack:
    """Implements ``Stage``."""

    def __init__(self, fake: SlackFake) -> None:
        """Look from now on."""
        self._fake = fake
        self._team = fake.team("bench")
        self._chats: dict[str, int] = {}
        self._seen = 0

    def people(self, chats: int) -> list[Person]:
        """See the port."""
        users = [self._team.user(f"u{number}") for number in range(chats)]
        self._chats = {self._team.dm(user).id: number for number, user in enumerate(users)}
        team = self._team.id
        return [Person(external_id=user.id, workspace=team, group=team) for user in users]

    def say(self, chat: int, text: str) -> None:
        """See the port."""
        user = self._team.user(f"u{chat}")
        user.say(self._team.dm(user), text)

    async def changed(self) -> None:
        """See the port."""
        await self._fake.wait_for(lambda: len(self._fake.app.calls) > self._seen, 60)

    def sights(self) -> Iterator[Sight]:
        """See the port."""
        calls = self._fake.app.calls[self._seen :]
        self._seen += len(calls)
        for call in calls:
            chat = self._chats.get(str(call.args.get("channel")))
            if call.error or chat is None or call.method not in (*_SHOWS, "chat.stopStream"):
                continue
            channel = self._team.channels[str(call.args["channel"])]
            ts = str(call.args.get("ts") or "")
            message = channel.messages.get(ts) or self._fake.bot_messages(channel)[-1]
            yield Sight(
                chat=chat, at=call.at, text=plain_text(message), preview=_unfinished(message)
            )

    def answers(self, word: str) -> int:
        """See the port."""
        channels = [self._team.channels[channel] for channel in self._chats]
        texts = [text for channel in channels for text in self._fake.texts(channel)]
        return sum(word in text.split() for text in texts)

    def calls(self) -> Mapping[str, int]:
        """See the port."""
        return Counter(call.method for call in self._fake.app.calls if call.method not in _QUIET)

    def penalties(self) -> tuple[int, int]:
        """See the port."""
        found = self._fake.limits.violations
        return len(found), sum(violation.ignored for violation in found)


def _unfinished(message: Message) -> bool:
    """Still streaming, or with a stop button."""
    actions = [element.get("action_id", "") for _, element in elements_with_action(message.blocks)]
    return message.streaming or any("stop" in action for action in actions)


async def _main(*, free: bool) -> None:
    async with SlackFake(rate_limits=not free) as fake:
        greeting = {
            "url": fake.api_url,
            "bot_token": fake.team("bench").bot_token,
            "app_token": fake.app_token,
            "signing_secret": fake.signing_secret,
        }
        await serve(Slack(fake), greeting)


if __name__ == "__main__":
    asyncio.run(_main(free="free" in sys.argv[1:]))
