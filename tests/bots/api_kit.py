"""A real server in this process, and a client that speaks to it as a user would."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from app import Core, Parts, Role, running
from bots.sse import SseMessage, SseParser
from bots.web.auth import operator_token
from settings import Settings


@dataclass(kw_only=True)
class Api:
    """The API of a running server, called as one person."""

    core: Core
    url: str
    session: aiohttp.ClientSession
    token: str
    headers: dict[str, str] = field(default_factory=dict)

    def auth(self, **more: str) -> dict[str, str]:
        """The headers of a request."""
        return {"Authorization": f"Bearer {self.token}", **self.headers, **more}

    async def call(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Any]:
        """One request with a JSON answer: its status and its document."""
        async with self.session.request(
            method, f"{self.url}{path}", json=body, headers=self.auth(**headers)
        ) as response:
            text = await response.text()
        return response.status, json.loads(text) if text else None

    async def raw(self, data: bytes, content_type: str = "application/json") -> tuple[int, Any]:
        """Post bytes as they are to the turns."""
        async with self.session.post(
            f"{self.url}/api/v1/agent/turns",
            data=io.BytesIO(data),
            headers=self.auth(**{"Content-Type": content_type}),
        ) as response:
            text = await response.text()
        return response.status, None if text.startswith("id:") else json.loads(text)

    async def ask(self, text: str, **body: object) -> dict[str, Any]:
        """The final event of a message."""
        status, answer = await self.call(
            "POST", "/api/v1/agent/turns", {"text": text, **body}, Accept="application/json"
        )
        assert status == 200, answer
        return dict(answer)

    async def stream(
        self, text: str, *, key: str = "", **body: object
    ) -> AsyncGenerator[SseMessage, None]:
        """The events of a message as they come."""
        headers = self.auth(**({"Idempotency-Key": key} if key else {}))
        async with self.session.post(
            f"{self.url}/api/v1/agent/turns", json={"text": text, **body}, headers=headers
        ) as response:
            assert response.status == 200, await response.text()
            async for event in events_of(response):
                yield event

    async def resume(self, turn_id: str, last: str = "") -> list[SseMessage]:
        """The events of a turn after a position, to its end."""
        headers = self.auth(**({"Last-Event-ID": last} if last else {}))
        async with self.session.get(
            f"{self.url}/api/v1/agent/turns/{turn_id}/events", headers=headers
        ) as response:
            assert response.status == 200, await response.text()
            return [event async for event in events_of(response)]


async def events_of(response: aiohttp.ClientResponse) -> AsyncGenerator[SseMessage, None]:
    """Parse a streamed answer."""
    parser = SseParser()
    async for chunk in response.content.iter_any():
        for event in parser.feed(chunk):
            yield event


@asynccontextmanager
async def open_api(
    data_dir: Path, environ: Mapping[str, str] | None = None, parts: Parts | None = None
) -> AsyncGenerator[Api]:
    """Start the product in this process and sign in as its admin."""
    settings = Settings.from_environment(
        {"IT0_DATA_DIR": str(data_dir), "IT0_BILLING": "off", **(environ or {})}
    )
    async with (
        running(settings, Role.UP, parts, port=0) as process,
        aiohttp.ClientSession() as session,
    ):
        key = process.core.storage.keys.derive("tokens")
        api = Api(
            core=process.core,
            url=str(process.url),
            session=session,
            token=operator_token(key, None),
        )
        status, made = await api.call("POST", "/api/v1/tokens", {})
        assert status == 201
        api.token = made["token"]
        yield api


def attached(name: str, data: bytes, media_type: str = "") -> dict[str, str]:
    """An attachment as the API takes it."""
    item = {"name": name, "data": base64.b64encode(data).decode()}
    return {**item, "media_type": media_type} if media_type else item
