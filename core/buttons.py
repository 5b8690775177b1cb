"""Buttons under a message: what a press says cannot be forged, moved or used elsewhere.

The data of a button travels through the platform and comes back from anybody who can send
requests there. It is therefore bound by an HMAC to what it does, to what, and to the place it
was shown in. Telegram takes 64 bytes (Bot API, InlineKeyboardButton.callback_data).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum

from core.messages import Actor, ConversationAddress

MAX_DATA_BYTES = 64
_MAC_CHARS = 22
"""Hex digits, 88 bits: guessing one takes longer than the platform's rate limits allow."""


class Action(StrEnum):
    """What a button does. One letter: it travels in the data."""

    STOP = "s"
    """End the turn that the message answers."""
    GOOD = "g"
    """The answer helped."""
    BAD = "b"
    """The answer did not help."""
    OFFER = "o"
    """Send the command that the answer offered (``core.turns.Offer``)."""
    APPROVE = "y"
    """Let a call run that waits for a human."""
    DENY = "n"
    """Do not let it run."""


DECISIONS = frozenset({Action.APPROVE, Action.DENY})
"""Their subject is an approval, that of the others a turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """A person pressed a button; the edge has checked that we made it."""

    event_id: str
    actor: Actor
    address: ConversationAddress
    group: str | None
    action: Action
    subject: str
    """The id of the turn, or of the approval for ``DECISIONS``."""


class BadButton(ValueError):
    """The data is not ours, or belongs to another place."""


@dataclass(frozen=True, slots=True)
class Buttons:
    """Makes and reads the data of buttons."""

    key: bytes

    def seal(self, action: Action, subject: str, address: ConversationAddress) -> str:
        """The data of a button at a place: at most 64 ASCII characters."""
        subject = subject.removeprefix(_prefix(action))
        data = f"{action}{subject}.{self._mac(action, subject, address)}"
        if len(data) > MAX_DATA_BYTES:
            message = f"button data of {len(data)} bytes"
            raise ValueError(message)
        return data

    def unseal(self, data: str, address: ConversationAddress) -> tuple[Action, str]:
        """What a pressed button does, and the id of what. Raises ``BadButton``."""
        head, _, mac = data.partition(".")
        try:
            action = Action(head[:1])
        except ValueError:
            raise BadButton("This button is not one of mine.") from None
        subject = head[1:]
        expected = self._mac(action, subject, address)
        if not hmac.compare_digest(mac.encode(), expected.encode()):
            raise BadButton("This button is not one of mine, or it was moved.")
        return action, f"{_prefix(action)}{subject}"

    def _mac(self, action: Action, subject: str, address: ConversationAddress) -> str:
        """Bound to platform, workspace and channel; a thread may be renumbered."""
        place = f"{address.platform}\0{address.workspace}\0{address.channel}"
        bound = f"{action}\0{subject}\0{place}"
        return hmac.new(self.key, bound.encode(), hashlib.sha256).hexdigest()[:_MAC_CHARS]


def _prefix(action: Action) -> str:
    """Of the ids that an action is about; it need not travel."""
    return "appr_" if action in DECISIONS else "turn_"
