"""Who runs which turn when: slots, claims, heartbeats, the reaper, the delivery sweeper.

A conversation has at most one running turn. A worker holds it by a lease on the
conversation's row; the lease lives while the worker's heartbeat does, and every write names
the lease's epoch, so a worker that was declared dead cannot harm the one that took over.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from structlog.contextvars import bound_contextvars

from core import telemetry
from core.control import Control, Pause, Stop
from core.errors import Fenced, StorageFailure
from core.metering import Settlement
from core.turns import Turn

CLAIM_BATCH = 16
HAND_BACK_S = 30.0
"""How long a turn may take to stop after the grace of a shutdown is over."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Intervals in seconds. A lease is safe while ``beat_s`` is well under ``ttl_s``."""

    beat_s: float = 2.0
    ttl_s: float = 10.0
    poll_s: float = 0.5
    sweep_s: float = 2.0
    retry_s: float = 1.0
    """Before a crashed attempt is tried again, times the number of failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What a heartbeat found."""

    lost: frozenset[str]
    """Turns that run here though their lease is gone."""
    stop: tuple[str, ...]
    """Turns that run here and were asked to stop, perhaps through another process."""
    reaped: int
    """Leases freed: of dead workers, and own ones that no task holds."""


class LeaseStore(Protocol):
    """Leases on conversations. One transaction each; raises ``StorageFailure``."""

    async def beat(self, worker: str, ttl_ms: int, running: tuple[Turn, ...]) -> Beat:
        """Renew this worker's row, free what dead workers and lost commits left behind."""

    async def claim(self, worker: str, limit: int, tenant_limit: int) -> tuple[Turn, ...]:
        """Lease ready conversations, fairly across tenants, and take their next turns."""

    async def hand_back(
        self, turn: Turn, *, settlements: tuple[Settlement, ...], failed: bool, pause_ms: int
    ) -> None:
        """Give an unfinished turn back to the queue; fenced."""

    async def park(self, turn: Turn, *, settlements: tuple[Settlement, ...], pause: Pause) -> None:
        """Let an unfinished turn wait for humans; fenced. Decided meanwhile, it waits no more."""

    async def leave(self, worker: str) -> None:
        """This worker is gone."""


class Runner(Protocol):
    """What runs a turn: ``core.turn.TurnRunner``."""

    async def run(self, turn: Turn, control: Control) -> tuple[Settlement, ...]:
        """Answer the turn; see there."""


Sweep = Callable[[str], Awaitable[int]]
"""Delivers what is finished and undelivered, as the given worker; returns how many."""


@dataclass(slots=True)
class _Running:
    turn: Turn
    control: Control
    task: asyncio.Task[None]


@dataclass(slots=True, kw_only=True)
class Scheduler:
    """Runs turns in a bounded number of slots; the inbox and the claim loop share them."""

    leases: LeaseStore
    sweep: Sweep
    slots: int
    tenant_slots: int
    pace: Pace = field(default_factory=Pace)
    exclusive: bool = False
    """No other process can take leases (SQLite): they need no deadline."""
    worker: str = field(default_factory=lambda: f"w_{secrets.token_hex(6)}")
    runner: Runner | None = None
    _running: dict[str, _Running] = field(default_factory=dict)
    _held: int = 0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _draining: bool = False
    _handing_back: bool = False
    _left: bool = False
    _good_beat: float = field(default_factory=time.monotonic)

    # -- slots (what the inbox sees) ------------------------------------------------------

    def reserve(self) -> str | None:
        """Hold a slot, or None when all are taken or the process is shutting down."""
        if self._draining or len(self._running) + self._held >= self.slots:
            return None
        self._held += 1
        return self.worker

    def start(self, turn: Turn | None) -> None:
        """Fill a held slot with a leased turn, or free it."""
        self._held -= 1
        if turn is not None:
            self._spawn(turn)
        else:
            self.wake()

    def stop(self, turn_ids: tuple[str, ...]) -> None:
        """Stop the turns among these that run here."""
        for turn_id in turn_ids:
            if (running := self._running.get(turn_id)) is not None:
                running.control.stop(Stop.USER)

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    @property
    def running(self) -> int:
        """Turns that run in this process."""
        return len(self._running)

    @property
    def healthy(self) -> bool:
        """Whether the heartbeat reaches the database and turns are being accepted."""
        return not self._draining and self.still_leased()

    def still_leased(self) -> bool:
        """Whether the last good heartbeat is recent enough that nobody took our leases."""
        return self.exclusive or time.monotonic() - self._good_beat < 0.6 * self.pace.ttl_s

    # -- the life of a worker -------------------------------------------------------------

    async def begin(self) -> None:
        """Join: the first heartbeat, which also frees what dead workers held."""
        await self._beat()

    async def run(self) -> None:
        """Beat, claim and sweep until cancelled; an error in one loop stops none of them."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._forever("beat", self._beat, self.pace.beat_s))
            group.create_task(self._forever("claim", self._claim, 0))
            group.create_task(self._forever("sweep", self._sweep, self.pace.sweep_s))

    async def drain(self, grace_s: float) -> None:
        """Take no more turns, let the running ones end, hand back those that do not.

        Waits for claims and acceptances in flight too: what they lease is handed back. Once
        is enough: what did not end by then (a reply that its platform keeps waiting) gets no
        second grace.
        """
        if self._left:
            return
        self._draining = True
        if self._running:
            _log.info("drain.waiting", turns=len(self._running), grace_s=grace_s)
        await self._until_idle(grace_s)
        self._handing_back = True
        for running in list(self._running.values()):
            running.control.stop(Stop.HAND_BACK)
        await self._until_idle(HAND_BACK_S)
        self._left = True
        with suppress(StorageFailure):
            await self.leases.leave(self.worker)

    async def _until_idle(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (self._running or self._held) and time.monotonic() < deadline:
            tasks = [running.task for running in self._running.values()]
            pause = min(0.05, max(deadline - time.monotonic(), 0))
            if tasks and not self._held:
                await asyncio.wait(tasks, timeout=max(deadline - time.monotonic(), 0))
            else:
                await asyncio.sleep(pause)

    async def _forever(
        self, name: str, step: Callable[[], Awaitable[None]], pause_s: float
    ) -> None:
        while True:
            try:
                await step()
            except StorageFailure as failure:
                telemetry.LOOP_ERRORS.labels(name).inc()
                _log.warning("loop.storage", loop=name, code=failure.code)
                await asyncio.sleep(1)
            except Exception:  # noqa: BLE001  # a background loop must outlive every bug
                telemetry.LOOP_ERRORS.labels(name).inc()
                _log.exception("loop.crashed", loop=name)
                await asyncio.sleep(1)
            await asyncio.sleep(pause_s)

    async def _beat(self) -> None:
        if self._left:
            return
        if not self.still_leased():
            for running in self._running.values():
                running.control.stop(Stop.LOST)
        turns = tuple(running.turn for running in self._running.values())
        started = time.monotonic()
        beat = await self.leases.beat(self.worker, int(self.pace.ttl_s * 1000), turns)
        self._good_beat = started
        telemetry.REAPED.inc(beat.reaped)
        for turn in turns:
            running_now = self._running.get(turn.id)
            # A later attempt of the same turn may have begun here since: its lease is good.
            if turn.id in beat.lost and running_now is not None and running_now.turn is turn:
                running_now.control.stop(Stop.LOST)
        self.stop(beat.stop)
        if beat.reaped:
            self.wake()

    async def _claim(self) -> None:
        # Not wait_for: on Python 3.11 it swallows a cancellation that meets the wake-up.
        with suppress(TimeoutError):
            async with asyncio.timeout(self.pace.poll_s):
                await self._wake.wait()
        self._wake.clear()
        free = self.slots - len(self._running) - self._held
        if self._draining or free <= 0 or not self.still_leased():
            return
        limit = min(free, CLAIM_BATCH)
        self._held += limit
        try:
            turns = await self.leases.claim(self.worker, limit, self.tenant_slots)
        finally:
            self._held -= limit
        for turn in turns:
            self._spawn(turn)
        if len(turns) == limit:
            self.wake()

    async def _sweep(self) -> None:
        if not self._draining:
            await self.sweep(self.worker)

    # -- one turn -------------------------------------------------------------------------

    def _spawn(self, turn: Turn) -> None:
        control = Control()
        task = asyncio.create_task(self._run(turn, control), name=turn.id)
        control.task = task
        self._running[turn.id] = _Running(turn, control, task)
        telemetry.RUNNING.set(len(self._running))
        if self._handing_back:
            control.stop(Stop.HAND_BACK)
        task.add_done_callback(lambda _: self._ended(turn))

    def _ended(self, turn: Turn) -> None:
        held = self._running.get(turn.id)
        if held is not None and held.turn is turn:  # a newer attempt may run here by now
            del self._running[turn.id]
        telemetry.RUNNING.set(len(self._running))
        self.wake()

    async def _run(self, turn: Turn, control: Control) -> None:
        if self.runner is None:
            message = "the scheduler was started before its runner was wired"
            raise RuntimeError(message)
        with bound_contextvars(
            turn=turn.id, conversation=turn.conversation_id, tenant=turn.tenant_id
        ):
            try:
                settlements = await self.runner.run(turn, control)
                if control.pause is not None:
                    await self.leases.park(turn, settlements=settlements, pause=control.pause)
                elif control.handed_back:
                    await self.leases.hand_back(
                        turn, settlements=settlements, failed=False, pause_ms=0
                    )
            except Fenced:
                telemetry.FENCED.inc()
                _log.info("turn.fenced")
            except asyncio.CancelledError:
                _log.info("turn.dropped", reason=str(control.reason))
            except StorageFailure as failure:
                # The lease stays ours; the heartbeat finds that no task holds it.
                _log.warning("turn.storage", code=failure.code)
            except Exception:  # noqa: BLE001  # a bug in one turn must not reach another
                _log.exception("turn.crashed", attempt=turn.attempt)
                await self._failed(turn)

    async def _failed(self, turn: Turn) -> None:
        pause = int(self.pace.retry_s * 1000) * (turn.failures + 1)
        with suppress(StorageFailure, Fenced):
            await self.leases.hand_back(turn, settlements=(), failed=True, pause_ms=pause)
