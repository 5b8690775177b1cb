"""The fake Telegram as a stage: private chats; it punishes unless told ``free``."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator, Mapping

from bench._chat_stage import Person, Sight, serve
from tests.fakes.telegram import FloodLimits, TelegramFake

_FIRST = 5_000_000
_SHOWS = ("sendMessage", "editMessageText", "sendMessageDraft")
_QUIET = ("getUpdates", "getMe")


class Telegram:
    """Implements ``Stage``; chat N is that of user ``_FIRST`` + N."""

    def __init__(self, fake: TelegramFake) -> None:
        """Look from now on."""
        self._fake = fake
        self._seen = 0

    def people(self, chats: int) -> list[Person]:
        """See the port."""
        made = [self._fake.private(_FIRST + chat).user for chat in range(chats)]
        return [Person(external_id=str(user.id)) for user in made]

    def say(self, chat: int, text: str) -> None:
        """See the port."""
        room = self._fake.private(_FIRST + chat)
        room.say(room.user, text)

    async def changed(self) -> None:
        """See the port."""
        await self._fake.wait_for(lambda: len(self._fake.calls) > self._seen, 60)

    def sights(self) -> Iterator[Sight]:
        """See the port."""
        calls = self._fake.calls[self._seen :]
        self._seen += len(calls)
        for call in calls:
            if call.status == 200 and call.method in _SHOWS:
                draft = call.method == "sendMessageDraft"
                yield Sight(
                    chat=call.chat_id - _FIRST,
                    at=call.at,
                    text=call.params.get("text", ""),
                    preview=draft or bool(call.params.get("reply_markup")),
                )

    def answers(self, word: str) -> int:
        """See the port."""
        chats = self._fake.hub.chats.values()
        return sum(word in text.split() for chat in chats for text in chat.texts())

    def calls(self) -> Mapping[str, int]:
        """See the port."""
        return Counter(call.method for call in self._fake.calls if call.method not in _QUIET)

    def penalties(self) -> tuple[int, int]:
        """See the port."""
        found = [penalty for some in self._fake.penalties.values() for penalty in some]
        return len(found), sum(penalty.provoked_again for penalty in found)


async def _main(*, free: bool) -> None:
    async with TelegramFake(flood=None if free else FloodLimits()) as fake:
        await serve(Telegram(fake), {"token": fake.token, "url": fake.url})


if __name__ == "__main__":
    asyncio.run(_main(free="free" in sys.argv[1:]))
