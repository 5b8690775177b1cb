"""Conversations, users, servers and tokens over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol

from aiohttp import web
from pydantic import BaseModel

from bots.web import models
from bots.web.auth import Authenticator, require_admin
from bots.web.models import TokenBody, UserBody
from bots.web.openapi import operation
from bots.web.problems import Problem
from core.commands import ConversationInfo
from core.fleet.inventory import Server
from core.messages import clean_text
from core.tenants import Role, User

_LISTED = 200


class ConversationDesk(Protocol):
    """A user's own conversations. Raises ``NotFound`` for anybody else's."""

    async def list_conversations(
        self, tenant_id: str, user_id: str, *, limit: int
    ) -> tuple[ConversationInfo, ...]:
        """The most recently used first."""

    async def messages(
        self, tenant_id: str, user_id: str, conversation_id: str, *, limit: int
    ) -> tuple[tuple[str, str, str, str, int, str, str], ...]:
        """Turn id, text, reply, notice, time (ms), status, outcome; oldest first."""

    async def delete(self, tenant_id: str, user_id: str, conversation_id: str) -> str | None:
        """Erase one; a sentence when that cannot be done now."""


class People(Protocol):
    """The team."""

    async def users(self, tenant_id: str) -> tuple[User, ...]:
        """By address."""

    async def add_user(self, tenant_id: str, *, email: str, name: str, role: Role) -> User | str:
        """A new user, or a sentence that says why not."""

    async def servers(self, tenant_id: str) -> tuple[Server, ...]:
        """By name."""

    async def revoke_token(self, tenant_id: str, token_id: str) -> bool:
        """Make a token useless."""


class TeamRoutes:
    """What a person sees of their conversations and their team."""

    def __init__(self, desk: ConversationDesk, people: People, auth: Authenticator) -> None:
        """Wire the ports."""
        self._desk = desk
        self._people = people
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [
            web.get("/api/v1/conversations", self.list_conversations, allow_head=False),
            web.get(
                "/api/v1/conversations/{conversation_id}/messages",
                self.list_messages,
                allow_head=False,
            ),
            web.delete("/api/v1/conversations/{conversation_id}", self.delete_conversation),
            web.get("/api/v1/users", self.list_users, allow_head=False),
            web.post("/api/v1/users", self.add_user),
            web.get("/api/v1/servers", self.list_servers, allow_head=False),
            web.post("/api/v1/tokens", self.add_token),
            web.delete("/api/v1/tokens/{token_id}", self.revoke_token),
        ]

    @operation(answer=models.Conversations)
    async def list_conversations(self, request: web.Request) -> web.Response:
        """The caller's own conversations."""
        user = (await self._auth.caller(request)).user
        listed = await self._desk.list_conversations(user.tenant_id, user.id, limit=_LISTED)
        shown = [
            models.Conversation(
                id=info.id,
                title=info.title,
                platform=info.platform,
                updated_at=_time(info.updated_at_ms),
                turns=info.turns,
            )
            for info in listed
        ]
        return _json(models.Conversations(conversations=shown))

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

    @operation(answer=models.Users, errors=(403,))
    async def list_users(self, request: web.Request) -> web.Response:
        """The team, for its admins."""
        caller = await self._auth.caller(request)
        require_admin(caller)
        users = await self._people.users(caller.user.tenant_id)
        return _json(models.Users(users=[_user(user) for user in users]))

    @operation(body=UserBody, status=201, answer=models.User, errors=(400, 403, 409, 413, 422))
    async def add_user(self, request: web.Request) -> web.Response:
        """Add a person to the team, as its admin."""
        caller = await self._auth.caller(request)
        require_admin(caller)
        body = UserBody.model_validate_json(await request.read())
        name = clean_text(body.name).strip() or body.email.partition("@")[0]
        added = await self._people.add_user(
            caller.user.tenant_id, email=body.email, name=name, role=body.role
        )
        if isinstance(added, str):
            raise Problem(HTTPStatus.CONFLICT, "user_exists", added)
        return _json(_user(added), HTTPStatus.CREATED)

    @operation(answer=models.Servers)
    async def list_servers(self, request: web.Request) -> web.Response:
        """The team's servers."""
        user = (await self._auth.caller(request)).user
        servers = await self._people.servers(user.tenant_id)
        listed = [
            models.Server(id=server.id, name=server.name, kind=server.kind) for server in servers
        ]
        return _json(models.Servers(servers=listed))

    @operation(body=TokenBody, status=201, answer=models.Token, errors=(400, 403, 404, 413, 422))
    async def add_token(self, request: web.Request) -> web.Response:
        """A token for the caller, or for a user of the team when an admin asks."""
        caller = await self._auth.caller(request)
        body = TokenBody.model_validate_json(await request.read())
        user = caller.user
        if body.email is not None and body.email != user.email:
            require_admin(caller)
            team = await self._people.users(user.tenant_id)
            found = [member for member in team if member.email == body.email]
            if not found:
                detail = f"There is no user {body.email} in this team."
                raise Problem(HTTPStatus.NOT_FOUND, "unknown_user", detail)
            user = found[0]
        token = await self._auth.issue(user, days=body.days)
        made = models.Token(token=token, email=user.email, days=body.days)
        return _json(made, HTTPStatus.CREATED)

    @operation(status=204, errors=(403, 404))
    async def revoke_token(self, request: web.Request) -> web.Response:
        """Revoke a token of the team, as its admin, by its ``jti``."""
        caller = await self._auth.caller(request)
        require_admin(caller)
        token_id = request.match_info["token_id"]
        if not await self._people.revoke_token(caller.user.tenant_id, token_id):
            detail = "There is no such live token."
            raise Problem(HTTPStatus.NOT_FOUND, "unknown_token", detail)
        return web.Response(status=HTTPStatus.NO_CONTENT)


def _user(user: User) -> models.User:
    return models.User(id=user.id, email=user.email, name=user.name, role=user.role)


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _json(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.json_response(text=answer.model_dump_json(), status=status)
