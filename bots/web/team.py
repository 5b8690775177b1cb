"""The messages of a person's conversations over HTTP, and their end."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol

from aiohttp import web
from pydantic import BaseModel

from bots.web import models
from bots.web.auth import Authenticator
from bots.web.openapi import operation
from bots.web.problems import Problem

_LISTED = 200


class ConversationDesk(Protocol):
    """A user's own conversations. Raises ``NotFound`` for anybody else's."""

    async def messages(
        self, tenant_id: str, user_id: str, conversation_id: str, *, limit: int
    ) -> tuple[tuple[str, str, str, str, int, str, str], ...]:
        """Turn id, text, reply, notice, time (ms), status, outcome; oldest first."""

    async def delete(self, tenant_id: str, user_id: str, conversation_id: str) -> str | None:
        """Erase one; a sentence when that cannot be done now."""


class TeamRoutes:
    """What a person sees of their conversations."""

    def __init__(self, desk: ConversationDesk, auth: Authenticator) -> None:
        """Wire the ports."""
        self._desk = desk
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [
            web.get(
                "/api/v1/conversations/{conversation_id}/messages",
                self.list_messages,
                allow_head=False,
            ),
            web.delete("/api/v1/conversations/{conversation_id}", self.delete_conversation),
        ]

    @operation(answer=models.Messages, errors=(404,))
    async def list_messages(self, request: web.Request) -> web.Response:
        """The messages of one of the caller's conversations, oldest first."""
        user = (await self._auth.caller(request)).user
        rows = await self._desk.messages(
            user.tenant_id, user.id, request.match_info["conversation_id"], limit=_LISTED
        )
        listed: list[models.Message] = []
        for turn_id, asked, reply, notice, at_ms, status, outcome in rows:
            at = _time(at_ms)
            listed.append(models.Message(role="user", text=asked, at=at, turn_id=turn_id))
            if status == "done" and (reply or notice):
                listed.append(
                    models.Message(
                        role="assistant",
                        text=reply,
                        notice=notice,
                        outcome=outcome,
                        at=at,
                        turn_id=turn_id,
                    )
                )
        return _json(models.Messages(messages=listed))

    @operation(status=204, errors=(404, 409))
    async def delete_conversation(self, request: web.Request) -> web.Response:
        """Erase one of the caller's conversations for good."""
        user = (await self._auth.caller(request)).user
        conversation_id = request.match_info["conversation_id"]
        problem = await self._desk.delete(user.tenant_id, user.id, conversation_id)
        if problem is not None:
            raise Problem(HTTPStatus.CONFLICT, "conversation_busy", problem)
        return web.Response(status=HTTPStatus.NO_CONTENT)


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _json(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.json_response(text=answer.model_dump_json(), status=status)
