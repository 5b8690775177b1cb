"""TurnEvent: the closed union that every engine yields and every sink consumes.

Text arrives exactly once. When text that was already shown must be taken back (a retry, a
re-run after a crash), ``TextReset`` says what remains, and deltas go on from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.approvals import Approval
from core.metering import QuotaRefusal
from core.steps import ModelStep


class StopReason(StrEnum):
    """How a turn's engine ended."""

    END = "end"
    """The answer is complete."""
    MAX_TOKENS = "max_tokens"
    """The answer was cut at its length limit; a notice says so."""
    REFUSED = "refused"
    """The model declined, or the quota did; the notice says which."""
    LIMIT = "limit"
    """Too many steps in one turn; a notice says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingDelta:
    """The next piece of the model's reasoning; never part of the reply."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextReset:
    """The answer shown so far is void; ``text`` is what remains of it."""

    text: str
    reason: str
    """A sentence for the user, such as why the answer starts again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolStarted:
    """A tool is about to run."""

    call_id: str
    tool: str
    summary: str
    """One line that says what runs, such as ``disk_usage server=local``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFinished:
    """A tool ended, or was refused."""

    call_id: str
    tool: str
    ok: bool
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCallFinished:
    """A model call ended well; the runner commits the step before it asks for more."""

    step: ModelStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A quiet line for the user that is not part of the answer ("provider busy, retrying")."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A line about what a running tool does just now."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSession:
    """The engine's native resume token: an optimisation, our steps are the truth.

    Empty: there is none that could be taken up after this turn.
    """

    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChanged:
    """Another engine answers from here on; the reason is a sentence under the answer."""

    engine: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalAsked:
    """A tool call waits for a human; told again by an attempt that finds it still waiting."""

    approval: Approval
    text: str
    """The card, as Markdown in the reader's language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalSettled:
    """A request for approval is over; its status says how."""

    approval: Approval


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """The last event of a run that ended well."""

    stop_reason: StopReason = StopReason.END
    notice: str = ""
    """A sentence to put under the answer, or empty."""
    refusal: QuotaRefusal | None = None
    """The meter refused a call: why, and when it may be asked again."""


def refused(refusal: QuotaRefusal) -> Completed:
    """How a run ends when the meter refuses a call."""
    return Completed(stop_reason=StopReason.REFUSED, notice=refusal.sentence, refusal=refusal)


TurnEvent = (
    TextDelta
    | ThinkingDelta
    | TextReset
    | ToolStarted
    | ToolFinished
    | ModelCallFinished
    | Notice
    | Progress
    | EngineSession
    | EngineChanged
    | ApprovalAsked
    | ApprovalSettled
    | Completed
)
