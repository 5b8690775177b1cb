"""``/api/v1/artifacts/{id}``: a download for operators of the team, and for nobody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from openapi_spec_validator import validate

import app
from bots.web.artifacts import ArtifactRoutes
from bots.web.auth import Authenticator
from bots.web.server import build, listening
from core.tenants import Role, User
from core.tools import ToolContext
from storage.artifacts import SqlArtifacts
from tests.support.core_kit import Site

PAGE = "<script>alert(1)</script>\n服务器\n"


@dataclass(kw_only=True)
class Edge:
    """The route on a real server."""

    storage: app.Storage
    artifacts: SqlArtifacts
    url: str
    session: aiohttp.ClientSession
    auth: Authenticator
    admin: User

    async def keep(self, tenant_id: str) -> str:
        """An artifact of this tenant; its id."""
        context = ToolContext(tenant_id=tenant_id, user_id="u", turn_id="t")
        return await self.artifacts.keep(context, "web-1", PAGE.encode(), total=99)

    async def get(self, name: str, who: User | None = None) -> tuple[int, str, dict[str, str]]:
        """Status, text and headers."""
        token = (await self.auth.issue(who or self.admin, days=1)).token
        async with self.session.get(
            f"{self.url}/api/v1/artifacts/{name}", headers={"Authorization": f"Bearer {token}"}
        ) as response:
            return response.status, await response.text(), dict(response.headers)

    async def openapi(self) -> dict[str, object]:
        """The description."""
        async with self.session.get(f"{self.url}/openapi.json") as response:
            document: dict[str, object] = await response.json()
            return document


@pytest.fixture
async def edge(site: Site) -> AsyncIterator[Edge]:
    """An installation with one admin."""
    async with app.open_storage(site.settings()) as storage, aiohttp.ClientSession() as session:
        admin = await storage.people.install(tenant_name="t", admin_email="admin@localhost")
        auth = Authenticator(key=storage.keys.derive("tokens"), store=storage.people)
        artifacts = SqlArtifacts(storage.db)
        application = build(ArtifactRoutes(artifacts, auth).routes(), version="1")
        async with listening(application, "127.0.0.1", 0) as url:
            yield Edge(
                storage=storage,
                artifacts=artifacts,
                url=url,
                session=session,
                auth=auth,
                admin=admin,
            )


async def test_an_output_is_downloaded_as_plain_text(edge: Edge) -> None:
    """Saved, never shown as a page, never cached."""
    status, text, headers = await edge.get(await edge.keep(edge.admin.tenant_id))
    assert (status, text) == (200, PAGE)
    assert headers["Content-Type"] == "text/plain; charset=utf-8"
    assert headers["Content-Disposition"].startswith("attachment")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"


async def test_another_teams_output_does_not_exist(edge: Edge) -> None:
    """The same answer as for an id that nobody has."""
    theirs = await edge.get(await edge.keep("ten_other"))
    assert theirs[0] == 404
    assert theirs[1] == (await edge.get("art_0"))[1]


async def test_a_viewer_gets_none(edge: Edge) -> None:
    """It may hold what a viewer may not ask for."""
    viewer = await edge.storage.people.add_user(
        edge.admin.tenant_id, email="viewer@localhost", name="Vi", role=Role.VIEWER
    )
    assert isinstance(viewer, User)
    status, text, _headers = await edge.get(await edge.keep(edge.admin.tenant_id), viewer)
    assert status == 403
    assert "needs the role operator" in text


async def test_the_route_is_described(edge: Edge) -> None:
    """In a document that OpenAPI's own validator takes."""
    document = await edge.openapi()
    validate(document)
    paths = document["paths"]
    assert isinstance(paths, dict)
    assert (
        "text/plain"
        in paths["/api/v1/artifacts/{artifact_id}"]["get"]["responses"]["200"]["content"]
    )
