"""The killer of the chat runs: SIGKILL at random and in bad moments, SIGSTOP, SIGTERM.

It sees only the platforms. The bad moments: a message has just been said; a call has just had
its effect and its answer is not sent; the process is starting.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

from tests.chaos.chat_network import Counts, Network
from tests.chaos.chat_site import Seat

AIM_TIMEOUT_S = 4.0
"""Where nothing happens for so long, it strikes anyway."""
FROZEN_S = 3.0
"""A process that is alone, or one that only listens."""
FROZEN_LEASE_S = 14.0
"""A worker beside others: longer than its leases live (``core.scheduling.Pace``)."""


class Aim(StrEnum):
    """When a SIGKILL falls."""

    RANDOM = "at a random moment"
    STARTING = "while it starts"
    SAID = "a message was said"
    POSTED = "a message was posted, the answer is not out"
    EDITED = "a message was edited, the answer is not out"


_KILLS = (Aim.RANDOM, Aim.POSTED, Aim.RANDOM, Aim.EDITED, Aim.SAID, Aim.STARTING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """What was done to a process, and when (``time.monotonic``)."""

    at: float
    kind: str
    role: str

    @property
    def deadly(self) -> bool:
        """Nothing was handed back."""
        return self.kind.startswith("SIGKILL")


@dataclass(slots=True, kw_only=True)
class ChatKiller:
    """Deals the blows one after another."""

    seats: Sequence[Seat]
    networks: Sequence[Network]
    rng: random.Random
    kills: int
    pace_s: float
    """The longest pause before a blow; all blows take about half of it on average."""
    strikes: list[Strike] = field(default_factory=list)
    _plan: deque[Aim | str] = field(default_factory=deque)
    _planned: int = 0
    _last: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Plan every blow."""
        plan: list[Aim | str] = [_KILLS[at % len(_KILLS)] for at in range(self.kills)]
        plan += ["SIGTERM"] * max(1, self.kills // 8)
        plan += ["SIGSTOP"] * max(1, self.kills // 8)
        self.rng.shuffle(plan)
        self._plan.extend(plan)
        self._planned = len(plan)

    async def run(self) -> None:
        """Deal them; at the end every seat has a process that nobody will harm."""
        while self._plan:
            blow = self._plan.popleft()
            self._last = time.monotonic()
            victims = self._victims(blow)
            match blow:
                case "SIGTERM":
                    await self._term(victims)
                case "SIGSTOP":
                    await self._freeze(victims[0])
                case _:
                    await self._kill(victims, Aim(blow))
            await self._refill(victims)
        for seat in self.seats:
            await seat.ready()

    def progress(self) -> float:
        """The share of the blows that was dealt, moving smoothly between them."""
        between = min(1.0, (time.monotonic() - self._last) / self.pace_s)
        return min(1.0, (self._planned - len(self._plan) - 1 + between) / self._planned)

    def _victims(self, blow: Aim | str) -> list[Seat]:
        """An aimed blow strikes all that can have made the call, a random one one or two."""
        if len(self.seats) == 1:
            return list(self.seats)
        workers = [seat for seat in self.seats if seat.role == "worker"]
        match blow:
            case Aim.POSTED | Aim.EDITED:
                return workers
            case Aim.SAID:
                return [seat for seat in self.seats if seat.role in {"telegram", "slack"}]
            case "SIGSTOP":  # so that others take its turns
                return [self.rng.choice(workers)]
            case "SIGTERM":
                return [self.rng.choice(self.seats)]
            case _:
                return self.rng.sample(list(self.seats), self.rng.randint(1, 2))

    async def _kill(self, victims: Sequence[Seat], aim: Aim) -> None:
        if aim is Aim.STARTING:
            await self._refill(victims, term=True)
            await asyncio.sleep(self.rng.uniform(0.1, 1.5))
        else:
            await self._ready(victims)
            await asyncio.sleep(self.rng.uniform(0.2, self.pace_s))
        await self._aim(aim)
        for seat in victims:
            seat.process.kill()
            self._note(f"SIGKILL {aim}", seat)

    async def _aim(self, aim: Aim) -> None:
        if aim in {Aim.RANDOM, Aim.STARTING}:
            return
        network = self.rng.choice(self.networks)
        before = _count(network.counts(), aim)
        with suppress(TimeoutError):
            await network.wait_for(lambda: _count(network.counts(), aim) > before, AIM_TIMEOUT_S)
        if aim is Aim.SAID:
            await asyncio.sleep(self.rng.uniform(0, 0.05))

    async def _term(self, victims: Sequence[Seat]) -> None:
        await self._ready(victims)
        await asyncio.sleep(self.rng.uniform(0.2, self.pace_s))
        for seat in victims:
            seat.process.terminate()
            self._note("SIGTERM", seat)
        for seat in victims:
            await asyncio.to_thread(seat.process.wait, timeout_s=40)

    async def _freeze(self, seat: Seat) -> None:
        """Freeze it, then let it find out what it missed; it lives on."""
        await self._ready([seat])
        await asyncio.sleep(self.rng.uniform(0.2, self.pace_s))
        seat.process.freeze()
        self._note("SIGSTOP", seat)
        await asyncio.sleep(FROZEN_LEASE_S if seat.role == "worker" else FROZEN_S)
        seat.process.thaw()

    async def _ready(self, seats: Sequence[Seat]) -> None:
        for seat in seats:
            await seat.ready()

    async def _refill(self, seats: Sequence[Seat], *, term: bool = False) -> None:
        """Put a new process where the old one ended, or is to end now."""
        for seat in seats:
            if term and seat.process.returncode is None:
                await seat.ready()
                seat.process.kill()
                self._note(f"SIGKILL {Aim.RANDOM}", seat)
            if seat.process.returncode is not None:
                _require_killed(seat)
                seat.start()

    def _note(self, kind: str, seat: Seat) -> None:
        self.strikes.append(Strike(at=time.monotonic(), kind=kind, role=seat.role))


def _require_killed(seat: Seat) -> None:
    """A process that ended by itself, with an error, must not pass unseen."""
    status = seat.process.returncode
    if status not in {0, -signal.SIGKILL, -signal.SIGTERM}:
        raise AssertionError(f"it0 {seat.role} ended with {status}")


def _count(counts: Counts, aim: Aim) -> int:
    match aim:
        case Aim.SAID:
            return counts.said
        case Aim.POSTED:
            return counts.posts
        case _:
            return counts.edits
