"""What a turn commits, and what becomes of its reply: the ports of ``core.turn``."""

from __future__ import annotations

from typing import Protocol

from core.metering import Settlement
from core.sinks import Destination
from core.steps import Step
from core.streams import StreamEvent
from core.turns import Ending, Turn


class TurnLog(Protocol):
    """Commits of a leased turn; each is fenced and raises ``Fenced`` or ``StorageFailure``."""

    async def record(self, turn: Turn, step: Step, *, settlement: Settlement | None = None) -> None:
        """Append a step; a model step together with its usage."""

    async def save_events(self, turn: Turn, events: tuple[StreamEvent, ...]) -> None:
        """Append live events, for other processes and later listeners."""

    async def absorb(self, turn: Turn) -> tuple[str, ...]:
        """Take the messages that ask to join this turn, and commit that they did."""

    async def finish(
        self,
        turn: Turn,
        ending: Ending,
        *,
        events: tuple[StreamEvent, ...],
        settlements: tuple[Settlement, ...],
        deliver: bool,
    ) -> StreamEvent:
        """End the turn in one transaction; return the stream's final event.

        With ``deliver`` the lease stays until ``delivered``, so that the next turn's
        messages come after this one's.
        """


class DeliveryLog(Protocol):
    """What becomes of finished replies."""

    async def delivered(self, to: Destination, *, epoch: int | None, problem: str) -> None:
        """The platform has the final text, or never will (``problem`` says why)."""

    async def release(self, turn: Turn) -> None:
        """Give the lease of a finished turn back; the sweeper will deliver it."""
