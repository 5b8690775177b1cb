"""The handle by which a running turn is ended from outside."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum


class Stop(StrEnum):
    """Why a running turn is being ended from outside."""

    USER = "user"
    """Somebody asked: the turn ends as cancelled."""
    HAND_BACK = "hand_back"
    """The process shuts down: another one goes on after the last step."""
    LOST = "lost"
    """The lease is gone: drop the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A turn waits for humans, without a slot and without a lease."""

    approvals: tuple[str, ...]
    """The ids of what it waits for."""
    until_ms: int
    """When the first of them is past its time."""
    again_ms: int | None = None
    """So much later at the latest, by the database's clock: the question was not shown."""


@dataclass(slots=True, eq=False)
class Control:
    """The handle by which a running turn is ended."""

    reason: Stop | None = None
    task: asyncio.Task[None] | None = None
    started: bool = False
    settled: bool = False
    """The turn's end is being committed: it is too late to stop it."""
    lost: bool = False
    """The lease is gone, however far the turn's end has come."""
    pause: Pause | None = None
    """The runner stopped because a call waits for a human; the turn is not over."""
    handed_back: bool = False
    """The runner stopped at the shutdown's request; the turn is not over."""

    def stop(self, reason: Stop) -> None:
        """End the turn; the first reason counts. One that has not begun sees it when it does."""
        self.lost = self.lost or reason is Stop.LOST
        if self.reason is None and not self.settled:
            self.reason = reason
            if self.task is not None and self.started:
                self.task.cancel()

    def begin(self) -> None:
        """The task runs now; raises what was asked of it before it did."""
        self.started = True
        if self.reason in {Stop.LOST, Stop.HAND_BACK}:
            raise asyncio.CancelledError
