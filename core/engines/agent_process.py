"""A Claude Code process as its engine sees it, and what it is started with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from core.engines.agent_pool import PoolLimits
from core.engines.agent_said import Said
from core.engines.agent_tools import Asked, ToolDesk
from core.engines.cli_home import Home
from core.engines.gateway import Route
from core.errors import EngineFailure
from core.tools import ToolResult

Block = dict[str, Any]
QUIET_S = 60.0
"""How long a process may be silent while it waits for nothing."""
INTERRUPT_S = 1.0
"""How long a process without the gateway may take to hear that it is to stop."""


class Child(Protocol):
    """A process that holds one conversation."""

    async def ask(self, content: Sequence[Block]) -> None:
        """Give it a user message; in mid-answer it joins that answer. Raises OSError."""

    def said(self) -> AsyncGenerator[Said, None]:
        """What it says from now on; ends when the process does. Raises OSError."""


class Process(Child, Protocol):
    """A running Claude Code with one session."""

    @property
    def alive(self) -> bool:
        """Whether it still runs."""

    async def interrupt(self) -> None:
        """Ask it to stop answering; it says ``Ended`` when it has."""

    async def close(self) -> None:
        """End it, at once, with everything it started. Never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a new process is started with."""

    home: Home
    environment: dict[str, str] = field(repr=False)
    session_id: str
    resume: bool
    """The session exists on disk; else it begins under this id."""
    model: str
    system: str
    desk: ToolDesk


Launch = Callable[[Start], Awaitable[Process]]
"""Starts a process and waits until it can be asked. Raises OSError or ``EngineFailure``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """How an engine on Claude Code runs its processes."""

    name: str
    launch: Launch
    keeps: bool
    """Whether a process waits for the conversation's next message."""
    limits: PoolLimits = field(default_factory=PoolLimits)
    imports: Callable[[], None] = lambda: None
    """Loads what its processes need; takes a second, so it is called in a thread."""
    login: str | None = field(default=None, repr=False)
    """The operator's own login (an OAuth token), for ``Billing.SUBSCRIPTION``."""


@dataclass(slots=True, kw_only=True)
class Member:
    """A process with what belongs to it."""

    process: Process
    desk: ToolDesk
    route: Route | None
    place: Path
    """Where it keeps files; nobody outside needs to know."""

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.alive

    async def halt(self) -> None:
        """Let it spend nothing more."""
        if self.route is not None:
            await self.route.end()
            return
        with suppress(TimeoutError, OSError, EngineFailure):
            async with asyncio.timeout(INTERRUPT_S):
                await self.process.interrupt()

    def working(self) -> bool:
        """Whether the provider is asked for it; unknown without the gateway."""
        return self.route is None or self.route.active

    async def close(self) -> None:
        """End it, and its way to the provider."""
        if self.route is not None:
            await self.route.end()
            self.route.close()
        await self.process.close()


@dataclass(frozen=True, slots=True)
class ToolDone:
    """A tool has its result."""

    asked: Asked
    result: ToolResult


@dataclass(frozen=True, slots=True)
class Gone:
    """The process ended by itself, or its pipe broke with this error."""

    error: str = ""
