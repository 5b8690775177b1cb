"""Simulated time, and a bot in it that obeys nothing but its pace."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from bots.telegram.pace import Pace
from core.sinks import DeliveryFailed, Throttled
from tests.fakes.telegram_flood import FloodModel

PRIVATE, GROUP = 7, -7


@dataclass
class Simulation:
    """Time that passes only when everybody sleeps."""

    at: float = 1000.0
    _sleepers: list[tuple[float, int, asyncio.Future[None]]] = field(default_factory=list)
    _order: Any = field(default_factory=count)

    def now(self) -> float:
        """This moment."""
        return self.at

    async def sleep(self, seconds: float) -> None:
        """Wait in simulated time."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.at + max(0.0, seconds), next(self._order), woken))
        await woken

    async def _play(self, *acts: Coroutine[Any, Any, None]) -> None:
        tasks = [asyncio.ensure_future(act) for act in acts]
        while not all(task.done() for task in tasks):
            for _ in range(8):
                await asyncio.sleep(0)
            if self._sleepers:
                self.at, _, woken = heapq.heappop(self._sleepers)
                woken.set_result(None)
        for task in tasks:
            task.result()

    def play(self, *acts: Coroutine[Any, Any, None]) -> None:
        """Run the acts to their ends."""
        asyncio.run(self._play(*acts))


def pace_of(simulation: Simulation) -> Pace:
    """A pace in simulated time."""
    return Pace(now=simulation.now, sleep=simulation.sleep)


@dataclass
class Bot:
    """A bot that answers, and obeys nothing but its pace."""

    pace: Pace
    flood: FloodModel
    simulation: Simulation
    rtt_s: float = 0.0
    answered: int = 0

    async def call(self, chat: int) -> bool:
        """Call Telegram, which decides halfway; False when it punishes."""
        await self.simulation.sleep(self.rtt_s / 2)
        retry_after = self.flood.admit(chat, "sendMessage")
        await self.simulation.sleep(self.rtt_s / 2)
        if retry_after:
            self.pace.punished(chat, retry_after)
        return not retry_after

    async def final(self, chat: int) -> None:
        """Call until it works, as the core and its sweeper do."""
        while True:
            try:
                async with self.pace.final(chat):
                    if await self.call(chat):
                        return
            except DeliveryFailed as refused:
                await self.simulation.sleep(refused.retry_after_s or 0)

    async def turn(self, chat: int, start: float, work: float, previews: float) -> None:
        """One turn: placeholder, previews while it works, final text; as the core does it."""
        await self.simulation.sleep(start)
        posted = await self._try(self.pace.placeholder(chat), chat)
        until = self.simulation.at + work
        while self.simulation.at < until:
            if posted:
                await self._try(self.pace.preview(chat), chat)
            await self.simulation.sleep(previews)
        if not posted:
            await self.final(chat)
        await self.final(chat)
        self.answered += 1

    async def turns(self, chat: int, plan: list[tuple[float, float]], previews: float) -> None:
        """One after another: how long each rests before it begins, and how long it works."""
        for rest, work in plan:
            await self.turn(chat, rest, work, previews)

    async def _try(self, admitted: AbstractAsyncContextManager[None], chat: int) -> bool:
        try:
            async with admitted:
                return await self.call(chat)
        except Throttled:
            return False


async def made(admitted: AbstractAsyncContextManager[None]) -> bool:
    """Whether a call may be made now."""
    try:
        async with admitted:
            return True
    except Throttled:
        return False
