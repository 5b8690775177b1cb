"""A person's conversations over HTTP: the list, one of them, its turns and files, and news."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated
from urllib.parse import quote

from aiohttp import web
from pydantic import BaseModel, Field

from bots.web import conversation_models as models
from bots.web.auth import Authenticator
from bots.web.bodies import Body, Query
from bots.web.openapi import Reads, operation
from bots.web.problems import Problem
from bots.web.requests import NO_NUL, read_body
from core.messages import clean_text
from core.reading import Entry, Shelf, TurnEntry, TurnReader
from core.words import sentence

MAX_PAGE = 200
MAX_TITLE = 200
_PLACE = r"^(?:[0-9]{1,18}-[A-Za-z0-9_-]{1,64})?$"
_INLINE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""Everything else is a download: a browser would run some of it."""
_FILE_POLICY = "default-src 'none'; sandbox; frame-ancestors 'none'"


class ListQuery(Query):
    """Which conversations."""

    query: Annotated[str, Field(max_length=200, pattern=NO_NUL, description="Searched for.")] = ""
    before: Annotated[
        str,
        Field(
            max_length=100,
            pattern=r"^(?:[0-9]{1,18}-[A-Za-z0-9_-]{1,64})?$",
            description="See `next`.",
        ),
    ] = ""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE, description="How many at most.")] = MAX_PAGE


class TurnsQuery(Query):
    """Which turns."""

    before: Annotated[int, Field(ge=0, le=10**15, description="See `next`; 0: the newest.")] = 0
    limit: Annotated[int, Field(ge=1, le=100, description="How many at most.")] = 30


class ChangesQuery(Query):
    """Since when."""

    after: Annotated[int, Field(ge=0, le=10**15, description="The `cursor` before; 0: none.")] = 0


class TitleBody(Body):
    """Another title."""

    title: Annotated[str, Field(min_length=1, max_length=MAX_TITLE, pattern=NO_NUL)]


class ConversationRoutes:
    """The caller's own conversations; everybody else's do not exist."""

    def __init__(self, shelf: Shelf, reader: TurnReader, auth: Authenticator) -> None:
        """Wire the ports."""
        self._shelf = shelf
        self._reader = reader
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        one = "/api/v1/conversations/{conversation_id}"
        return [
            web.get("/api/v1/conversations", self.list_conversations, allow_head=False),
            web.get("/api/v1/changes", self.changes, allow_head=False),
            web.get(one, self.show_conversation, allow_head=False),
            web.patch(one, self.rename_conversation),
            web.get(f"{one}/turns", self.list_turns, allow_head=False),
            web.get(f"{one}/files/{{sha256}}", self.show_file, allow_head=False),
        ]

    @operation(answer=models.ConversationList, errors=(422,), reads=Reads(query=ListQuery))
    async def list_conversations(self, request: web.Request) -> web.Response:
        """The most recently used first. A search looks into titles, questions and answers."""
        user = (await self._auth.caller(request)).user
        asked = ListQuery.model_validate(dict(request.query))
        page = await self._shelf.listed(
            user.tenant_id,
            user.id,
            query=asked.query,
            after=asked.before or None,
            limit=asked.limit,
        )
        entries = [_conversation(entry) for entry in page.entries]
        return _json(models.ConversationList(conversations=entries, next=page.following))

    @operation(answer=models.Changes, errors=(422,), reads=Reads(query=ChangesQuery))
    async def changes(self, request: web.Request) -> web.Response:
        """What changed after a cursor; some of it may be told twice."""
        user = (await self._auth.caller(request)).user
        after = ChangesQuery.model_validate(dict(request.query)).after
        news = await self._shelf.news(user.tenant_id, user.id, since_ms=after or None)
        return _json(
            models.Changes(
                cursor=news.now_ms,
                conversations=[
                    *(_conversation(entry) for entry in news.changed),
                    *(models.Deleted(id=gone) for gone in news.deleted),
                ],
                approvals=news.approvals,
            )
        )

    @operation(answer=models.ConversationInfo, errors=(404,))
    async def show_conversation(self, request: web.Request) -> web.Response:
        """One of the caller's conversations."""
        user = (await self._auth.caller(request)).user
        wanted = request.match_info["conversation_id"]
        return _json(_conversation(await self._shelf.entry(user.tenant_id, user.id, wanted)))

    @operation(
        body=TitleBody, answer=models.ConversationInfo, errors=(400, 404, 408, 413, 415, 422)
    )
    async def rename_conversation(self, request: web.Request) -> web.Response:
        """Give one of the caller's conversations another title."""
        user = (await self._auth.caller(request)).user
        body = TitleBody.model_validate_json(await read_body(request))
        title = " ".join(clean_text(body.title).split())
        if not title:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "empty_title",
                sentence("The title has no visible character. Write one."),
            )
        wanted = request.match_info["conversation_id"]
        renamed = await self._shelf.rename(user.tenant_id, user.id, wanted, title)
        return _json(_conversation(renamed))

    @operation(answer=models.TurnList, errors=(404, 422), reads=Reads(query=TurnsQuery))
    async def list_turns(self, request: web.Request) -> web.Response:
        """The turns of one of the caller's conversations with their tools, oldest first."""
        user = (await self._auth.caller(request)).user
        asked = TurnsQuery.model_validate(dict(request.query))
        page = await self._reader.turns(
            user.tenant_id,
            user.id,
            request.match_info["conversation_id"],
            before=asked.before or None,
            limit=asked.limit,
        )
        turns = [_turn(entry) for entry in page.turns]
        return _json(models.TurnList(turns=turns, next=page.earlier))

    @operation(errors=(404,), gives="application/octet-stream")
    async def show_file(self, request: web.Request) -> web.Response:
        """A file of a message; images are shown, all else is a download."""
        user = (await self._auth.caller(request)).user
        sha256 = request.match_info["sha256"]
        file = await self._reader.file(
            user.tenant_id, user.id, request.match_info["conversation_id"], sha256
        )
        shown = file.media_type in _INLINE
        headers = {
            "Cache-Control": "private, no-cache",
            "Content-Disposition": (
                f"{'inline' if shown else 'attachment'}; filename*=UTF-8''{quote(file.name, '')}"
            ),
            "Content-Security-Policy": _FILE_POLICY,
            "ETag": f'"{sha256}"',
        }
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        return web.Response(
            body=file.data,
            content_type=file.media_type if shown else "application/octet-stream",
            headers=headers,
        )


def _conversation(entry: Entry) -> models.ConversationInfo:
    return models.ConversationInfo(
        id=entry.id,
        title=entry.title,
        platform=entry.platform,
        updated_at=_time(entry.updated_at_ms),
        turns=entry.turns,
        state=entry.activity,
        excerpt=entry.excerpt,
        own=True,
    )


def _turn(entry: TurnEntry) -> models.TurnInfo:
    offer = entry.offer
    return models.TurnInfo(
        id=entry.id,
        seq=entry.seq,
        at=_time(entry.at_ms),
        finished_at=None if entry.finished_at_ms is None else _time(entry.finished_at_ms),
        status=entry.status,
        kind=entry.kind,
        sender=models.Sender(name=entry.sender, own=entry.own),
        platform=entry.platform,
        text=entry.text,
        attachments=[
            models.FileInfo(
                sha256=file.sha256, name=file.name, media_type=file.media_type, size=file.size
            )
            for file in entry.attachments
        ],
        reply=entry.reply,
        notice=entry.notice,
        outcome=entry.outcome,
        failure=entry.failure,
        engine=entry.engine,
        engine_reason=entry.engine_reason,
        offer=None if offer is None else models.OfferInfo(label=offer.label, command=offer.command),
        merged_into=entry.merged_into,
        order_id=entry.order_id,
        approvals=list(entry.approvals),
        tools=[
            models.ToolInfo(
                call_id=tool.call_id, tool=tool.tool, summary=tool.summary, state=tool.state
            )
            for tool in entry.tools
        ],
        tokens=entry.tokens,
    )


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _json(answer: BaseModel) -> web.Response:
    return web.json_response(text=answer.model_dump_json())
