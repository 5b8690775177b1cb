"""The team's people and their tokens over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol

from aiohttp import web
from pydantic import BaseModel

from bots.web import models
from bots.web.auth import Authenticator, require_admin
from bots.web.models import CodeBody, RoleBody, TokenBody, UserBody
from bots.web.openapi import operation
from bots.web.problems import Problem
from bots.web.requests import read_body
from core.access import INVITE_TTL_MS, LINK_TTL_MS
from core.messages import clean_text
from core.refusals import Rejected
from core.tenants import Role, User
from core.words import sentence

_REFUSED = {
    "not_allowed": HTTPStatus.FORBIDDEN,
    "user_exists": HTTPStatus.CONFLICT,
    "limit_reached": HTTPStatus.TOO_MANY_REQUESTS,
}
"""Why nobody is invited."""


class People(Protocol):
    """Who there is."""

    async def users(self, tenant_id: str) -> tuple[User, ...]:
        """By address."""


class Team(Protocol):
    """What changes the team; ``actor`` is the id of the user who changes it."""

    async def add_user(
        self, tenant_id: str, *, email: str, name: str, role: Role, actor: str
    ) -> User | str | Rejected:
        """A new user, or a sentence that says why not; Rejected when the plan has no room."""

    async def set_role(
        self, tenant_id: str, user_id: str, role: Role, *, actor: str
    ) -> User | str | None:
        """The user with the new role, a sentence that says why not, or None: no such user."""

    async def disable_user(self, tenant_id: str, user_id: str, *, actor: str) -> User | str | None:
        """Shut a user out, tokens included; answers as ``set_role``."""


class TokenInfo(Protocol):
    """A live token, as it is listed."""

    @property
    def id(self) -> str:
        """Its ``jti``."""

    @property
    def email(self) -> str:
        """Whose it is."""

    @property
    def created_at_ms(self) -> int:
        """Epoch milliseconds."""

    @property
    def expires_at_ms(self) -> int:
        """Epoch milliseconds."""

    @property
    def parent(self) -> str | None:
        """The token it was made with."""


class Tokens(Protocol):
    """The team's tokens."""

    async def tokens(self, tenant_id: str, user_id: str | None) -> tuple[TokenInfo, ...]:
        """The live tokens of a user, or of the whole team; the newest first."""

    async def revoke_token(
        self, tenant_id: str, token_id: str, *, owner: str | None, actor: str
    ) -> bool:
        """Revoke a token, if it is the owner's, and those made with it."""


class Codes(Protocol):
    """One-time codes, by which a person of a chat platform becomes a user."""

    async def link_code(self, user: User) -> str:
        """A code that makes its sender this user; the older ones of theirs die."""

    async def invite_code(self, by: User, *, email: str, role: Role) -> str | Rejected:
        """A code that makes its sender a new user of the inviter's team, or why there is none."""


class PeopleRoutes:
    """Admins manage the team; everybody manages their own tokens."""

    def __init__(
        self, people: People, team: Team, tokens: Tokens, codes: Codes, auth: Authenticator
    ) -> None:
        """Wire the ports."""
        self._people = people
        self._team = team
        self._tokens = tokens
        self._codes = codes
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [
            web.get("/api/v1/users", self.list_users, allow_head=False),
            web.post("/api/v1/users", self.add_user),
            web.patch("/api/v1/users/{user_id}", self.change_user),
            web.delete("/api/v1/users/{user_id}", self.disable_user),
            web.post("/api/v1/codes", self.add_code),
            web.get("/api/v1/tokens", self.list_tokens, allow_head=False),
            web.post("/api/v1/tokens", self.add_token),
            web.delete("/api/v1/tokens/{token_id}", self.revoke_token),
        ]

    @operation(answer=models.Users, errors=(403,))
    async def list_users(self, request: web.Request) -> web.Response:
        """The team, for its admins."""
        caller = await self._auth.caller(request)
        require_admin(caller)
        users = await self._people.users(caller.user.tenant_id)
        return _json(models.Users(users=[_user(user) for user in users]))

    @operation(
        body=UserBody,
        status=201,
        answer=models.User,
        errors=(400, 403, 409, 408, 413, 415, 422, 429),
    )
    async def add_user(self, request: web.Request) -> web.Response:
        """Add a person to the team, as its admin; a disabled one comes back."""
        caller = await self._auth.caller(request)
        require_admin(caller)
        body = UserBody.model_validate_json(await read_body(request))
        name = clean_text(body.name).strip() or body.email.partition("@")[0]
        added = await self._team.add_user(
            caller.user.tenant_id,
            email=body.email,
            name=name,
            role=body.role,
            actor=caller.user.id,
        )
        if isinstance(added, Rejected):
            raise Problem(_REFUSED[added.code], added.code, added.sentence)
        if isinstance(added, str):
            raise Problem(HTTPStatus.CONFLICT, "user_exists", added)
        return _json(_user(added), HTTPStatus.CREATED)

    @operation(body=RoleBody, answer=models.User, errors=(400, 403, 404, 409, 408, 413, 415, 422))
    async def change_user(self, request: web.Request) -> web.Response:
        """Give a user of the team another role, as its admin; not the last admin."""
        caller = await self._auth.caller(request)
        require_admin(caller)
        body = RoleBody.model_validate_json(await read_body(request))
        user_id = request.match_info["user_id"]
        changed = await self._team.set_role(
            caller.user.tenant_id, user_id, body.role, actor=caller.user.id
        )
        return _json(_user(_changed(changed)))

    @operation(status=204, errors=(403, 404, 409))
    async def disable_user(self, request: web.Request) -> web.Response:
        """Shut a user of the team out, as its admin; their tokens stop at once."""
        caller = await self._auth.caller(request)
        require_admin(caller)
        user_id = request.match_info["user_id"]
        _changed(
            await self._team.disable_user(caller.user.tenant_id, user_id, actor=caller.user.id)
        )
        return web.Response(status=HTTPStatus.NO_CONTENT)

    @operation(
        body=CodeBody,
        status=201,
        answer=models.Code,
        errors=(400, 403, 409, 408, 413, 415, 422, 429),
    )
    async def add_code(self, request: web.Request) -> web.Response:
        """A one-time code: it links a chat account to the caller, or invites as their admin."""
        caller = await self._auth.caller(request)
        body = CodeBody.model_validate_json(await read_body(request))
        if body.email is None:
            email, code = caller.user.email, await self._codes.link_code(caller.user)
            life_ms = LINK_TTL_MS
        else:
            require_admin(caller)
            email, life_ms = body.email, INVITE_TTL_MS
            invited = await self._codes.invite_code(caller.user, email=email, role=body.role)
            if isinstance(invited, Rejected):
                raise Problem(_REFUSED[invited.code], invited.code, invited.sentence)
            code = invited
        made = models.Code(kind=body.kind, code=code, email=email, expires_in_s=life_ms // 1000)
        return _json(made, HTTPStatus.CREATED)

    @operation(answer=models.Tokens)
    async def list_tokens(self, request: web.Request) -> web.Response:
        """The live tokens: an admin sees the team's, everybody else their own."""
        caller = await self._auth.caller(request)
        owner = None if _manages(caller.operator, caller.user) else caller.user.id
        rows = await self._tokens.tokens(caller.user.tenant_id, owner)
        listed = [
            models.TokenInfo(
                id=row.id,
                email=row.email,
                created_at=_time(row.created_at_ms),
                expires_at=_time(row.expires_at_ms),
                parent=row.parent,
            )
            for row in rows
        ]
        return _json(models.Tokens(tokens=listed))

    @operation(
        body=TokenBody, status=201, answer=models.Token, errors=(400, 403, 404, 408, 413, 415, 422)
    )
    async def add_token(self, request: web.Request) -> web.Response:
        """A token for the caller, or for a user of the team when an admin asks.

        It ends with the token it was made with, whatever ``days`` says.
        """
        caller = await self._auth.caller(request)
        body = TokenBody.model_validate_json(await read_body(request))
        user = caller.user
        if body.email is not None and body.email != user.email:
            require_admin(caller)
            team = await self._people.users(user.tenant_id)
            found = [member for member in team if member.email == body.email]
            if not found:
                detail = sentence("There is no user {email} in this team.", email=body.email)
                raise Problem(HTTPStatus.NOT_FOUND, "unknown_user", detail)
            user = found[0]
        issued = await self._auth.issue(user, days=body.days, by=caller)
        made = models.Token(
            id=issued.id,
            token=issued.token,
            email=user.email,
            days=body.days,
            expires_at=_time(issued.expires * 1000),
        )
        return _json(made, HTTPStatus.CREATED)

    @operation(status=204, errors=(404,))
    async def revoke_token(self, request: web.Request) -> web.Response:
        """Revoke a token by its id, with those made with it: one's own, or as an admin any."""
        caller = await self._auth.caller(request)
        owner = None if _manages(caller.operator, caller.user) else caller.user.id
        revoked = await self._tokens.revoke_token(
            caller.user.tenant_id,
            request.match_info["token_id"],
            owner=owner,
            actor=caller.user.id,
        )
        if not revoked:
            detail = sentence("There is no such live token.")
            raise Problem(HTTPStatus.NOT_FOUND, "unknown_token", detail)
        return web.Response(status=HTTPStatus.NO_CONTENT)


def _manages(operator: bool, user: User) -> bool:  # noqa: FBT001  # who asks, in one word
    return operator or user.role.includes(Role.ADMIN)


def _changed(changed: User | str | None) -> User:
    if changed is None:
        detail = sentence("There is no such user in this team.")
        raise Problem(HTTPStatus.NOT_FOUND, "unknown_user", detail)
    if isinstance(changed, str):
        raise Problem(HTTPStatus.CONFLICT, "last_admin", changed)
    return changed


def _user(user: User) -> models.User:
    return models.User(id=user.id, email=user.email, name=user.name, role=user.role)


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _json(answer: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.json_response(text=answer.model_dump_json(), status=status)
