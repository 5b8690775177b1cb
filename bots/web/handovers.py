"""Handovers over HTTP: written, read and accepted by the people they are from and for."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Final, TypeVar

from aiohttp import web
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from bots.web.auth import Authenticator
from bots.web.bodies import Body, Query
from bots.web.openapi import Reads, operation
from bots.web.problems import Problem
from bots.web.requests import NO_NUL, read_body
from core.clock import Clock
from core.commands_handover import DEFAULT_MS, MOST_MS
from core.handover import Handover, HandoverDesk, Wanted, Writer
from core.refusals import Rejected

MOST_LISTED: Final = 100
_PATH: Final = "/api/v1/handovers"
_MAX_ID_CHARS: Final = 64
_MAX_EMAIL_CHARS: Final = 254
_T = TypeVar("_T")
_STATUSES: Final = {
    "not_found": HTTPStatus.NOT_FOUND,
    "not_allowed": HTTPStatus.FORBIDDEN,
    "unknown_person": HTTPStatus.UNPROCESSABLE_ENTITY,
}


def _no_default(schema: JsonDict) -> None:
    schema.pop("default", None)


def _given(value: object) -> object:
    if value is None:
        message = "Leave a field out that is not asked; null is no value."
        raise ValueError(message)
    return value


_Given = BeforeValidator(_given)


def _written_time(value: object) -> object:
    """Behind a validator of our own pydantic is no longer strict about what JSON has no word for.

    Else a number would be taken for a time.
    """
    if not isinstance(value, str):
        message = "A time is text, such as 2026-11-22T18:00:00Z."
        raise ValueError(message)  # noqa: TRY004  # what pydantic makes a 422 of
    return value


class NewHandoverBody(Body):
    """What is told: a time, or one conversation; without either the last 8 hours."""

    since: Annotated[
        Annotated[AwareDatetime, Field(strict=False)] | SkipJsonSchema[None],
        Field(description="At most 31 days ago.", json_schema_extra=_no_default),
        BeforeValidator(_written_time),
    ] = None
    conversation_id: Annotated[
        Annotated[str, Field(min_length=1, max_length=_MAX_ID_CHARS, pattern=NO_NUL)]
        | SkipJsonSchema[None],
        Field(
            description="One of the caller's own; then all of it, and no `since`.",
            json_schema_extra=_no_default,
        ),
        _Given,
    ] = None
    to: Annotated[
        Annotated[str, Field(min_length=3, max_length=_MAX_EMAIL_CHARS, pattern=NO_NUL)]
        | SkipJsonSchema[None],
        Field(
            description="The e-mail address of whom it is handed to.",
            json_schema_extra=_no_default,
        ),
        _Given,
    ] = None


class HandoversQuery(Query):
    """How many."""

    limit: Annotated[int, Field(ge=1, le=MOST_LISTED, description="How many at most.")] = 20


class HandoverInfo(BaseModel):
    """A handover."""

    id: str
    from_user: str
    to_user: str | None
    since: datetime
    created_at: datetime
    accepted_at: datetime | None
    body: str
    """Markdown."""


class HandoverList(BaseModel):
    """The newest first."""

    handovers: list[HandoverInfo]


class HandoverRoutes:
    """The caller's handovers: those from them and those for them."""

    def __init__(self, desk: HandoverDesk, auth: Authenticator, clock: Clock) -> None:
        """Wire the ports."""
        self._desk = desk
        self._auth = auth
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [
            web.get(_PATH, self.list_handovers, allow_head=False),
            web.post(_PATH, self.write_handover),
            web.get(f"{_PATH}/{{handover_id}}", self.show_handover, allow_head=False),
            web.post(f"{_PATH}/{{handover_id}}/accept", self.accept_handover),
        ]

    @operation(answer=HandoverList, errors=(422,), reads=Reads(query=HandoversQuery))
    async def list_handovers(self, request: web.Request) -> web.Response:
        """Those from the caller and those for them."""
        user = (await self._auth.caller(request)).user
        query = HandoversQuery.model_validate(dict(request.query))
        found = await self._desk.listed(user, query.limit)
        return _json(HandoverList(handovers=[_info(one) for one in found]))

    @operation(
        body=NewHandoverBody,
        status=201,
        answer=HandoverInfo,
        errors=(400, 403, 404, 408, 413, 415, 422),
    )
    async def write_handover(self, request: web.Request) -> web.Response:
        """Write one of what the caller may see; with `to` that person is told."""
        user = (await self._auth.caller(request)).user
        body = NewHandoverBody.model_validate_json(await read_body(request))
        writer = Writer(user=user, conversation_id=body.conversation_id or "")
        wanted = Wanted(since_ms=self._since_ms(body), to=body.to or "")
        return _json(_info(_kept(await self._desk.write(writer, wanted))), HTTPStatus.CREATED)

    @operation(answer=HandoverInfo, errors=(404,))
    async def show_handover(self, request: web.Request) -> web.Response:
        """One of them."""
        user = (await self._auth.caller(request)).user
        found = await self._desk.find(user, request.match_info["handover_id"])
        return _json(_info(_kept(found)))

    @operation(answer=HandoverInfo, errors=(403, 404))
    async def accept_handover(self, request: web.Request) -> web.Response:
        """Take over, as whom it is for; again, it changes nothing."""
        user = (await self._auth.caller(request)).user
        accepted = await self._desk.accept(user, request.match_info["handover_id"])
        return _json(_info(_kept(accepted)))

    def _since_ms(self, body: NewHandoverBody) -> int | None:
        now_ms = self._clock.now_ms()
        if body.since is None:
            return None if body.conversation_id else now_ms - DEFAULT_MS
        since_ms = int(body.since.timestamp() * 1000)
        if body.conversation_id:
            raise _bad("Send either since or a conversation, not both.")
        if not now_ms - MOST_MS <= since_ms <= now_ms:
            raise _bad("since is at most 31 days ago and not in the future.")
        return since_ms


def _info(one: Handover) -> HandoverInfo:
    return HandoverInfo(
        id=one.id,
        from_user=one.from_user,
        to_user=one.to_user,
        since=_at(one.since_ms),
        created_at=_at(one.created_at_ms),
        accepted_at=None if one.accepted_at_ms is None else _at(one.accepted_at_ms),
        body=one.body,
    )


def _at(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _bad(detail: str) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_handover", detail)


def _kept(found: _T | Rejected) -> _T:
    if isinstance(found, Rejected):
        raise Problem(_STATUSES[found.code], found.code, found.sentence)
    return found


def _json(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.json_response(text=answer.model_dump_json(), status=status)
