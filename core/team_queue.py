"""How a team's messages fare: what waits, what is late, and what did not arrive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamQueue:
    """Counts of one team's turns, now."""

    queued: int
    """Accepted, and nobody works on them yet."""
    running: int
    waiting: int
    """For a human's decision."""
    overdue: int
    """Accepted more than 60 seconds ago, not answered, and not waiting for a human."""
    undelivered: int
    """Finished, their answer not yet where it belongs."""
    oldest_ms: int
    """How long ago the oldest was accepted that is neither answered nor waits for a human; 0
    when there is none."""
    lost: int
    """Answers of the last day that were given up: they never reached their chat."""
    problem: str
    """Why the newest of these did not."""


class TeamQueues(Protocol):
    """Where they are counted."""

    async def queue(self, tenant_id: str) -> TeamQueue:
        """The team's, now. Raises ``StorageFailure``."""
