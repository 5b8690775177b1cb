"""The endings of turns that no engine and no command words."""

from __future__ import annotations

from dataclasses import replace

from core.engine_choice import Engines
from core.events import Completed, StopReason
from core.messages import clean_text
from core.order_runs import is_quiet
from core.refusals import Rejected
from core.turns import MAX_CROWDED, MAX_FAILURES, Ending, Outcome, Turn
from core.words import Words, sentence

STOPPED = sentence("Stopped.")
STOPPED_EARLY = sentence("Stopped before it was answered.")
EMPTY = sentence("The model returned an empty answer. Ask again.")


def hopeless(turn: Turn) -> bool:
    """Whether the turn is not to be tried again: it crashed too often, or its person left."""
    return turn.left or turn.failures >= MAX_FAILURES or turn.crowded >= MAX_CROWDED


def given_up(turn: Turn, text: str) -> Ending:
    """The end of a hopeless turn."""
    if turn.left:
        notice = sentence("You are no longer in this team: nothing more was done about this.")
        return Ending(outcome=Outcome.REFUSED, reply=text, notice=notice, failure="person_left")
    return Ending(
        outcome=Outcome.FAILED,
        reply=text,
        notice=sentence(
            "I gave up on this message: IT0 crashed or was killed {crashes} times while it "
            "worked on it. Changes that had begun are in the audit log; nothing was run "
            "twice. Ask again in other words, or show an admin the turn id {turn}.",
            crashes=turn.failures + turn.crowded,
            turn=turn.id,
        ),
        failure="poisoned",
    )


def concluded(
    completed: Completed, *, text: str, why: str, engine: str, session: str | None, language: str
) -> Ending:
    """An engine's run came to its end. ``why`` says why another engine than the chosen one did."""
    refusal = completed.refusal
    notice = completed.notice or ("" if text else EMPTY)
    words = Words(language)
    return Ending(
        outcome=Outcome.REFUSED
        if completed.stop_reason is StopReason.REFUSED
        else Outcome.ANSWERED,
        reply=text,
        notice=" ".join(words.of(part) for part in (why, notice) if part),
        engine=engine,
        session=session,
        failure="" if refusal is None else str(refusal.code),
        retry_at_ms=None if refusal is None else refusal.retry_at_ms,
    )


def refused(rejected: Rejected) -> Ending:
    """The message cannot be taken as it is."""
    return Ending(outcome=Outcome.REFUSED, reply=rejected.sentence, failure=rejected.code)


def presentable(ending: Ending, language: str) -> Ending:
    """In the reader's language, and storable: no database takes a NUL or a lone surrogate."""
    words = Words(language)
    offer = ending.offer
    if offer is not None:
        offer = replace(offer, label=clean_text(words.of(offer.label)))
    return replace(
        ending,
        reply=clean_text(words.of(ending.reply)),
        notice=clean_text(words.of(ending.notice)),
        offer=offer,
    )


def untold(turn: Turn, ending: Ending, engines: Engines, *, failed: bool = False) -> bool:
    """Whether this is the answer of a standing order that has nothing noteworthy to tell.

    ``failed``: a tool call of the turn was an error, so the answer rests on less than was asked.
    """
    if not turn.order_id or ending.outcome is not Outcome.ANSWERED:
        return False
    known = engines.engines.get(ending.engine)
    has_model = known is None or known.has_model
    return is_quiet(ending.reply, asked=turn.text, has_model=has_model, failed=failed)
