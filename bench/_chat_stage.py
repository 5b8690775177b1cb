"""A fake chat platform in a process of its own, with people who write and look at the clock.

Its parent asks in lines of JSON: ``{"do": "people", "chats": N}``, then
``{"do": "talk", ...}`` as often as it likes. In a talk every person writes, waits until the
final answer is shown, perhaps pauses, and writes again.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who writes, as the platform names them; ``group`` is what must be linked."""

    external_id: str
    workspace: str = ""
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one chat shows since ``at`` (monotonic seconds); a preview may still change."""

    chat: int
    at: float
    text: str
    preview: bool


class Stage(Protocol):
    """A platform, as its people see it."""

    def people(self, chats: int) -> list[Person]:
        """Make that many private chats."""

    def say(self, chat: int, text: str) -> None:
        """The chat's person writes."""

    async def changed(self) -> None:
        """Wait until there may be something to see."""

    def sights(self) -> Iterator[Sight]:
        """What is new since the last time."""

    def answers(self, word: str) -> int:
        """How many messages in all chats show this word."""

    def calls(self) -> Mapping[str, int]:
        """Calls by method since the start, without the waiting for events."""

    def penalties(self) -> tuple[int, int]:
        """Penalties since the start, and calls that were made into running ones."""


@dataclass(slots=True, kw_only=True)
class _Wait:
    """A person who waits for an answer of ``w0`` to ``last``."""

    last: str
    start: float
    done: asyncio.Future[float]
    first: float = 0.0


@dataclass(slots=True)
class Crowd:
    """All people of a stage."""

    stage: Stage
    _waits: dict[int, _Wait] = field(default_factory=dict)

    async def talk(self, ask: Mapping[str, Any]) -> dict[str, Any]:
        """Let them talk; the turns as (start, first, final), null for one without an answer."""
        last = f"w{ask['words'] - 1}"
        shown, calls = self.stage.answers(last), Counter(self.stage.calls())
        penalties, again = self.stage.penalties()
        watcher = asyncio.create_task(self._watch())
        try:
            talks = [self._talk(chat, last, ask) for chat in range(ask["chats"])]
            done = await asyncio.gather(*talks)
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        now_penalties, now_again = self.stage.penalties()
        return {
            "turns": [turn for turns in done for turn in turns],
            "shown": self.stage.answers(last) - shown,
            "calls": dict(Counter(self.stage.calls()) - calls),
            "penalties": now_penalties - penalties,
            "provoked_again": now_again - again,
        }

    async def _talk(
        self, chat: int, last: str, ask: Mapping[str, Any]
    ) -> list[tuple[float, float, float] | None]:
        turns: list[tuple[float, float, float] | None] = []
        for number in range(ask["messages"]):
            if number:
                await asyncio.sleep(ask["pause_s"])
            done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
            wait = self._waits[chat] = _Wait(last=last, start=time.monotonic(), done=done)
            self.stage.say(chat, f"c{chat}n{number} {ask['text']}")
            try:
                async with asyncio.timeout(ask["timeout_s"]):
                    final = await done
            except TimeoutError:
                turns.append(None)
                break
            turns.append((wait.start, wait.first, final))
        return turns

    async def _watch(self) -> None:
        while True:
            for sight in self.stage.sights():
                self._look(sight)
            with suppress(TimeoutError):
                await self.stage.changed()

    def _look(self, sight: Sight) -> None:
        wait = self._waits.get(sight.chat)
        if wait is None or wait.done.done() or sight.at < wait.start:
            return
        words = sight.text.split()
        if "w0" in words and not wait.first:
            wait.first = sight.at
        if wait.last in words and not sight.preview:
            wait.done.set_result(sight.at)


async def serve(stage: Stage, greeting: Mapping[str, str]) -> None:
    """Answer the parent until it closes the pipe."""
    crowd = Crowd(stage)
    print(json.dumps(greeting), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        ask = json.loads(line)
        if ask["do"] == "people":
            answer: object = [asdict(person) for person in stage.people(ask["chats"])]
        else:
            answer = await crowd.talk(ask)
        print(json.dumps(answer), flush=True)
