"""The product in a chat chaos run: its real commands as processes, one after another in seats."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import app
from core.tenants import Role
from settings import Settings
from storage.access import SqlGate
from tests.chaos.chat_network import Network, Newcomer, Place
from tests.support.postgres import PostgresServer
from tests.support.processes import Process, ProcessFailure

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
WELCOME_S = 60.0
_READY = '"event": "ready"'
"""What a process logs when it works."""


@dataclass(slots=True, kw_only=True)
class Seat:
    """A place for one process of a role after another."""

    role: str
    environ: Mapping[str, str]
    directory: Path
    processes: list[Process] = field(default_factory=list)

    @property
    def process(self) -> Process:
        """The newest one."""
        return self.processes[-1]

    def start(self) -> None:
        """Run the product's command in it."""
        self.processes.append(
            Process(
                [sys.executable, "-m", "cli", self.role],
                env={**self.environ, "PYTHONPATH": str(ROOT)},
                cwd=self.directory,
            )
        )

    async def ready(self) -> None:
        """Wait until it works; one that ends by itself fails the run."""
        deadline = time.monotonic() + START_S
        while _READY not in self.process.output():
            status = self.process.returncode
            if status == -signal.SIGKILL:
                return
            if status is not None or time.monotonic() > deadline:
                tail = self.process.output()[-3000:]
                raise ProcessFailure(f"it0 {self.role} does not start ({status}):\n{tail}")
            await asyncio.sleep(0.05)


@dataclass(slots=True, kw_only=True)
class ChatSite:
    """An installation: its database, its settings, its seats."""

    database: str
    environ: dict[str, str]
    directory: Path
    seats: tuple[Seat, ...] = ()

    @property
    def settings(self) -> Settings:
        """What the processes read."""
        return Settings.from_environment(self.environ, None)

    def seat(self, networks: Sequence[Network]) -> None:
        """Make the seats: one process, or one for each role and two workers."""
        roles = ["up"]
        if self.database == "postgres":
            roles = ["serve", *(network.name for network in networks), "worker", "worker"]
        self.seats = tuple(
            Seat(role=role, environ=self.environ, directory=self.directory) for role in roles
        )

    async def start(self) -> None:
        """Fill every seat."""
        for seat in self.seats:
            seat.start()
        for seat in self.seats:
            await seat.ready()

    async def stop(self) -> None:
        """End every process politely."""
        for seat in self.seats:
            for process in seat.processes:
                await asyncio.to_thread(process.stop, timeout_s=20)

    def logs(self) -> str:
        """What all processes wrote."""
        return "".join(process.output() for seat in self.seats for process in seat.processes)


@asynccontextmanager
async def open_chat_site(
    database: str, directory: Path, networks: Sequence[Network], upstream_url: str
) -> AsyncGenerator[ChatSite]:
    """Make the database; end every process at the end."""
    async with AsyncExitStack() as stack:
        environ = {
            "IT0_DATA_DIR": str(directory / "data"),
            "IT0_SECRET_KEY": "chaos" * 10,
            "IT0_BILLING": "off",
            "IT0_SHUTDOWN_GRACE_S": "0.5",
            "IT0_LOG_FORMAT": "json",
            "IT0_HTTP_PORT": "0",
            "ANTHROPIC_API_KEY": "sk-chaos",
            "ANTHROPIC_BASE_URL": upstream_url,
            "PATH": os.environ.get("PATH", os.defpath),
        }
        for network in networks:
            environ |= network.environ
        if database == "postgres":
            server = stack.enter_context(PostgresServer(fsync=True, max_connections=200))
            environ["IT0_DATABASE_URL"] = server.create_database()
        site = ChatSite(database=database, environ=environ, directory=directory)
        site.seat(networks)
        stack.push_async_callback(site.stop)
        yield site


async def let_in(
    site: ChatSite, networks: Sequence[Network], places: int
) -> tuple[list[tuple[Network, Place]], int]:
    """Start the product and link everybody in their chats; the places and how many were linked."""
    populated = [(network, *network.populate(places)) for network in networks]
    newcomers = [newcomer for _, found, _ in populated for newcomer in found]
    codes = await _codes(site, newcomers)
    await site.start()
    for network in networks:
        await network.wait_for(network.connected, START_S)
    for newcomer in newcomers:
        newcomer.link(codes.get(newcomer.name, ""))
        if newcomer.admin:
            await _welcomed([newcomer], site)
    await _welcomed(newcomers, site)
    made = [(network, place) for network, _, found in populated for place in found]
    return made, len(newcomers)


async def _codes(site: ChatSite, newcomers: Sequence[Newcomer]) -> dict[str, str]:
    codes: dict[str, str] = {}
    async with app.open_storage(site.settings) as storage:
        admin = await storage.people.install(tenant_name="Operators", admin_email="a@example.org")
        gate = SqlGate(storage.db, storage.keys.derive("audit"))
        for newcomer in newcomers:
            if not newcomer.needs_code:
                continue
            user = await storage.people.add_user(
                admin.tenant_id,
                email=f"{newcomer.name}@example.org",
                name=newcomer.name,
                role=Role.ADMIN if newcomer.admin else Role.OPERATOR,
            )
            if isinstance(user, str):
                raise TypeError(user)
            codes[newcomer.name] = await gate.link_code(user)
    return codes


async def _welcomed(newcomers: Sequence[Newcomer], site: ChatSite) -> None:
    deadline = time.monotonic() + WELCOME_S
    while waiting := [item.name for item in newcomers if not item.welcomed()]:
        if time.monotonic() > deadline:
            raise ProcessFailure(f"Not let in: {waiting}\n{site.logs()[-5000:]}")
        await asyncio.sleep(0.05)
