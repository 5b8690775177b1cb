"""The users: many conversations that send again until they are acknowledged, and no longer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from tests.chaos.messages import Chat, Planned

REPEATED = 0.05
"""Share of the acknowledged messages that are sent once more."""


@dataclass(slots=True, kw_only=True)
class Clients:
    """All conversations. ``acked`` maps an event to the turn that it was acknowledged as."""

    chats: tuple[Chat, ...]
    users: tuple[str, ...]
    urls: list[str]
    progress: Callable[[], float]
    rng: random.Random
    acked: dict[str, str] = field(default_factory=dict)
    resent: int = 0
    contradictions: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Send everything, each message when its share of the run has come."""
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=5), connector=aiohttp.TCPConnector(limit=0)
            ) as session,
            asyncio.TaskGroup() as group,
        ):
            for chat in self.chats:
                group.create_task(self._talk(session, chat))

    async def _talk(self, session: aiohttp.ClientSession, chat: Chat) -> None:
        for number, message in enumerate(chat.messages):
            due = (number + self.rng.random()) / len(chat.messages) * 0.95
            while self.progress() < due:  # noqa: ASYNC110  # progress moves with the clock
                await asyncio.sleep(0.05)
            while not await self._send(session, chat, message):
                self.resent += 1
                await asyncio.sleep(0.25)
            if self.rng.random() < REPEATED:  # platforms deliver again even what they heard of
                await self._send(session, chat, message)

    async def _send(self, session: aiohttp.ClientSession, chat: Chat, message: Planned) -> bool:
        body = {
            "event": message.event,
            "conversation": chat.name,
            "platform": chat.platform,
            "user": self.users[chat.tenant],
            "text": message.text,
        }
        try:
            async with session.post(self.rng.choice(self.urls) + "/ingest", json=body) as answer:
                if answer.status == 400:
                    self.contradictions.append(f"{message.event}: {await answer.text()}")
                if answer.status != 200:
                    return answer.status == 400
                turn = str((await answer.json())["turn"])
        except (aiohttp.ClientError, TimeoutError):
            return False
        first = self.acked.setdefault(message.event, turn)
        if first != turn:
            self.contradictions.append(f"{message.event} was {first}, then {turn}")
        return True
