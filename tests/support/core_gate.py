"""An engine that a test holds in the middle of a turn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from core.steps import ToolCall
from tests.fakes.scripted_engine import Move, Say, ScriptedEngine, Signal, Until

LOOK = ToolCall(id="t1", name="look")


@dataclass
class Gate:
    """An engine whose answers to messages beginning with "hold" wait for the test."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    def engine(self) -> ScriptedEngine:
        """``hold`` shows a text and waits before a tool call and a last text."""

        def script(text: str) -> list[Move]:
            if not text.startswith("hold"):
                return [Say(f"Answer to {text}.")]
            return [
                *(Say("Shown.", tools=(LOOK,)), Signal(self.reached), Until(self.opened)),
                *(Say("", tools=(ToolCall(id="t2", name="look"),)), Say("Done.")),
            ]

        return ScriptedEngine(lambda request: script(request.text))
