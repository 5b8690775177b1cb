"""Updates in: in order inside a chat, chats side by side, albums as one message.

``take`` returns a task that ends when the update is stored; until then it must stay
unconfirmed. When one fails, those behind it in its chat fail with it, so that the platform
brings them again in their order.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

import structlog
from telegram import Update

from bots.telegram.events import Edit, Happening, Moved, Pressed, Said, Shut, Unusable, translate
from bots.telegram.events_text import Me
from bots.telegram.reception import Reception
from core import telemetry
from core.errors import StorageFailure

QUIET_S = 0.8
"""An album is complete when no part came for so long."""
ALBUM_S = 3.0
"""Or when its first part has waited for so long."""
PATIENCE_S = 5.0
"""How long the end of the process waits for what is being stored."""
MAX_DONE = 5000
MAX_TRIES = 3
"""An update that crashes us so often is dropped: it would hold up its chat for ever."""

_log = structlog.get_logger()

Task = asyncio.Task[None]


@dataclass(slots=True)
class _Album:
    """Parts that came so far."""

    began: float
    parts: list[Said]
    task: Task | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    hurry: bool = False
    """The process ends: wait for no more parts."""


class Behind(Exception):
    """An update of the same chat that came before could not be stored."""


@dataclass(slots=True)
class Ingest:
    """The order of what comes in."""

    reception: Reception
    me: Me
    now: Callable[[], float] = time.monotonic
    _open: dict[int, Task] = field(default_factory=dict)
    _tails: dict[str, Task] = field(default_factory=dict)
    _albums: dict[tuple[str, str], _Album] = field(default_factory=dict)
    _failures: Counter[int] = field(default_factory=Counter)
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

    async def close(self, *, flush: bool) -> None:
        """Let everything end; albums that wait for parts go in now, or are dropped."""
        for album in list(self._albums.values()):
            album.hurry = True
            album.news.set()
            if not flush and album.task is not None:
                album.task.cancel()
        if self._open:
            await asyncio.wait(self._open.values(), timeout=PATIENCE_S)

    def _begin(self, happening: Happening, number: int) -> Task:
        reception = self.reception
        if isinstance(happening, Said) and happening.album:
            return self._album_part(happening, number)
        if isinstance(happening, Said):
            return self._chain(happening, number, lambda: reception.said([happening]))
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
                self._failures[number] += 1
                if self._failures[number] < MAX_TRIES:
                    raise
                del self._failures[number]

        task = asyncio.create_task(follow())
        self._tails |= dict.fromkeys(chats, task)
        task.add_done_callback(lambda done: self._unchain(chats, done))
        return task

    def _unchain(self, chats: tuple[str, ...], task: Task) -> None:
        for chat in chats:
            if self._tails.get(chat) is task:
                del self._tails[chat]

    def _album_part(self, part: Said, number: int) -> Task:
        key = (part.message.address.channel, part.album)
        album = self._albums.get(key)
        if album is not None and album.task is not None and not album.task.done():
            album.parts.append(part)
            album.news.set()
            return album.task
        fresh = self._albums[key] = _Album(began=self.now(), parts=[part])
        fresh.task = self._chain(part, number, lambda: self._collect(key, fresh))
        fresh.task.add_done_callback(lambda _done: self._forget(key, fresh))
        return fresh.task

    async def _collect(self, key: tuple[str, str], album: _Album) -> None:
        while not album.hurry and (left := album.began + ALBUM_S - self.now()) > 0:
            album.news.clear()
            try:
                async with asyncio.timeout(min(QUIET_S, left)):
                    await album.news.wait()
            except TimeoutError:
                break
        self._forget(key, album)
        await self.reception.said(album.parts)

    def _forget(self, key: tuple[str, str], album: _Album) -> None:
        if self._albums.get(key) is album:
            del self._albums[key]

    def _finished(self, task: Task, number: int) -> None:
        self._open.pop(number, None)
        if not task.cancelled() and task.exception() is None:
            self._note(number)

    def _note(self, number: int) -> None:
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
        case Pressed(address=address) | Shut(address=address) | Unusable(address=address):
            return (address.channel,)
    assert_never(happening)
