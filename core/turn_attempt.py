"""What one attempt at a turn accumulates while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.events import Completed, EngineChanged, EngineSession, TurnEvent
from core.replies import Reply
from core.streams import LiveTurn
from core.turnmeter import TurnMeter
from core.turns import Turn


@dataclass(slots=True)
class Attempt:
    """One attempt at a turn."""

    turn: Turn
    live: LiveTurn
    meter: TurnMeter
    reply: Reply | None
    """None on streamed platforms, and for a standing order: nobody watches it, and it speaks when
    it is done, if there is anything to tell."""
    engine: str = ""
    text: str = ""
    forecast: str = ""
    """What was told of the quota before the answer."""
    reason: str = ""
    """Why this engine answers."""
    why: str = ""
    """Why another engine than the chosen one answers."""
    session: str | None = None
    """The engine's own resume token."""
    completed: Completed | None = None
    seen_text: bool = field(default=False)

    def note(self, event: TurnEvent) -> None:
        """Remember which engine answers, and where it keeps its own memory."""
        match event:
            case EngineChanged(engine=engine, reason=reason):
                self.engine, self.session = engine, None
                self.reason = self.why = reason
            case EngineSession(token=token):
                self.session = token or None
            case _:
                pass
