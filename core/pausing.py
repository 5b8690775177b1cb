"""How a turn comes to wait for a human: the question is shown, then the slot is given back."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from core import telemetry
from core.approval_cards import card_forms, card_text, settled_line
from core.approvals import Waiting
from core.control import Pause
from core.errors import Fenced, StorageFailure
from core.events import ApprovalAsked, ApprovalSettled, Progress, TurnEvent
from core.replies import Hold, Reply
from core.sinks import CardForm, DeliveryFailed
from core.words import Words

ASK_AGAIN_MS = 10_000
"""After a platform did not take the question: the turn comes back, and asks once more."""

_log = structlog.get_logger()


def questions(waiting: Waiting, words: Words, now_ms: int) -> tuple[ApprovalAsked, ...]:
    """What listeners of the turn's stream are told."""
    return tuple(
        ApprovalAsked(approval=each, text=card_text(each, words, now_ms=now_ms))
        for each in waiting.approvals
    )


def waiting_cards(waiting: Waiting, words: Words, now_ms: int) -> tuple[tuple[CardForm, ...], ...]:
    """What a platform shows: of each question the fullest form that fits."""
    return tuple(card_forms(each, words, now_ms=now_ms) for each in waiting.approvals)


async def asked(reply: Reply, text: str, cards: Sequence[Sequence[CardForm]], hold: Hold) -> bool:
    """Bring the cards to the platform; False when it did not take them now.

    One that never will is no reason to try again: approvers elsewhere were asked as well.
    """
    try:
        await reply.ask(text, cards, hold)
    except DeliveryFailed as failure:
        telemetry.DELIVERY_ERRORS.labels("approval").inc()
        _log.warning("approval.not_shown", permanent=failure.permanent)
        return failure.permanent
    except (Fenced, StorageFailure):
        raise
    except Exception:  # noqa: BLE001  # an adapter's bug must not end what others may decide
        telemetry.DELIVERY_ERRORS.labels("approval").inc()
        _log.exception("approval.crashed")
        return False
    return True


def pause_of(waiting: Waiting, *, shown: bool) -> Pause:
    """Until the first question is past its time; or soon, to show them again."""
    again_ms = None if shown else ASK_AGAIN_MS
    return Pause(approvals=waiting.ids, until_ms=waiting.until_ms, again_ms=again_ms)


def status_line(event: TurnEvent, words: Words) -> str | None:
    """What stands under the answer so far while a call runs; None for other events."""
    match event:
        case Progress(text=text):
            return text
        case ApprovalSettled(approval=approval):
            return settled_line(approval, words)
        case _:
            return None
