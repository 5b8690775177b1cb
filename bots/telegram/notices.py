"""Sentences that answer no turn: refusals, what a button did, what IT0 cannot use.

They are best effort: sent in the background at the chat's pace, few at a time, never twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field

import structlog
from telegram.error import BadRequest

from bots.telegram.render import render
from bots.telegram.sending import Place, Sender
from core.messages import ConversationAddress
from core.sinks import DeliveryFailed

MAX_WAITING = 200
MAX_WAITING_IN_CHAT = 3
"""Who provokes more than that at once does not wait for an answer."""

Task = asyncio.Task[None]

_log = structlog.get_logger()


@dataclass(slots=True)
class Notices:
    """Says sentences. ``close`` lets those end that are on their way."""

    sender: Sender
    _tasks: set[Task] = field(default_factory=set)
    _last: dict[str, Task] = field(default_factory=dict)
    """The latest sentence of each chat: the next one comes after it."""
    _waiting: Counter[str] = field(default_factory=Counter)

    def say(self, address: ConversationAddress, markdown: str, *, reply_to: str = "") -> None:
        """Say it there soon."""
        body = render(markdown)
        busy = self._waiting[address.channel] >= MAX_WAITING_IN_CHAT
        if not body.text or busy or len(self._tasks) >= MAX_WAITING:
            return
        place = Place(
            chat_id=int(address.channel),
            thread_id=int(address.thread) if address.thread else None,
            reply_to=int(reply_to) if reply_to.isdecimal() and place_is_group(address) else None,
        )

        before = self._last.get(address.channel)

        async def send() -> None:
            if before is not None:
                await asyncio.wait([before])
            try:
                async with self.sender.pace.final(self.sender.current(place.chat_id)):
                    await self.sender.send(place, body)
            except (DeliveryFailed, BadRequest) as error:
                _log.info("telegram.notice_failed", reason=str(error))

        self._last[address.channel] = self.run(send(), address.channel)

    def run(self, work: Coroutine[object, object, None], channel: str) -> Task:
        """Own a task of this chat."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        self._waiting[channel] += 1
        task.add_done_callback(lambda done: self._done(done, channel))
        return task

    async def close(self, patience_s: float = 2.0) -> None:
        """Wait for what is on its way, then drop the rest."""
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=patience_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, task: Task, channel: str) -> None:
        self._tasks.discard(task)
        if self._last.get(channel) is task:
            del self._last[channel]
        self._waiting[channel] -= 1
        if not self._waiting[channel]:
            del self._waiting[channel]
        if not task.cancelled() and task.exception() is not None:
            _log.error("telegram.notice_crashed", exc_info=task.exception())


def place_is_group(address: ConversationAddress) -> bool:
    """Whether others write there, too, so that an answer should say what it answers."""
    return address.channel.startswith("-")
