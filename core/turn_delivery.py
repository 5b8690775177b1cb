"""A finished turn's reply is delivered by the worker that ran it; else the sweeper does it."""

from __future__ import annotations

import structlog

from core import telemetry
from core.errors import Fenced, StorageFailure
from core.replies import Hold, Reply
from core.sinks import DeliveryFailed, destination
from core.turnlog import DeliveryLog
from core.turns import Ending, Turn

_log = structlog.get_logger()


async def deliver_now(
    delivery: DeliveryLog, reply: Reply, turn: Turn, ending: Ending, hold: Hold
) -> None:
    """Bring the platform to the final text; what it does not take now is left to the sweeper.

    Raises ``Fenced`` and ``StorageFailure``.
    """
    try:
        await reply.deliver(ending.text, hold, offer=ending.offer, approvals=ending.approvals)
    except DeliveryFailed as failure:
        telemetry.DELIVERY_ERRORS.labels("permanent" if failure.permanent else "later").inc()
        _log.warning("delivery.failed", permanent=failure.permanent)
        if not failure.permanent:
            await delivery.release(turn)
            return
        problem = failure.sentence
    except (Fenced, StorageFailure):
        raise
    except Exception:  # noqa: BLE001  # an adapter's bug: the sweeper tries again
        telemetry.DELIVERY_ERRORS.labels("later").inc()
        _log.exception("delivery.crashed")
        await delivery.release(turn)
        return
    else:
        problem = ""
    await delivery.delivered(destination(turn), epoch=turn.epoch, problem=problem)
