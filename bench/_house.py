"""A data directory with a user, and IT0 as its own process over it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import app
from bench._child import MAX_TOKENS, ROOT
from bots.web.auth import Authenticator
from settings import Settings
from tests.support.processes import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Where it is and how to get in."""

    data_dir: Path
    token: str
    user_id: str


def furnish(data_dir: Path) -> House:
    """Create the database, the first admin and a token of theirs."""

    async def make() -> House:
        settings = Settings.from_environment({"IT0_DATA_DIR": str(data_dir)})
        async with app.open_storage(settings) as storage:
            admin = await storage.people.install(tenant_name="Bench", admin_email="a@example.com")
            auth = Authenticator(key=storage.keys.derive("tokens"), store=storage.people)
            return House(
                data_dir=data_dir, token=(await auth.issue(admin, days=1)).token, user_id=admin.id
            )

    return asyncio.run(make())


def command() -> list[str]:
    """``it0 up``, or a stand-in with the same parts while there is no command line."""
    if (ROOT / "cli.py").exists():
        return [sys.executable, str(ROOT / "cli.py"), "up"]
    return [sys.executable, "-m", "bench._serve"]


def environment(data_dir: Path, port: int, upstream: str | None, **more: str) -> dict[str, str]:
    """The environment of a process; without an upstream the offline engine answers."""
    given = {
        "IT0_DATA_DIR": str(data_dir),
        "IT0_BILLING": "off",
        "IT0_HTTP_PORT": str(port),
        "IT0_LOG_FORMAT": "json",
        "IT0_MAX_OUTPUT_TOKENS": str(MAX_TOKENS),
        **more,
    }
    if upstream is not None:
        given |= {"ANTHROPIC_API_KEY": "sk-bench", "ANTHROPIC_BASE_URL": upstream}
    return given


def start(data_dir: Path, port: int, upstream: str | None, **more: str) -> Process:
    """Start IT0 and wait until it listens; use it as a context manager."""
    process = Process(command(), env=environment(data_dir, port, upstream, **more), cwd=ROOT)
    process.wait_for_port(port)
    return process
