"""The engine port and what an engine is given."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

from core.agent_config import Billing
from core.events import TurnEvent
from core.messages import Attachment
from core.metering import CallMeter, QuotaRefusal
from core.steps import Exchange, Step, ToolCall
from core.tools import ToolResult, ToolSpec


class ToolDoor(Protocol):
    """The one door to tools: role, risk, approval, execution and audit are behind it."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools that the person who asked may use."""

    def summary(self, call: ToolCall) -> str:
        """One line for the user that says what this call would do."""

    def untrusted(self, tool: str) -> bool:
        """Whether the tool's output is text that others wrote; an unknown tool's is."""

    async def call(self, call: ToolCall) -> ToolResult:
        """Run a tool, or return a refusal. A call that already has a result returns it."""

    async def unrun(self, call: ToolCall, reason: str) -> ToolResult:
        """Put on record that the engine itself turned the call down; nothing ran."""


class Steering(Protocol):
    """Messages that ask to join the running turn."""

    async def take(self) -> tuple[str, ...]:
        """Commit and return them, oldest first; empty when there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Whose account with the provider pays for a turn."""

    api_key: str | None = field(default=None, repr=False)
    """The tenant's own key; None for the installation's, or for the operator's login."""
    billing: Billing = Billing.INSTALLATION


def account_of(credentials: Credentials) -> str:
    """A name for whose account pays: one tenant's bad key says nothing about another's."""
    if credentials.api_key is None:
        return str(credentials.billing)
    return hashlib.sha256(credentials.api_key.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeSession:
    """Where an engine's own memory of the conversation can be taken up again.

    It is given only when it holds exactly what ``EngineRequest.history`` holds: same engine,
    nothing answered by another one since, nothing compacted, the same person. It may be gone
    all the same (another host, a cleaned disk); the history is the truth.
    """

    engine: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """Everything an engine needs for one turn; it knows no database and no platform."""

    tenant_id: str
    conversation_id: str
    turn_id: str
    attempt: int
    model: str
    system: str
    summary: str
    """What happened before ``history``, when older turns were compacted; else empty."""
    history: tuple[Exchange, ...]
    text: str
    attachments: tuple[Attachment, ...]
    steps: tuple[Step, ...]
    """Committed by earlier attempts of this very turn; continue after the last one."""
    tools: ToolDoor
    meter: CallMeter
    steering: Steering
    max_output_tokens: int
    user_id: str = ""
    """Who asked: an engine's own memory of a conversation serves one person."""
    credentials: Credentials = field(default_factory=Credentials)
    session: NativeSession | None = None
    previous_turn_id: str = ""
    """The last finished turn in ``history``; empty when there is none, or it was compacted."""
    refusal: QuotaRefusal | None = None
    """The meter refused to let a model answer: an engine without one may, when it knows what is
    meant; when it does not, it ends with ``StopReason.REFUSED`` and nothing said."""
    ephemeral: bool = False
    """Not a part of the conversation (a summary of it): the engine remembers nothing of it."""


class Engine(Protocol):
    """Answers one turn.

    Events come in order; text exactly once; the last event is ``Completed``. Raises
    ``EngineFailure`` with a sentence for the user when it cannot answer. Closing the
    generator ends the model call at once; what was spent is what ``CallMeter.saw`` got.
    """

    @property
    def name(self) -> str:
        """Its name in settings, requests and answers."""

    @property
    def has_model(self) -> bool:
        """Whether a language model answers; if so, long histories are compacted for it."""

    def run(self, request: EngineRequest) -> AsyncGenerator[TurnEvent, None]:
        """Answer the turn."""
