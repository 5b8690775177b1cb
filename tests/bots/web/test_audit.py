"""The audit log over HTTP, for admins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from openapi_spec_validator import validate

from bots.web.audit import AuditRoutes
from bots.web.audit_models import AuditPage
from bots.web.auth import Authenticator
from bots.web.handovers import HandoverRoutes
from bots.web.server import build, listening
from core.audit_export import check_export, read_heads
from core.clock import SystemClock
from core.tenants import Role, User
from storage.audit_reads import SqlAuditLog
from storage.database import Database
from storage.handovers import SqlHandovers
from storage.people import SqlPeople
from tests.storage.kit import install, sqlite_database
from tests.storage.test_audit import KEY, fill


@dataclass(kw_only=True)
class Server:
    """The routes of the audit log and of handovers on a database of SQLite, served."""

    admin: User
    url: str
    session: aiohttp.ClientSession
    auth: Authenticator
    db: Database

    async def call(
        self, method: str, path: str, who: User | None = None, body: object = None
    ) -> tuple[int, str, str]:
        """One request: its status, what kind of answer it is, and the answer."""
        issued = await self.auth.issue(who or self.admin, days=1)
        async with self.session.request(
            method,
            f"{self.url}/api/v1/{path}",
            json=body,
            headers={"Authorization": f"Bearer {issued.token}"},
        ) as response:
            return response.status, response.content_type, await response.text()

    async def person(self, name: str, role: Role) -> User:
        """A colleague."""
        user = await SqlPeople(self.db).add_user(
            self.admin.tenant_id, email=f"{name}@example.org", name=name, role=role
        )
        assert isinstance(user, User)
        return user


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[Server]:
    """A server on a new database."""
    async with sqlite_database(path / "it0.db") as db:
        admin = await install(db)
        auth = Authenticator(key=b"t" * 32, store=SqlPeople(db))
        routes = [
            *AuditRoutes(SqlAuditLog(db, KEY), auth).routes(),
            *HandoverRoutes(SqlHandovers(db, KEY), auth, SystemClock()).routes(),
        ]
        async with (
            listening(build(routes, version="1"), "127.0.0.1", 0) as url,
            aiohttp.ClientSession() as session,
        ):
            yield Server(admin=admin, url=url, session=session, auth=auth, db=db)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server."""
    async with served(tmp_path) as made:
        yield made


async def test_pages_follow_each_other_to_the_first_row(server: Server) -> None:
    """The newest first; the last page has no cursor; filters are those of the log."""
    await fill(server.db, server.admin.tenant_id, 7)
    seen: list[int] = []
    query = "limit=3"
    for _ in range(4):
        status, _, text = await server.call("GET", f"audit?{query}")
        assert status == 200
        page = AuditPage.model_validate_json(text)
        seen += [entry.seq for entry in page.entries]
        if page.next_cursor is None:
            break
        query = f"limit=3&cursor={page.next_cursor}"
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    status, _, text = await server.call("GET", "audit?action=approval.*&level=L0&actor=user_1")
    (entry,) = AuditPage.model_validate_json(text).entries
    assert (entry.seq, entry.detail["servers"], entry.turn_id) == (4, "web-1,db_1", "turn_0")
    at = entry.at.isoformat().replace("+00:00", "Z")
    later = AuditPage.model_validate_json((await server.call("GET", f"audit?until={at}"))[2])
    assert all(row.at < entry.at for row in later.entries)


async def test_what_a_page_refuses(server: Server) -> None:
    """A cursor that is none, a time without a zone, a word that is no filter."""
    for query in ("cursor=x", "limit=0", "limit=501", "since=2026-11-22T10:00:00", "colour=red"):
        assert (await server.call("GET", f"audit?{query}"))[0] == 422, query


async def test_the_log_is_for_admins(server: Server) -> None:
    """Nobody else reads, exports or takes its head; another team's rows are not there."""
    await fill(server.db, "ten_other", 3)
    operator = await server.person("bob", Role.OPERATOR)
    for path in ("audit", "audit/export", "audit/head"):
        status, _, text = await server.call("GET", path, operator)
        assert (status, "forbidden" in text) == (403, True)
        assert "ten_other" not in (await server.call("GET", path))[2]
    assert AuditPage.model_validate_json((await server.call("GET", "audit"))[2]).entries == []


async def test_an_export_can_be_checked_with_the_head(server: Server) -> None:
    """Lines of JSON, sealed at the end; whole or filtered."""
    await fill(server.db, server.admin.tenant_id, 1200)
    heads = read_heads(KEY, (await server.call("GET", "audit/head"))[2])
    status, kind, text = await server.call("GET", "audit/export")
    assert (status, kind) == (200, "application/x-ndjson")
    checked = check_export(KEY, text.splitlines(), heads)
    assert (checked.rows, checked.faults, checked.open_points) == (1200, [], [])
    _, _, some = await server.call("GET", "audit/export?actor=user_1")
    assert check_export(KEY, some.splitlines()).rows == 600
    assert (await server.call("GET", "audit/export?limit=3"))[0] == 422


async def test_the_document_describes_them(server: Server) -> None:
    """/openapi.json is valid and names every route."""
    async with server.session.get(f"{server.url}/openapi.json") as response:
        document = await response.json()
    validate(document)
    assert {"/api/v1/audit", "/api/v1/audit/export", "/api/v1/audit/head"} <= set(document["paths"])
