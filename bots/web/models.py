"""Bodies of requests and answers, as pydantic models: they validate and they document."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from bots.web.bodies import Body, Integer
from core.agent_config import MODEL_NAME
from core.emails import SENTENCE, email_of
from core.messages import Overlap
from core.tenants import Role
from core.words import sentence

MAX_DAYS = 3650


class AttachmentBody(Body):
    """A file; ``data`` is Base64 (RFC 4648, section 4)."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    media_type: Annotated[str, Field(max_length=127)] = "application/octet-stream"
    data: str


class TurnBody(Body):
    """One message to the agent."""

    text: str = ""
    conversation_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    engine: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    model: Annotated[str, Field(pattern=rf"^(?:{MODEL_NAME.pattern})$")] | None = None
    overlap: Overlap = Overlap.QUEUE
    attachments: list[AttachmentBody] = Field(default=[], max_length=50)


def _address(written: str) -> str:
    address = email_of(written)
    if address is None:
        raise ValueError(SENTENCE)
    return address


Address = Annotated[str, Field(max_length=255), AfterValidator(_address)]


class UserBody(Body):
    """A new user."""

    email: Address
    name: Annotated[str, Field(max_length=100)] = ""
    role: Role = Role.OPERATOR


class RoleBody(Body):
    """Another role for a user."""

    role: Role


class TokenBody(Body):
    """A token for oneself, or, as an admin, for a user of the team."""

    email: Address | None = None
    days: Annotated[Integer, Field(ge=1, le=MAX_DAYS)] = 90


class CodeBody(Body):
    """A one-time code: for another account of the caller's, or for somebody with an address."""

    kind: Literal["link", "invite"]
    email: Address | None = None
    role: Role = Role.VIEWER

    @model_validator(mode="after")
    def _invites_somebody(self) -> Self:
        if (self.email is None) != (self.kind == "link"):
            message = sentence(
                "An invitation names an address; a link code is one's own and names none."
            )
            raise ValueError(message)
        return self


class Message(BaseModel):
    """What was asked, or what was answered."""

    role: Literal["user", "assistant"]
    text: str
    notice: str = ""
    outcome: str = ""
    at: datetime
    turn_id: str


class Messages(BaseModel):
    """Oldest first."""

    messages: list[Message]


class User(BaseModel):
    """A person of the team."""

    id: str
    email: str
    name: str
    role: Role


class Users(BaseModel):
    """The team."""

    users: list[User]


class Token(BaseModel):
    """A bearer token; it is shown once. It ends with the token it was made with."""

    id: str
    token: str
    email: str
    days: int
    expires_at: datetime


class Code(BaseModel):
    """A one-time code; it is shown once. Its sender becomes ``email``."""

    kind: Literal["link", "invite"]
    code: str
    email: str
    expires_in_s: int


class TokenInfo(BaseModel):
    """A live token, without the token itself; ``parent`` is the one it was made with."""

    id: str
    email: str
    created_at: datetime
    expires_at: datetime
    parent: str | None


class Tokens(BaseModel):
    """The newest first."""

    tokens: list[TokenInfo]


class Health(BaseModel):
    """A healthy answer."""

    status: str
    proof: str | None = None


class Usage(BaseModel):
    """Tokens of a whole turn, per bucket."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0


class Offered(BaseModel):
    """A button under a reply; pressing it is sending its command."""

    label: str
    command: str


class Completed(BaseModel):
    """The last event of a turn, and the whole answer with ``Accept: application/json``."""

    outcome: Literal["answered", "refused", "failed", "cancelled", "steered"]
    reply: str
    notice: str
    engine: str
    conversation_id: str
    merged_into: str | None
    usage: Usage
    failure: str
    """A static label of what went wrong, such as ``quota_exceeded``; else empty."""
    retry_at: datetime | None
    """Refused for a limit: when it may be asked again."""
    offer: Offered | None


class ProblemDocument(BaseModel):
    """RFC 9457, with a stable ``code``."""

    type: str
    title: str
    status: int
    code: str
    detail: str
