"""IT0 as ``it0 up`` runs it, which also knows when it wrote each delta to the browser."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp

import app
from bench._page_stamps import Stamps, serve
from bots.web.auth import operator_token
from core.logs import configure_logs
from settings import Settings


async def _main(provider: str, data_dir: str) -> None:
    configure_logs(json=True)
    settings = Settings.from_environment(
        {
            "IT0_DATA_DIR": data_dir,
            "IT0_BILLING": "off",
            "ANTHROPIC_API_KEY": "sk-bench",
            "ANTHROPIC_BASE_URL": provider,
        }
    )
    stamps = Stamps()
    stamps.install()
    async with app.running(settings, app.Role.UP, port=0) as running:
        token = operator_token(running.core.storage.keys.derive("tokens"), running.admin.email)

        async def answer(_question: dict[str, Any]) -> object:
            """When the deltas were written that nobody asked about yet."""
            return stamps.take()

        await serve({"url": running.url, "link": await _link(f"{running.url}", token)}, answer)


async def _link(url: str, token: str) -> str:
    """A link that signs in once."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(url, headers=headers) as http,
        http.post("/api/v1/sign-in-links", json={}) as answer,
    ):
        assert answer.ok, await answer.text()
        link: str = (await answer.json())["url"]
        return link


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))
