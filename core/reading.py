"""What a person reads back of their conversations: lists, turns, tools, model calls."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from core.messages import AttachmentRef
from core.metering import Usage
from core.turns import Offer


class Activity(StrEnum):
    """What goes on in a conversation now."""

    IDLE = "idle"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    """Its turn waits for a human."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A conversation in its owner's list."""

    id: str
    title: str
    platform: str
    updated_at_ms: int
    turns: int
    activity: Activity
    excerpt: str = ""
    """Around what was searched for; empty without a search, and where the title has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """A page of the list, the most recently used first."""

    entries: tuple[Entry, ...]
    following: str | None
    """Where the next page begins."""


class ToolState(StrEnum):
    """What became of a tool call."""

    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    """It failed, or was refused."""
    UNKNOWN = "unknown"
    """It was begun, and nobody knows how it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolLine:
    """A tool call, as one line."""

    call_id: str
    tool: str
    summary: str
    state: ToolState


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEntry:
    """A turn as the owner of its conversation reads it."""

    id: str
    seq: int
    at_ms: int
    finished_at_ms: int | None
    status: str
    """queued, running, waiting, merged or done."""
    kind: str
    sender: str
    """The name of who asked; empty when IT0 spoke by itself."""
    own: bool
    """It was the reader who asked."""
    platform: str
    text: str
    attachments: tuple[AttachmentRef, ...]
    reply: str
    notice: str
    outcome: str
    failure: str
    engine: str
    engine_reason: str
    offer: Offer | None
    merged_into: str | None
    order_id: str
    approvals: tuple[str, ...]
    """Those that wait."""
    tools: tuple[ToolLine, ...]
    tokens: int
    """Of all buckets and calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnPage:
    """Turns of a conversation, oldest first."""

    turns: tuple[TurnEntry, ...]
    earlier: int | None
    """Before which number the page before this one ends; None: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCallEntry:
    """A model call of a turn, as it was metered."""

    engine: str
    model: str
    state: str
    at_ms: int
    usage: Usage
    own_key: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutput:
    """What a tool was asked, and what it gave."""

    call_id: str
    tool: str
    arguments: str
    """JSON, with secrets taken out."""
    output: str
    state: ToolState


@dataclass(frozen=True, slots=True, kw_only=True)
class FileBytes:
    """A file of a message."""

    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What changed since a moment."""

    now_ms: int
    """Of the database: what to ask from next time."""
    changed: tuple[Entry, ...]
    deleted: tuple[str, ...]
    approvals: int
    """That wait and may be decided by who asks."""


class Shelf(Protocol):
    """A person's own conversations, as a list."""

    async def listed(
        self, tenant_id: str, user_id: str, *, query: str, after: str | None, limit: int
    ) -> Entries:
        """A page. Raises ``ValueError`` for a place that no page gave."""

    async def entry(self, tenant_id: str, user_id: str, conversation_id: str) -> Entry:
        """One of them. Raises ``NotFound``."""

    async def rename(self, tenant_id: str, user_id: str, conversation_id: str, title: str) -> Entry:
        """Give it another title. Raises ``NotFound``."""

    async def news(self, tenant_id: str, user_id: str, *, since_ms: int | None) -> News:
        """What changed since; without a moment, nothing but the moment and what waits."""


class TurnReader(Protocol):
    """What was said and done. Raises ``NotFound`` for what is not the reader's own."""

    async def turns(
        self, tenant_id: str, user_id: str, conversation_id: str, *, before: int | None, limit: int
    ) -> TurnPage:
        """The newest turns, or those before a number."""

    async def calls(
        self, tenant_id: str, user_id: str, turn_id: str
    ) -> tuple[str, str, tuple[ModelCallEntry, ...]]:
        """The turn's conversation and status, and its model calls in their order."""

    async def output(self, tenant_id: str, user_id: str, turn_id: str, call_id: str) -> ToolOutput:
        """What a tool call of the turn gave."""

    async def file(
        self, tenant_id: str, user_id: str, conversation_id: str, sha256: str
    ) -> FileBytes:
        """A file of a message of the conversation."""
