"""A turn as the scheduler hands it out, and how it may end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.messages import AttachmentRef, ConversationAddress, Overlap, RemoteFile
from core.tenants import User


class TurnKind(StrEnum):
    """What answers the turn."""

    MESSAGE = "message"
    """An engine."""
    COMMAND = "command"
    """The core itself, without a model."""


MAX_FAILURES = 5
MAX_CROWDED = 20
"""A turn is given up after so many crashes alone, or so many in company."""


class Outcome(StrEnum):
    """The terminal states; every accepted message ends in exactly one of them."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """Not allowed or over a limit; the reply says which."""
    FAILED = "failed"
    """A fault; the reply says what happened and what to do."""
    CANCELLED = "cancelled"
    """Somebody stopped it."""
    STEERED = "steered"
    """Joined the turn before it, whose answer covers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One accepted message, leased to this process.

    ``epoch`` is the fencing token: every write for the turn names it, and a write with an
    old one raises ``Fenced``.
    """

    id: str
    tenant_id: str
    conversation_id: str
    seq: int
    epoch: int
    attempt: int
    """Grows each time the turn is taken; part of event and call ids."""
    failures: int
    """Attempts in a row without progress that crashed, or whose worker died with this turn
    alone; a hand-back is not a failure."""
    kind: TurnKind
    event_id: str
    user: User
    address: ConversationAddress
    text: str
    attachments: tuple[AttachmentRef, ...]
    engine: str | None
    """Chosen for this message, else for the tenant, else None for the installation's."""
    overlap: Overlap
    cancelled: bool
    """Somebody stopped it before it began."""
    created_at_ms: int
    engine_named: bool = False
    """The message itself named its engine: that one answers, or none."""
    model: str | None = None
    """Asked for with this message; None is the tenant's, or the installation's."""
    sender: str = ""
    """The platform's id of the person who wrote (``Actor.external_id``)."""
    source_ref: str = ""
    """The platform's id of the message."""
    language: str = ""
    """The language of the person's choice, else the platform's; ``core.words`` knows which."""
    files: tuple[RemoteFile, ...] = ()
    """Files that were not fetched yet."""
    crowded: int = 0
    """Attempts in a row without progress whose worker died with other turns too: which one
    killed it is not known."""
    order_id: str = ""
    """The standing order that asks; empty: a person does."""
    left: bool = False
    """The person is no longer in the team: nothing is done for them any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A button under a reply. Pressing it is sending its command, by whoever presses."""

    label: str
    command: str
    """Such as ``/upgrade confirm quo_1``; whether the presser may is decided when it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a turn ended, committed with the cursor."""

    outcome: Outcome
    reply: str
    notice: str = ""
    """A sentence under the reply: why it is cut, refused or failed."""
    engine: str = ""
    """The engine that answered; empty for commands."""
    engine_reason: str = ""
    """Why that one, in the asker's language."""
    failure: str = ""
    """A static label for metrics, such as ``provider_overloaded``."""
    session: str | None = None
    """The engine's own resume token; kept when the turn was answered."""
    continue_in: str | None = None
    """The conversation to go on in, when a command moved the place to another one."""
    offer: Offer | None = None
    """A button under the reply, where the place has buttons; the reply names its command too."""
    approvals: tuple[str, ...] = ()
    """Ids of the approvals whose buttons stand under the reply."""
    retry_at_ms: int | None = None
    """Refused for a limit: when it may be asked again."""

    @property
    def text(self) -> str:
        """Reply and notice as one text, for places that show only text."""
        if self.reply and self.notice:
            return f"{self.reply}\n\n_{self.notice}_"
        return self.reply or self.notice
