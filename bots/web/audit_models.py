"""The audit log in requests and answers. Times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field

from bots.web.bodies import Query
from bots.web.requests import NO_NUL

MOST_ROWS = 500
_MAX_CHARS = 200
_MOST_SEQ = 2**53

Word = Annotated[str, Field(min_length=1, max_length=_MAX_CHARS, pattern=NO_NUL)]


class AuditRows(Query):
    """Which rows; what is left out is not asked."""

    since: Annotated[AwareDatetime | None, Field(description="From this time on.")] = None
    until: Annotated[AwareDatetime | None, Field(description="Before this time.")] = None
    action: Annotated[
        Word | None, Field(description="Exactly it, such as `tool.ran`, or a kind: `tool.*`.")
    ] = None
    actor: Annotated[Word | None, Field(description="A user's id, or `system`.")] = None
    turn: Annotated[Word | None, Field(description="A turn's id.")] = None
    server: Annotated[Word | None, Field(description="One of the servers of the action.")] = None
    level: Annotated[Word | None, Field(description="Such as `L2`.")] = None


class AuditQuery(AuditRows):
    """A page of them."""

    limit: Annotated[int, Field(ge=1, le=MOST_ROWS, description="How many at most.")] = 50
    cursor: Annotated[
        int | None,
        Field(ge=1, le=_MOST_SEQ, description="`next_cursor` of the page before."),
    ] = None


class AuditEntryInfo(BaseModel):
    """A row of the log."""

    seq: int
    """Its number in the team's chain, from 1 on."""
    at: datetime
    actor: str
    action: str
    turn_id: str
    detail: dict[str, str | int]
    mac: str
    """The MAC over this row and the one before it."""


class AuditPage(BaseModel):
    """The newest first. A row that is written meanwhile does not move the pages that follow."""

    entries: list[AuditEntryInfo]
    next_cursor: int | None
    """Of the page that follows; null when this is the last one."""


class HeadInfo(BaseModel):
    """The end of a team's chain."""

    tenant_id: str
    seq: int
    mac: str
    at_ms: int


class HeadFile(BaseModel):
    """What `it0 audit verify --head` reads; keep it where IT0's operator cannot change it."""

    format: str
    heads: list[HeadInfo]
    seal: str
