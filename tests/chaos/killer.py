"""The killer: SIGKILL at random instants and in the worst ones, SIGSTOP, SIGTERM."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import deque
from dataclasses import dataclass, field

from tests.chaos.points import Point, aimed
from tests.chaos.site import Hit, Slot
from tests.chaos.worker import PACE
from tests.support.processes import Process, ProcessFailure

AIM_TIMEOUT_S = 12.0
"""A worker that does not reach its point by then is killed wherever it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One planned attack; ``point`` is set when it is aimed."""

    kind: str
    point: Point | None = None


def blows(kills: int, *, freeze: bool, rng: random.Random) -> list[Blow]:
    """At least ``kills`` SIGKILLs, half of them aimed, plus SIGTERMs and perhaps SIGSTOPs."""
    points = list(Point)
    rng.shuffle(points)
    aimed_kills = (kills + 1) // 2
    plan = [Blow(kind="aimed", point=points[index % len(points)]) for index in range(aimed_kills)]
    plan += [Blow(kind="kill")] * (kills - aimed_kills)
    plan += [Blow(kind="term")] * max(1, kills // 8)
    if freeze:
        plan += [Blow(kind="freeze")] * max(1, kills // 4)
    rng.shuffle(plan)
    return plan


@dataclass(slots=True, kw_only=True)
class Killer:
    """Keeps every slot filled and deals the blows, each slot its own, side by side."""

    slots: list[Slot]
    plan: deque[Blow]
    rng: random.Random
    hits: list[Hit] = field(default_factory=list)
    missed: list[Point] = field(default_factory=list)
    """Aimed kills whose worker never came to the point."""
    _planned: int = 0
    _last: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        """Deal all blows; at the end every slot has a worker that nobody will harm."""
        self._planned = len(self.plan)
        async with asyncio.TaskGroup() as group:
            for slot in self.slots:
                group.create_task(self._fill(slot))

    def progress(self) -> float:
        """The share of the blows that was dealt, moving smoothly between them."""
        if not self._planned:
            return 0.0
        dealt = self._planned - len(self.plan) - len(self.slots)
        between = min(1.0, (time.monotonic() - self._last) / 5.0) * len(self.slots)
        return min(1.0, max(0.0, (dealt + between) / self._planned))

    async def _fill(self, slot: Slot) -> None:
        while self.plan:
            blow = self.plan.popleft()
            self._last = time.monotonic()
            after_s = self.rng.uniform(1.0, 5.0)
            armed = {} if blow.point is None else aimed(blow.point, after_s)
            process = slot.start(armed)
            await _until_ready(process)
            await self._deal(blow, slot, process)
        await _until_ready(slot.start({}))

    async def _deal(self, blow: Blow, slot: Slot, process: Process) -> None:
        match blow.kind:
            case "aimed":
                await self._await_suicide(blow, process)
            case "kill":
                await self._sleep()
            case "term":
                await self._sleep()
                process.terminate()
                self.hits.append(slot.hit("SIGTERM"))
                await _ended(process, 40)
                return
            case _:
                await self._freeze(slot, process)
                return
        process.kill()
        self.hits.append(slot.hit("SIGKILL, aimed" if blow.kind == "aimed" else "SIGKILL, random"))

    async def _await_suicide(self, blow: Blow, process: Process) -> None:
        if not await _ended(process, AIM_TIMEOUT_S) and blow.point is not None:
            self.missed.append(blow.point)

    async def _freeze(self, slot: Slot, process: Process) -> None:
        """Freeze it until the others took its turns, then let it find out."""
        await self._sleep()
        process.freeze()
        self.hits.append(slot.hit("SIGSTOP"))
        await asyncio.sleep(PACE.ttl_s + 3 * PACE.beat_s + 1)
        process.thaw()
        await asyncio.sleep(2)
        process.kill()
        self.hits.append(slot.hit("SIGKILL, random"))

    async def _sleep(self) -> None:
        await asyncio.sleep(self.rng.uniform(1.0, 5.0))


async def _ended(process: Process, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while process.returncode is None:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True


async def _until_ready(process: Process) -> None:
    """Wait until it serves, or was killed already (it may be armed); one that fails ends the run."""
    deadline = time.monotonic() + 30
    while "chaos: ready" not in process.output():
        failed = process.returncode is not None and process.returncode != -signal.SIGKILL
        if failed or time.monotonic() > deadline:
            raise ProcessFailure(f"A worker does not start:\n{process.output()[-3000:]}")
        if process.returncode is not None:
            return
        await asyncio.sleep(0.02)
