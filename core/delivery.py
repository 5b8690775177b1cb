"""The sweeper: finished replies that did not reach their platform are brought there.

Covers a crash between the end of a turn and its delivery, and a platform that was down. The
parts that exist are edited, missing ones are posted, so nothing is said twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import structlog

from core import telemetry
from core.replies import DeliveryFailed, Destination, PartLog, Reply, SinkChoice
from core.turnlog import DeliveryLog

HOLD_MS = 60_000
"""How long a worker may take to deliver one reply before another one tries."""
GIVE_UP_MS = 24 * 3600 * 1000
"""A platform that refuses for a day will not take the reply any more."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class DueReply:
    """A finished turn whose reply is not on its platform yet, claimed by this worker."""

    to: Destination
    text: str
    finished_ms_ago: int


class DueReplies(Protocol):
    """Finished and undelivered turns."""

    async def claim_undelivered(
        self, worker: str, *, hold_ms: int, limit: int
    ) -> tuple[DueReply, ...]:
        """Claim replies whose deliverer is dead or has held them for too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliverer:
    """Delivers what others left behind."""

    due: DueReplies
    log: DeliveryLog
    parts: PartLog
    sinks: SinkChoice

    async def sweep(self, worker: str) -> int:
        """Deliver a batch; returns how many were due."""
        batch = await self.due.claim_undelivered(worker, hold_ms=HOLD_MS, limit=20)
        for reply in batch:
            await self._deliver(reply)
        return len(batch)

    async def _deliver(self, due: DueReply) -> None:
        sink = self.sinks(due.to.address.platform)
        if sink is None:
            await self.log.delivered(due.to, epoch=None, problem="")
            return
        try:
            await Reply(sink, self.parts, due.to, None).deliver(due.text)
        except DeliveryFailed as failure:
            gone = failure.permanent or due.finished_ms_ago > GIVE_UP_MS
            telemetry.DELIVERY_ERRORS.labels("permanent" if gone else "later").inc()
            _log.warning("delivery.failed", turn=due.to.turn_id, permanent=gone)
            if gone:
                await self.log.delivered(due.to, epoch=None, problem=failure.sentence)
            return
        await self.log.delivered(due.to, epoch=None, problem="")
