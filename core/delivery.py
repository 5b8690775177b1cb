"""The sweeper: finished replies that did not reach their platform are brought there.

Covers a crash between the end of a turn and its delivery, and a platform that was down. The
parts that exist are edited, missing ones are posted, so nothing is said twice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

import structlog

from core import telemetry
from core.errors import Fenced, StorageFailure
from core.replies import HOLD_MS, PartLog, Reply
from core.sinks import DeliveryFailed, Destination, Sinks
from core.turnlog import DeliveryLog
from core.turns import Offer

SWEEP_LIMIT = 200
AT_ONCE = 32
"""More than one platform's pace keeps waiting at a time."""
LOOK_AGAIN_S = 1.0
END_S = 10.0
"""What a shutdown leaves a delivery that was begun."""
PATIENCE_S = 2.0
"""Longer pauses are not waited for here: the reply is put off, and others get the place."""
PUT_OFF_S = 15.0
"""When the platform does not say for how long."""
GIVE_UP_MS = 24 * 3600 * 1000
"""A platform that refuses for a day will not take the reply any more."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class DueReply:
    """A finished turn whose reply is not on its platform yet, claimed by this worker."""

    to: Destination
    text: str
    finished_ms_ago: int
    offer: Offer | None = None
    approvals: tuple[str, ...] = ()


class DueReplies(Protocol):
    """Finished and undelivered turns."""

    async def claim_undelivered(
        self, worker: str, *, platforms: tuple[str, ...], hold_ms: int, limit: int
    ) -> tuple[DueReply, ...]:
        """Claim replies on these platforms whose deliverer is dead or silent for too long."""

    async def renew(self, to: Destination, worker: str, hold_ms: int) -> bool:
        """Keep a claim for so long; False when it is another worker's, or delivered."""

    async def put_off(self, to: Destination, worker: str, pause_ms: int) -> None:
        """Give a claim up, and let nobody try before the pause is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliverer:
    """Delivers what others left behind."""

    due: DueReplies
    log: DeliveryLog
    parts: PartLog
    sinks: Sinks

    async def sweep(self, worker: str) -> int:
        """Deliver what is due now, side by side; returns how many were tried.

        A slow one (its platform's pace) keeps its own place only: what comes due meanwhile
        gets the others. One that was begun is let end, whatever happens to the rest: a call
        that is cut may have taken effect, and would be made again.
        """
        running: set[asyncio.Task[None]] = set()
        ended: list[asyncio.Task[None]] = []
        try:
            while True:
                broken = any(task.exception() is not None for task in ended)
                batch = () if broken else await self._claim(worker, len(running), len(ended))
                running |= {asyncio.create_task(self._try(due, worker)) for due in batch}
                if not running:
                    break
                done, running = await asyncio.wait(
                    running, timeout=LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED
                )
                ended += done
        finally:
            await _let_end(running)
        await asyncio.gather(*ended)
        return len(ended)

    async def _claim(self, worker: str, running: int, ended: int) -> tuple[DueReply, ...]:
        platforms = tuple(self.sinks)
        limit = min(AT_ONCE, SWEEP_LIMIT - ended) - running
        if not platforms or limit <= 0:
            return ()
        return await self.due.claim_undelivered(
            worker, platforms=platforms, hold_ms=HOLD_MS, limit=limit
        )

    async def _try(self, due: DueReply, worker: str) -> None:
        """One reply's trouble must not hold up the others."""
        gone = due.finished_ms_ago > GIVE_UP_MS
        problem, pause_s = "", PUT_OFF_S
        try:
            await self._deliver(due, worker)
        except DeliveryFailed as failure:
            gone = gone or failure.permanent
            problem = failure.sentence
            pause_s = failure.retry_after_s or PUT_OFF_S
        except Fenced:
            return
        except StorageFailure:
            raise
        except Exception:  # noqa: BLE001  # an adapter's bug
            _log.exception("delivery.crashed", turn=due.to.turn_id)
            problem = "The reply could not be shown there; the log has the details."
        if problem:
            telemetry.DELIVERY_ERRORS.labels("permanent" if gone else "later").inc()
            _log.warning("delivery.failed", turn=due.to.turn_id, permanent=gone)
        if gone or not problem:
            await self.log.delivered(due.to, epoch=None, problem=problem)
        else:
            await self.due.put_off(due.to, worker, int(pause_s * 1000))

    async def _deliver(self, due: DueReply, worker: str) -> None:
        async def hold() -> bool:
            return await self.due.renew(due.to, worker, HOLD_MS)

        sink = self.sinks[due.to.address.platform]
        reply = Reply(sink, self.parts, due.to, None, patience_s=PATIENCE_S)
        await reply.deliver(due.text, hold, offer=due.offer, approvals=due.approvals)


async def _let_end(running: set[asyncio.Task[None]]) -> None:
    """Wait a while for what was begun; then it is cut, and the next sweep reconciles it."""
    if running:
        await asyncio.wait(running, timeout=END_S)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
