"""``/api/v1/artifacts/{id}``: the whole output of a command, of which the chat showed a part."""

from __future__ import annotations

from http import HTTPStatus
from typing import Protocol

from aiohttp import web

from bots.web.auth import Authenticator, needs
from bots.web.openapi import operation
from bots.web.problems import Problem
from core.tenants import Role
from core.words import sentence

_PLAIN = "text/plain"


class ArtifactReader(Protocol):
    """Where they are kept."""

    async def read(self, tenant_id: str, artifact_id: str) -> bytes | None:
        """The output, if it is this tenant's."""


class ArtifactRoutes:
    """A team's operators download what their commands printed."""

    def __init__(self, artifacts: ArtifactReader, auth: Authenticator) -> None:
        """Wire the ports."""
        self._artifacts = artifacts
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [web.get("/api/v1/artifacts/{artifact_id}", self.read_artifact, allow_head=False)]

    @operation(gives=_PLAIN, errors=(403, 404))
    async def read_artifact(self, request: web.Request) -> web.Response:
        """The whole output of a command as a text file, for operators of its team."""
        user = (await self._auth.caller(request)).user
        if not user.role.includes(Role.OPERATOR):
            detail = needs(Role.OPERATOR, user)
            raise Problem(HTTPStatus.FORBIDDEN, "not_allowed", detail)
        name = request.match_info["artifact_id"]
        data = await self._artifacts.read(user.tenant_id, name)
        if data is None:
            raise Problem(
                HTTPStatus.NOT_FOUND,
                "not_found",
                sentence("There is no such output. Whole outputs are kept for a limited time."),
            )
        return web.Response(
            body=data,
            content_type=_PLAIN,
            charset="utf-8",
            headers={
                "Cache-Control": "no-store",
                # A browser saves it: what a server printed is never shown as a page of ours.
                "Content-Disposition": 'attachment; filename="output.txt"',
                "X-Content-Type-Options": "nosniff",
            },
        )
