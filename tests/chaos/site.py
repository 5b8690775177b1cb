"""Where a chaos run happens: a database, people in several tenants, workers and their slots."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import app
from core.tenants import Role
from settings import Settings
from tests.chaos.messages import TENANTS
from tests.chaos.worker import PLATFORM, PORT
from tests.support.postgres import PostgresServer
from tests.support.processes import Process, free_port

ROOT = Path(__file__).resolve().parents[2]


@dataclass(slots=True, kw_only=True)
class Site:
    """The environment that every process of the run shares, and every process there was."""

    database: str
    environ: dict[str, str]
    users: tuple[str, ...] = ()
    """One person of each tenant."""
    workers: list[Process] = field(default_factory=list)
    """Every worker that was ever started, oldest first."""

    @property
    def settings(self) -> Settings:
        """What the workers read."""
        return Settings.from_environment(self.environ, None)

    def start_worker(self, port: int, extra: Mapping[str, str]) -> Process:
        """Start one more worker."""
        process = Process(
            [sys.executable, "-m", "tests.chaos.worker"],
            env={**self.environ, PORT: str(port), **extra},
            cwd=ROOT,
        )
        self.workers.append(process)
        return process

    def logs(self) -> str:
        """What all workers wrote."""
        return "".join(process.output() for process in self.workers)


@asynccontextmanager
async def open_site(database: str, directory: Path, platform_url: str) -> AsyncGenerator[Site]:
    """Make the database (PostgreSQL with fsync) and its people; end every worker at the end."""
    async with AsyncExitStack() as stack:
        environ = {
            "IT0_DATA_DIR": str(directory / "data"),
            "IT0_SECRET_KEY": "chaos" * 10,
            "IT0_BILLING": "off",
            "IT0_SHUTDOWN_GRACE_S": "0.3",
            "IT0_LOG_FORMAT": "json",
            "ANTHROPIC_API_KEY": "sk-chaos",
            "PATH": os.environ.get("PATH", os.defpath),
            PLATFORM: platform_url,
        }
        if database == "postgres":
            server = stack.enter_context(PostgresServer(fsync=True))
            environ["IT0_DATABASE_URL"] = server.create_database()
        site = Site(database=database, environ=environ)
        stack.callback(_end, site)
        async with app.open_storage(site.settings) as storage:
            await storage.people.install(tenant_name="Operators", admin_email="a@example.org")
            for number in range(TENANTS):
                tenant = await storage.people.add_tenant(f"Team {number}")
                user = await storage.people.add_user(
                    tenant.id, email="u@example.org", name="U", role=Role.OPERATOR
                )
                if isinstance(user, str):
                    raise TypeError(user)
                site.users += (user.id,)
        yield site


def _end(site: Site) -> None:
    for process in site.workers:
        process.stop()


def start_upstream() -> tuple[Process, str]:
    """Start the fake provider; returns it and its address."""
    process = Process([sys.executable, "-m", "tests.chaos.upstream"], cwd=ROOT)
    return process, process.wait_for(r"^url (\S+)$")[1]


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was done to a worker."""

    at: float
    kind: str
    worker: str
    """Its process id, as the platform knows it."""


@dataclass(slots=True, kw_only=True)
class Slot:
    """A place for one worker after another; ``port`` stays."""

    site: Site
    port: int = field(default_factory=free_port)
    process: Process | None = None

    @property
    def url(self) -> str:
        """Where its worker listens, if there is one."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, extra: Mapping[str, str]) -> Process:
        """Put a new worker in."""
        self.process = self.site.start_worker(self.port, extra)
        return self.process

    def hit(self, kind: str) -> Hit:
        """Note what was just done to the worker."""
        pid = "" if self.process is None else str(self.process.pid)
        return Hit(time.monotonic(), kind, pid)
