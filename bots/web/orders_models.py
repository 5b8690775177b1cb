"""Bodies of the standing orders' requests and answers. Times are UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from bots.web.bodies import Body, Integer, Query
from bots.web.requests import NO_NUL
from core.schedule import MAX_CRON_CHARS, MIN_GAP_MIN
from core.standing_orders import (
    DEFAULT_BUDGET_TOKENS,
    MAX_CONDITION_CHARS,
    MAX_NAME_CHARS,
    MAX_PROMPT_CHARS,
    MOST_BUDGET_TOKENS,
    Misfire,
    OrderState,
    RunState,
)
from core.words import sentence

_MAX_ZONE_CHARS = 60
_MAX_ID_CHARS = 64
MOST_RUNS = 200
_MOST_REVISION = 2**53

Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS, pattern=NO_NUL)]
Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS, pattern=NO_NUL)]
Cron = Annotated[
    str,
    Field(
        min_length=9,
        max_length=MAX_CRON_CHARS,
        pattern=NO_NUL,
        description=f"Five fields, such as `0 8 * * MON-FRI`; {MIN_GAP_MIN} minutes apart.",
        examples=["0 8 * * MON-FRI"],
    ),
]
Zone = Annotated[
    str,
    Field(
        min_length=1,
        max_length=_MAX_ZONE_CHARS,
        pattern=NO_NUL,
        description="A name of the IANA.",
        examples=["Europe/Berlin"],
    ),
]
Condition = Annotated[str, Field(max_length=MAX_CONDITION_CHARS, pattern=NO_NUL)]
Tokens = Annotated[Integer, Field(ge=1, le=MOST_BUDGET_TOKENS)]
Policy = Literal["skip", "once"]


def _no_default(schema: JsonDict) -> None:
    schema.pop("default", None)


def _given(value: object) -> object:
    if value is None:
        message = sentence("Leave a field out that is to stay as it is; null is no value.")
        raise ValueError(message)
    return value


_LeftOut = Field(json_schema_extra=_no_default)
"""May be left out, and is not null where it is not (``_Given``)."""
_Given = BeforeValidator(_given)


class NewOrderBody(Body):
    """A standing order as it is proposed. It does nothing until it is confirmed."""

    name: Name
    prompt: Prompt
    cron: Cron
    timezone: Zone
    misfire: Policy = "skip"
    only_if: Condition = ""
    budget_tokens: Tokens = DEFAULT_BUDGET_TOKENS
    conversation_id: Annotated[
        Annotated[str, Field(min_length=1, max_length=_MAX_ID_CHARS, pattern=NO_NUL)]
        | SkipJsonSchema[None],
        _LeftOut,
        _Given,
    ] = None


class OrderPatchBody(Body):
    """What to change; ``state`` pauses and resumes."""

    revision: Annotated[Integer, Field(ge=0, le=_MOST_REVISION)]
    name: Annotated[Name | SkipJsonSchema[None], _LeftOut, _Given] = None
    prompt: Annotated[Prompt | SkipJsonSchema[None], _LeftOut, _Given] = None
    cron: Annotated[Cron | SkipJsonSchema[None], _LeftOut, _Given] = None
    timezone: Annotated[Zone | SkipJsonSchema[None], _LeftOut, _Given] = None
    misfire: Annotated[Policy | SkipJsonSchema[None], _LeftOut, _Given] = None
    only_if: Annotated[Condition | SkipJsonSchema[None], _LeftOut, _Given] = None
    budget_tokens: Annotated[Tokens | SkipJsonSchema[None], _LeftOut, _Given] = None
    state: Annotated[Literal["active", "paused"] | SkipJsonSchema[None], _LeftOut, _Given] = None


class RunsQuery(Query):
    """How much of the history."""

    limit: Annotated[int, Field(ge=1, le=MOST_RUNS)] = 50


class OrderInfo(BaseModel):
    """A standing order."""

    id: str
    name: str
    prompt: str
    cron: str
    timezone: str
    schedule: str
    """In words."""
    misfire: Misfire
    only_if: str
    budget_tokens: int
    conversation_id: str
    created_by: str
    state: OrderState
    problem: str
    """Why it was paused by itself: a stable code, or empty."""
    next_runs: list[datetime]
    """The next times that it runs, or would when it is confirmed or resumed."""
    failures: int
    revision: int
    created_at: datetime
    updated_at: datetime


class OrderList(BaseModel):
    """The oldest first."""

    orders: list[OrderInfo]


class OrderRunInfo(BaseModel):
    """What became of a due time."""

    due_at: datetime
    state: RunState
    turn_id: str | None
    reason: str
    """The turn's outcome or failure; ``late`` or ``late:N`` for N missed runs; else why not."""
    manual: bool


class OrderRunList(BaseModel):
    """The newest first."""

    runs: list[OrderRunInfo]
