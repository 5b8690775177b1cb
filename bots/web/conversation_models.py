"""What is told of conversations, turns, tools and model calls."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from bots.web.models import Usage
from core.reading import Activity, ToolState


class ConversationInfo(BaseModel):
    """One of the caller's conversations; ``excerpt`` is where a search found something."""

    id: str
    title: str
    platform: str
    updated_at: datetime
    turns: int
    state: Activity
    excerpt: str
    own: bool


class ConversationList(BaseModel):
    """A page; ``next`` is what ``before`` must be for the one after it."""

    conversations: list[ConversationInfo]
    next: str | None


class Deleted(BaseModel):
    """A conversation that is gone."""

    id: str
    deleted: bool = True


class Changes(BaseModel):
    """News; ``approvals`` is how many wait that the caller may decide."""

    cursor: int
    conversations: list[ConversationInfo | Deleted]
    approvals: int


class Sender(BaseModel):
    """Who asked; no name: IT0 spoke by itself."""

    name: str
    own: bool


class FileInfo(BaseModel):
    """A file of a message."""

    sha256: str
    name: str
    media_type: str
    size: int


class OfferInfo(BaseModel):
    """A button; pressing it is sending its command."""

    label: str
    command: str


class ToolInfo(BaseModel):
    """A tool call as one line."""

    call_id: str
    tool: str
    summary: str
    state: ToolState


class TurnInfo(BaseModel):
    """What was asked, what was done, what was answered."""

    id: str
    seq: int
    at: datetime
    finished_at: datetime | None
    status: str
    kind: str
    sender: Sender
    platform: str
    text: str
    attachments: list[FileInfo]
    reply: str
    notice: str
    outcome: str
    failure: str
    engine: str
    engine_reason: str
    offer: OfferInfo | None
    merged_into: str | None
    order_id: str
    approvals: list[str]
    tools: list[ToolInfo]
    tokens: int


class TurnList(BaseModel):
    """Oldest first; ``next`` is what ``before`` must be for those before them."""

    turns: list[TurnInfo]
    next: int | None


class CallInfo(BaseModel):
    """A model call, as it was metered; ``estimated``: lost to a crash, so not exact."""

    engine: str
    model: str
    state: str
    at: datetime
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    own_key: bool
    estimated: bool


class TurnUsage(BaseModel):
    """All tokens of a turn, call by call."""

    id: str
    conversation_id: str
    status: str
    calls: list[CallInfo]
    usage: Usage


class ToolOutputInfo(BaseModel):
    """What a tool was asked and what it gave; secrets are taken out."""

    call_id: str
    tool: str
    arguments: str
    output: str
    state: ToolState
