from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from app import Role, running
from bots.console_client import ConsoleClient
from bots.console_events import TurnCompleted
from core.errors import It0Error
from core.keys import load_or_make
from reach import Connection, connected
from settings import Settings
from storage.lock import DataDirectoryLock, holder


@dataclass
class Stranger:
    """A server that says yes to everything and keeps what it is sent."""

    url: str = ""
    port: int = 0
    paths: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """200, whatever was asked."""
        self.paths.append(request.path)
        self.secrets += request.headers.getall("Authorization", [])
        return web.json_response({"status": "ok", "proof": "0" * 64, "users": []})


@pytest.fixture
async def stranger() -> AsyncIterator[Stranger]:
    """It listens on a free port."""
    seen = Stranger()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", seen.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    seen.port = runner.addresses[0][1]
    seen.url = f"http://127.0.0.1:{seen.port}"
    yield seen
    await runner.cleanup()


def local(data_dir: Path, **environ: str) -> Settings:
    """Settings of an installation on SQLite."""
    return Settings.from_environment({"IT0_DATA_DIR": str(data_dir), **environ})


@pytest.mark.postgres
async def test_a_stranger_on_the_port_gets_no_token(
    data_dir: Path, stranger: Stranger, postgres_url: str
) -> None:
    """On PostgreSQL a process that only holds the port is asked for a proof and nothing else."""
    settings = local(
        data_dir,
        IT0_DATABASE_URL=postgres_url,
        IT0_SECRET_KEY="k" * 64,
        IT0_HTTP_PORT=str(stranger.port),
    )
    async with connected(settings) as server:
        assert server.url != stranger.url
        assert len(await server.operator().users()) == 1
    assert stranger.paths == ["/healthz"]
    assert stranger.secrets == []


async def test_a_lock_file_that_points_elsewhere_is_not_believed(
    data_dir: Path, stranger: Stranger
) -> None:
    """The URL of the lock file has to prove itself too; the sentence says what is wrong."""
    lock = DataDirectoryLock(data_dir)
    load_or_make(data_dir)
    lock.announce(stranger.url)
    try:
        with pytest.raises(It0Error, match="does not prove"):
            async with connected(local(data_dir)):
                pass
    finally:
        lock.release()
    assert stranger.secrets == []


async def test_a_running_process_proves_itself(data_dir: Path) -> None:
    """The proof belongs to the nonce; a token then works once, and no second time."""
    settings = local(data_dir)
    async with running(settings, Role.UP, port=0), connected(settings) as server:
        proofs = []
        async with aiohttp.ClientSession() as session:
            for nonce in ("ab" * 32, "cd" * 32, "not hex"):
                async with session.get(f"{server.url}/healthz", params={"nonce": nonce}) as answer:
                    proofs.append((await answer.json()).get("proof"))
            headers = {"Authorization": f"Bearer {server.token()}"}
            statuses = []
            for _ in range(2):
                async with session.get(f"{server.url}/api/v1/users", headers=headers) as answer:
                    statuses.append(answer.status)
    assert len(proofs[0]) == len(proofs[1]) == 64
    assert proofs[0] != proofs[1]
    assert proofs[2] is None
    assert statuses == [200, 401]


async def test_a_holder_that_starts_is_waited_for(data_dir: Path) -> None:
    """A chat that comes while another one starts uses it, once it serves."""
    settings = local(data_dir)
    async with AsyncExitStack() as stack:
        both = await asyncio.gather(
            *(stack.enter_async_context(Connection(settings)) for _ in range(2))
        )
        assert both[0].url == both[1].url


async def test_a_chat_goes_on_when_the_one_it_used_ends(data_dir: Path) -> None:
    """The embedded server ends with its chat; the other chat embeds one and keeps talking."""
    settings = local(data_dir)
    first = Connection(settings)
    await first.__aenter__()
    async with (
        connected(settings) as second,
        ConsoleClient(second.url, second.token, first_wait_s=0.01, find=second.find) as client,
    ):
        replies = [await _ask(client)]
        await first.__aexit__(None, None, None)
        replies.append(await _ask(client))
        assert len(await client.conversations()) == 2
        assert second.url != first.url
    assert all("admin@localhost" in reply for reply in replies)
    assert holder(data_dir) is None


async def test_a_restart_of_up_is_waited_for(data_dir: Path) -> None:
    """While `it0 up` restarts, a chat does not take its place."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    settings = local(data_dir, IT0_HTTP_PORT=port)
    async with AsyncExitStack() as stack:
        async with running(settings, Role.UP):
            server = await stack.enter_async_context(connected(settings))
        assert await server.find() == f"http://127.0.0.1:{port}"
        assert holder(data_dir) is None


async def _ask(client: ConsoleClient) -> str:
    async for event in client.turn("/whoami"):
        if isinstance(event, TurnCompleted):
            return event.reply
    raise AssertionError
