"""A quota under a rush: as many calls as there is room for, and not one more."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import pytest

from tests.bots.api_kit import open_api
from tests.fakes.anthropic import FakeAnthropic
from tests.support.core_kit import eventually

ROOT = Path(__file__).parents[2]
CLIENTS = 4
EACH = 50


def _room(database: Path, calls: int) -> None:
    """Leave the tenant room for so many calls like the first one, and for no shortened one."""
    with sqlite3.connect(database) as conn:
        estimated, longest = conn.execute(
            "SELECT estimated_input, max_output FROM model_calls"
        ).fetchone()
        room = calls * (estimated + longest)
        conn.execute("UPDATE quota_counters SET used = hard - ?", (room,))


@dataclass(kw_only=True)
class Client:
    """A process that asks, and what it printed so far."""

    process: subprocess.Popen[str]
    lines: list[list[str]] = field(default_factory=list)

    def listen(self) -> None:
        """Collect its lines until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.split())

    def go(self) -> None:
        """First: ask. Then: end."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


def _client(stack: ExitStack, url: str, token: str) -> Client:
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.quota_clients", url, token, str(EACH)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    client = Client(process=process)
    thread = Thread(target=client.listen)
    thread.start()
    stack.callback(thread.join)
    stack.callback(process.kill)
    return client


@pytest.mark.slow
async def test_w8_two_hundred_at_once_for_the_room_of_two(tmp_path: Path) -> None:
    """Four client processes rush one server on SQLite: exactly two of 200 calls are admitted."""
    async with FakeAnthropic() as model:
        environ = {
            "ANTHROPIC_API_KEY": "sk-test",
            "ANTHROPIC_BASE_URL": model.url,
            "IT0_BILLING": "on",
            "IT0_MODEL_TIMEOUT_S": "600",
        }
        async with open_api(tmp_path / "data", environ) as api:
            assert (await api.ask("[[word fig]]", engine="claude_api"))["outcome"] == "answered"
            asked = len(model.seen)
            await asyncio.to_thread(_room, tmp_path / "data" / "it0.db", 2)
            with ExitStack() as stack:
                clients = [_client(stack, api.url, api.token) for _ in range(CLIENTS)]
                for client in clients:
                    client.go()
                await eventually(
                    lambda: sum(len(client.lines) for client in clients) >= CLIENTS * EACH - 2
                )
                admitted = len(model.seen) - asked
                for client in clients:
                    client.go()
                await asyncio.to_thread(_ended, clients)
            answers = [line for client in clients for line in client.lines]
            refused = [int(after) for status, after in answers if status == "429"]
            assert admitted == 2
            assert len(refused) == CLIENTS * EACH - 2
            assert min(refused) > 0
            assert sorted(status for status, _ in answers if status != "429") == ["0", "0"]


def _ended(clients: list[Client]) -> None:
    for client in clients:
        client.process.wait()
