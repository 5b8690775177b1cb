"""What a platform that shows messages is to the core: the ``ReplySink`` port and its words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from core.errors import It0Error
from core.messages import ConversationAddress
from core.private import is_private
from core.turns import Offer, Turn, TurnKind


class DeliveryFailed(It0Error):
    """The platform did not take a message."""

    code = "delivery_failed"

    def __init__(self, sentence: str, *, retry_after_s: float | None, permanent: bool) -> None:
        """``permanent``: asking again cannot help (blocked, deleted, revoked)."""
        super().__init__(sentence)
        self.retry_after_s = retry_after_s
        self.permanent = permanent


class Throttled(DeliveryFailed):
    """The adapter itself holds a message back, so that the platform need not punish it."""

    code = "throttled"

    def __init__(self, retry_after_s: float) -> None:
        """Previews only: a final text waits for its turn inside the adapter."""
        sentence = "The platform's pace allows no preview now."
        super().__init__(sentence, retry_after_s=retry_after_s, permanent=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one part of a reply is to show."""

    text: str
    """Markdown; empty while there is only a status."""
    status: str = ""
    """What IT0 is doing just now, such as ``disk_usage server=web-3``; empty when final."""
    final: bool = False
    """The turn is over, or waits for a human: this text stays."""
    last: bool = True
    """The last part so far: the one that carries buttons."""
    offer: Offer | None = None
    """A button that the turn ended with; only a final view's last part has one."""
    waiting: bool = False
    """The turn waits for a human: it may be stopped, and there is nothing to rate yet."""
    approvals: tuple[str, ...] = ()
    """Ids of the approvals whose Approve and Deny buttons stand under this part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardForm:
    """One way to show the card of an approval; it is one message, or has no buttons."""

    text: str
    approvals: tuple[str, ...] = ()
    """As in ``View``; empty where not all of what will run is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkLimits:
    """What a platform allows."""

    max_chars: int
    """Longest message, in the units of ``measure``."""
    edit_interval_s: float
    """Least time between two edits of one reply."""
    measure: Callable[[str], int] = len
    findable: bool = False
    """Posts carry (turn, part) and ``find`` sees them: a final text needs no placeholder first."""
    settle_s: float = 0.5
    """How long a post whose answer was lost may still take effect, before it is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a reply goes, and whose it is."""

    tenant_id: str
    turn_id: str
    event_id: str
    address: ConversationAddress
    sender: str = ""
    """The platform's id of the person who is answered."""
    source_ref: str = ""
    """The platform's id of the message that is answered."""
    private: bool = False
    """For the sender's eyes only: not to be shown in a channel or group."""
    language: str = ""
    """The sender's, for the adapter's own words."""
    check: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)
    """Raises ``Fenced`` when the reply is another worker's now: to be called after a wait."""
    command: bool = False
    """A command is answered: no model spoke, and there is nothing to rate."""


def destination(turn: Turn) -> Destination:
    """Where a turn's reply goes."""
    return Destination(
        tenant_id=turn.tenant_id,
        turn_id=turn.id,
        event_id=turn.event_id,
        address=turn.address,
        sender=turn.sender,
        source_ref=turn.source_ref,
        private=turn.kind is TurnKind.COMMAND and is_private(turn.text),
        command=turn.kind is TurnKind.COMMAND,
        language=turn.language,
    )


class ReplySink(Protocol):
    """A platform, as the core sees it. Text is Markdown; the adapter renders it.

    Raises ``DeliveryFailed``; for previews also ``Throttled``.
    """

    @property
    def limits(self) -> SinkLimits:
        """What the platform allows."""

    async def draft(self, to: Destination, view: View) -> bool:
        """Show a preview that is no message and vanishes by itself; False: there is no such thing.

        Where it is True, no placeholder is posted before the turn is over.
        """

    async def post(self, to: Destination, part: int, view: View) -> str:
        """Post a new message that carries (turn, part) where possible; return its id."""

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """Make the message show this; doing it twice shows the same."""

    async def find(self, to: Destination, part: int) -> str | None:
        """The id of a part posted before a crash, if the platform can tell."""


STREAMED = frozenset({"api", "web"})
"""Platforms whose callers read the turn's stream: there is nothing to deliver."""

Sinks = Mapping[str, ReplySink]
"""The platforms that show messages; on others (API, terminal) the stream is the reply."""
