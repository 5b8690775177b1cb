"""Updates in: in order inside a chat, chats side by side.

``take`` returns a task that ends when the update is stored; until then it must stay
unconfirmed. When one fails, those behind it in its chat fail with it, so that the platform
brings them again in their order.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

import structlog
from telegram import Update

from bots.telegram.events import (
    Added,
    Edit,
    Happening,
    Moved,
    Pressed,
    Said,
    Shut,
    Unusable,
    translate,
)
from bots.telegram.events_text import Me
from bots.telegram.reception import Reception
from core import telemetry
from core.errors import StorageFailure

PATIENCE_S = 5.0
"""How long the end of the process waits for what is being stored."""
MAX_DONE = 5000
MAX_TRIES = 3
GIVE_UP_S = 60.0
"""An update that makes us crash, as often and for as long, is given up; its chat is told."""
"""An update that crashes us so often is dropped: it would hold up its chat for ever."""

_log = structlog.get_logger()

Task = asyncio.Task[None]


class Behind(Exception):
    """An update of the same chat that came before could not be stored."""


@dataclass(slots=True)
class Ingest:
    """The order of what comes in."""

    reception: Reception
    me: Me
    _open: dict[int, Task] = field(default_factory=dict)
    _tails: dict[str, Task] = field(default_factory=dict)
    now: Callable[[], float] = time.monotonic
    _failures: OrderedDict[int, tuple[int, float]] = field(default_factory=OrderedDict)
    """How often an update made us crash, and since when."""
    _done: OrderedDict[int, None] = field(default_factory=OrderedDict)
    """Updates that were stored: the platform may bring one again."""

    def take(self, raw: Mapping[str, Any]) -> Task | None:
        """Begin with an update; None when there is nothing (more) to do about it.

        The task raises ``StorageFailure`` or ``Behind`` when the update was not stored.
        """
        number = int(raw["update_id"])
        if number in self._done:
            return None
        if number in self._open:
            return self._open[number]
        try:
            happening = translate(Update.de_json(dict(raw), None), self.me)
        except Exception:  # noqa: BLE001  # one update must not hold up all that follow
            telemetry.LOOP_ERRORS.labels("telegram").inc()
            _log.exception("telegram.unreadable_update", update=number)
            happening = None
        if happening is None:
            self._note(number)
            return None
        task = self._begin(happening, number)
        self._open[number] = task
        task.add_done_callback(lambda done: self._finished(done, number))
        return task

    async def close(self) -> None:
        """Let what is being stored end."""
        if self._open:
            await asyncio.wait(self._open.values(), timeout=PATIENCE_S)

    def _begin(self, happening: Happening, number: int) -> Task:
        reception = self.reception
        if isinstance(happening, Said):
            return self._chain(happening, number, lambda: reception.said(happening))
        return self._chain(happening, number, lambda: reception.handle(happening))

    def _chain(
        self, happening: Happening, number: int, work: Callable[[], Awaitable[None]]
    ) -> Task:
        """Do it after what came before it in its chat."""
        chats = _chats(happening)
        before = {self._tails[chat] for chat in chats if chat in self._tails}

        async def follow() -> None:
            if before:
                await asyncio.wait(before)
            if any(task.cancelled() or task.exception() is not None for task in before):
                raise Behind
            try:
                await work()
            except StorageFailure:
                raise
            except Exception:
                telemetry.LOOP_ERRORS.labels("telegram").inc()
                _log.exception("telegram.update_failed", update=number)
                if not self._hopeless(number):
                    raise
                self.reception.lost(happening)

        task = asyncio.create_task(follow())
        self._tails |= dict.fromkeys(chats, task)
        task.add_done_callback(lambda done: self._unchain(chats, done))
        return task

    def _unchain(self, chats: tuple[str, ...], task: Task) -> None:
        for chat in chats:
            if self._tails.get(chat) is task:
                del self._tails[chat]

    def _finished(self, task: Task, number: int) -> None:
        self._open.pop(number, None)
        if not task.cancelled() and task.exception() is None:
            self._note(number)

    def _hopeless(self, number: int) -> bool:
        """Whether this update made us crash too often, for too long."""
        tries, since = self._failures.pop(number, (0, self.now()))
        self._failures[number] = (tries + 1, since)
        while len(self._failures) > MAX_DONE:
            self._failures.popitem(last=False)
        return tries + 1 >= MAX_TRIES and self.now() - since >= GIVE_UP_S

    def _note(self, number: int) -> None:
        self._failures.pop(number, None)
        self._done[number] = None
        while len(self._done) > MAX_DONE:
            self._done.popitem(last=False)


def _chats(happening: Happening) -> tuple[str, ...]:
    """Those whose order it must keep."""
    match happening:
        case Said(message=message) | Edit(message=message):
            return (message.address.channel,)
        case Moved(old=old, new=new):
            return (old.channel, new.channel)
        case (
            Pressed(address=address)
            | Added(address=address)
            | Shut(address=address)
            | Unusable(address=address)
        ):
            return (address.channel,)
    assert_never(happening)
