"""IT0 as ``it0 up`` runs it, in this process, on a data directory of the test's own."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import sqlalchemy as sa

import app
from bots.web.auth import operator_token
from core.tenants import Role, User
from core.tools import Tool
from settings import Settings
from tests.browser.provider import Provider
from tests.support.core_kit import SECRET_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A running IT0, its provider, and what a test does beside the browser."""

    running: app.Running
    provider: Provider
    url: str

    @property
    def admin(self) -> User:
        """Who installed it."""
        return self.running.admin

    async def call(
        self, method: str, path: str, body: object = None, *, user: User | None = None
    ) -> Any:
        """Ask the API as a person; the JSON of its answer. Fails on any refusal."""
        key = self.running.core.storage.keys.derive("tokens")
        token = operator_token(key, (user or self.admin).email)
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        async with (
            aiohttp.ClientSession(self.url, headers=headers) as http,
            http.request(method, f"/api/v1{path}", json=body) as answer,
        ):
            text = await answer.text()
            assert answer.ok, (answer.status, text)
            return json.loads(text) if text else None

    async def sign_in_link(self, user: User | None = None, *, base: str = "") -> str:
        """A link that works once; at another address of the same server where one is given."""
        made = await self.call("POST", "/sign-in-links", {}, user=user)
        link: str = made["url"]
        return link if not base else base + link[link.index("/sign-in#") :]

    async def rows(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """Read the database."""

        def work(conn: sa.Connection) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in conn.execute(sa.text(sql), params)]

        return await self.running.core.storage.db.read(work)

    async def write(self, sql: str, **params: Any) -> None:
        """Change the database behind IT0's back."""

        def work(conn: sa.Connection) -> None:
            conn.execute(sa.text(sql), params)

        await self.running.core.storage.db.transaction(work)

    async def member(self, name: str, role: Role = Role.OPERATOR) -> User:
        """Somebody else of the admin's team."""
        added = await self.running.core.storage.people.add_user(
            self.admin.tenant_id, email=f"{name}@example.com", name=name, role=role
        )
        assert isinstance(added, User), added
        return added


@asynccontextmanager
async def opened(
    data_dir: Path, tools: Sequence[Tool] = (), **environment: str
) -> AsyncGenerator[House]:
    """Run everything in one process on SQLite, on a free port, until left."""
    async with Provider() as provider:
        settings = Settings.from_environment(
            {
                "IT0_DATA_DIR": str(data_dir),
                "IT0_SECRET_KEY": SECRET_KEY,
                "ANTHROPIC_API_KEY": "sk-test",
                "ANTHROPIC_BASE_URL": provider.url,
                "IT0_SHUTDOWN_GRACE_S": "1",
                **environment,
            },
            None,
        )
        parts = app.Parts(tools=tuple(tools))
        async with app.running(settings, app.Role.UP, parts, port=0) as running:
            assert running.url is not None
            yield House(running=running, provider=provider, url=running.url)
