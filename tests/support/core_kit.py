"""The real core in this process, on SQLite or PostgreSQL: nothing of ours is replaced.

A ``Site`` is a database with one installation in it; ``site.open()`` runs a core on it and
yields a ``House``. Several houses may stand on one PostgreSQL site at once; on SQLite one
after the other. ``house.crash()`` is what a ``kill -9`` is to the database: from that moment
on no write arrives, and nobody says goodbye.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

import app
from core.errors import StorageUnreachable
from core.gate import ApprovalGate, NoApprovals
from core.inbox import Acceptance, Accepted
from core.intake import FileSource, NoTranscriber, Transcriber
from core.messages import Actor, Attachment, ConversationAddress, InboundMessage, Overlap
from core.risk import Assessment, Level
from core.scheduling import Pace
from core.sinks import ReplySink
from core.streams import START, EventId, StreamEvent
from core.tenants import Role, Tenant, User
from core.tools import Arguments, Param, Tool, ToolContext, ToolResult, ToolSpec
from settings import Settings
from storage.database import Database
from storage.postgres import PostgresDatabase
from storage.tables import metadata
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.support.postgres import PostgresServer

T = TypeVar("T")

SECRET_KEY = "a key for tests, long enough to be accepted"
PACE = Pace(beat_s=0.2, ttl_s=10.0, poll_s=0.1, sweep_s=0.1, retry_s=0.02)
"""Quick, and still safe on a machine that stalls for seconds."""
PATIENCE_S = 60.0
"""Only ever waited for in full by a test that fails."""

BACKGROUND = {
    "_beat",
    "_claim",
    "_claim_undelivered",
    "_put_off",
    "_renew",
    "_leave",
    "_forget_events",
    "_forget_controls",
    "_give_up_deliveries",
    "_key_matches",
    "_seed",
    "switch",
    "_sweep",
    "_sent",
    "_failed",
    "_release",
    "consume_once",
}
"""Transactions of the start and of the loops: cut points count those of turns alone."""


# -- faults ---------------------------------------------------------------------------------


@dataclass
class Faults:
    """Sits between the repositories and one connected database."""

    db: Database
    dead: bool = False
    died: asyncio.Event = field(default_factory=asyncio.Event)
    passed: list[str] = field(default_factory=list)
    """Names of the turns' transactions so far."""
    cut_at: int | None = None
    """Die at the transaction of this number (from 0)."""
    committed: bool = False
    """Whether the fatal transaction still commits; its answer is lost either way."""
    refuse: Callable[[str], bool] = lambda _name: False
    """Whether a transaction of this name fails as if the server could not be reached."""

    def install(self) -> None:
        """Take the place of ``transaction`` and ``read`` on this object alone."""
        transact = self.db.transaction
        read = transact if isinstance(self.db, PostgresDatabase) else self.db.read

        async def transaction(fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
            name = getattr(fn, "__name__", "")
            fatal = self._count(name)
            if self.dead or (fatal and not self.committed) or self.refuse(name):
                raise self._end(fatal=fatal)
            result: T = await transact(fn, *args, **kwargs)
            if fatal:
                raise self._end(fatal=True)
            return result

        async def reading(fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
            if self.dead or self.refuse(getattr(fn, "__name__", "")):
                raise self._end(fatal=False)
            result: T = await read(fn, *args, **kwargs)
            return result

        self.db.transaction = transaction  # type: ignore[method-assign]
        self.db.read = reading  # type: ignore[method-assign]

    def _count(self, name: str) -> bool:
        if name in BACKGROUND or self.dead:
            return False
        self.passed.append(name)
        return self.cut_at is not None and len(self.passed) - 1 == self.cut_at

    def _end(self, *, fatal: bool) -> StorageUnreachable:
        if fatal:
            self.dead = True
            self.died.set()
        return StorageUnreachable("The test cut the connection.")


# -- a running core -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """How a turn ended, as its last event tells it."""

    turn_id: str
    outcome: str
    reply: str
    notice: str
    engine: str
    engine_reason: str
    conversation_id: str
    merged_into: str | None
    usage: dict[str, int]
    failure: str
    retry_at: str | None
    offer: dict[str, str] | None
    events: tuple[StreamEvent, ...]

    def names(self) -> list[str]:
        """The names of its events."""
        return [event.name for event in self.events]


@dataclass
class House:
    """A running core, and short words for what tests do with it."""

    core: app.Core
    admin: User
    faults: Faults
    engine: ScriptedEngine
    crashed: bool = False
    _events: Iterable[int] = field(default_factory=count)

    def message(
        self,
        text: str,
        who: User | None = None,
        *,
        place: str = "1",
        platform: str = "api",
        event: str | None = None,
        engine: str | None = "scripted",
        overlap: Overlap = Overlap.QUEUE,
        files: Sequence[Attachment] = (),
        conversation: str | None = None,
    ) -> InboundMessage:
        """A message from a person at a place."""
        user = who or self.admin
        number = f"{id(self)}-{next(iter(self._events))}"
        return InboundMessage(
            event_id=f"test:{event or number}",
            address=ConversationAddress(
                platform=platform, workspace="", channel=user.id, thread=place
            ),
            actor=Actor(platform="it0", workspace="", external_id=user.id),
            text=text,
            attachments=tuple(files),
            conversation_id=conversation,
            engine=engine,
            overlap=overlap,
        )

    async def say(self, text: str, who: User | None = None, **more: Any) -> Acceptance:
        """Hand a message in."""
        return await self.core.inbox.accept(self.message(text, who, **more))

    async def accepted(self, text: str, who: User | None = None, **more: Any) -> Accepted:
        """Hand a message in that becomes a turn."""
        acceptance = await self.say(text, who, **more)
        assert isinstance(acceptance, Accepted), acceptance
        return acceptance

    async def ask(self, text: str, who: User | None = None, **more: Any) -> Final:
        """Hand a message in and wait for its end."""
        return await self.final(await self.accepted(text, who, **more))

    async def final(self, accepted: Accepted, after: EventId = START) -> Final:
        """Wait for the end of a turn."""
        events = await self.listen(accepted.tenant_id, accepted.turn_id, after)
        data = json.loads(events[-1].data)
        return Final(turn_id=accepted.turn_id, events=tuple(events), **data)

    async def listen(
        self, tenant_id: str, turn_id: str, after: EventId = START
    ) -> list[StreamEvent]:
        """Every event of a turn after a position, to its end."""
        async with (
            asyncio.timeout(PATIENCE_S),
            aclosing(self.core.streams.listen(tenant_id, turn_id, after)) as stream,
        ):
            return [event async for event in stream]

    async def rows(self, sql: str, **params: Any) -> list[tuple[Any, ...]]:
        """Read the database."""
        return await _rows(self.core.storage.db, sql, params)

    async def write(self, sql: str, **params: Any) -> None:
        """Change the database behind the core's back."""

        def work(conn: sa.Connection) -> None:
            conn.execute(sa.text(sql), params)

        await self.core.storage.db.transaction(work)

    async def dump(self) -> str:
        """Every value of every table, as one text."""
        parts: list[str] = []
        for name in metadata.tables:
            rows = await self.rows(f"SELECT * FROM {name}")
            parts.extend(" ".join(_shown(value) for value in row) for row in rows)
        return "\n".join(parts)

    async def tenant(self, name: str, role: Role = Role.ADMIN) -> User:
        """A new tenant's only user."""
        tenant: Tenant = await self.core.storage.people.add_tenant(name)
        return await self.user(tenant.id, f"{name}@example.com", role)

    async def user(self, tenant_id: str, email: str, role: Role = Role.OPERATOR) -> User:
        """A new user of a tenant."""
        added = await self.core.storage.people.add_user(
            tenant_id, email=email, name=email.partition("@")[0], role=role
        )
        assert isinstance(added, User), added
        return added

    async def until(self, sql: str, expected: object = 1, **params: Any) -> None:
        """Wait until the first column of the first row has this value."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                rows = await self.rows(sql, **params)
                if rows and rows[0][0] == expected:
                    return
                await asyncio.sleep(0.02)

    async def settled(self) -> None:
        """Wait until nothing is open, then check what must hold after any history."""
        await self.until("SELECT COUNT(*) FROM turns WHERE status <> 'done'", 0)
        await self.until("SELECT COUNT(*) FROM conversations WHERE lease_owner IS NOT NULL", 0)
        none = {
            "a turn without outcome": "SELECT id FROM turns WHERE outcome IS NULL",
            "an unsettled model call": "SELECT id FROM model_calls WHERE state = 'reserved'",
            "a cursor that is not at the end": (
                "SELECT id FROM conversations WHERE done_seq <> last_seq"
            ),
            "a gap in the order": (
                "SELECT c.id FROM conversations c WHERE c.last_seq <>"
                " (SELECT COUNT(*) FROM turns t WHERE t.conversation_id = c.id)"
            ),
        }
        for what, sql in none.items():
            assert await self.rows(sql) == [], what
        assert await self.core.storage.audit.verify() == {}

    async def crash(self) -> None:
        """Die like a process that was killed: nothing more is written."""
        self.faults.dead = self.crashed = True
        for _ in range(50):
            tasks = [running.task for running in self.core.scheduler._running.values()]
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=0.1)
        raise AssertionError("a turn outlives its cancellation")


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until a condition of this process holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # what is waited for is not ours to signal
            await asyncio.sleep(0.005)


def _shown(value: object) -> str:
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("latin-1")
    return str(value)


async def _rows(db: Database, sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    def work(conn: sa.Connection) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in conn.execute(sa.text(sql), params)]

    return await db.read(work)


# -- where it stands ------------------------------------------------------------------------


@dataclass
class Site:
    """A database with one installation in it."""

    environment: dict[str, str]
    server: PostgresServer | None

    @property
    def postgres(self) -> bool:
        """Whether several processes may share it."""
        return self.server is not None

    def settings(self, **more: str) -> Settings:
        """What a process on this site reads from its environment."""
        return Settings.from_environment({**self.environment, **more}, None)

    @asynccontextmanager
    async def open(
        self,
        engine: ScriptedEngine | None = None,
        *,
        tools: Sequence[Tool] = (),
        sink: ReplySink | None = None,
        sinks: Mapping[str, ReplySink] | None = None,
        sources: Mapping[str, FileSource] | None = None,
        transcriber: Transcriber | None = None,
        pace: Pace = PACE,
        slots: int = 16,
        tenant_slots: int | None = None,
        grace_s: float = 5,
        gate: ApprovalGate | None = None,
        humans: bool = False,
        run_turns: bool = True,
        cut_at: int | None = None,
        committed: bool = False,
        more: dict[str, str] | None = None,
    ) -> AsyncIterator[House]:
        """Run a core until left; leaving drains it, unless it crashed."""
        settings = self.settings(
            IT0_TURN_SLOTS=str(slots), IT0_SHUTDOWN_GRACE_S=str(grace_s), **(more or {})
        )
        engine = engine or ScriptedEngine([Say("Fine.")])
        parts = app.Parts(
            engines={engine.name: engine},
            tools=tuple(tools),
            sinks={**({} if sink is None else {"chat": sink}), **(sinks or {})},
            sources=sources or {},
            transcriber=transcriber or NoTranscriber(),
            gate=None if humans else gate or NoApprovals(),
            pace=pace,
            tenant_slots=tenant_slots,
        )
        async with app.open_storage(settings) as storage:
            admin = await storage.people.install(
                tenant_name="My team", admin_email=settings.admin_email
            )
            faults = Faults(storage.db, cut_at=cut_at, committed=committed)
            faults.install()
            async with app.open_core(settings, storage, parts, run_turns=run_turns) as core:
                house = House(core, admin, faults, engine)
                yield house
                if faults.dead and not house.crashed:
                    await house.crash()


def sqlite_site(directory: Path) -> Site:
    """An empty SQLite site."""
    environment = {
        "IT0_DATA_DIR": str(directory),
        "IT0_SECRET_KEY": SECRET_KEY,
        "IT0_BILLING": "off",
    }
    return Site(environment, None)


def postgres_site(directory: Path, server: PostgresServer, url: str) -> Site:
    """A site on an existing PostgreSQL database."""
    environment = {
        "IT0_DATA_DIR": str(directory),
        "IT0_SECRET_KEY": SECRET_KEY,
        "IT0_BILLING": "off",
        "IT0_DATABASE_URL": url,
    }
    return Site(environment, server)


async def make_template(site: Site) -> None:
    """Migrate and install, once; tests get copies."""
    async with app.open_storage(site.settings()) as storage:
        await storage.people.install(tenant_name="My team", admin_email="admin@localhost")


def copy_sqlite(template: Path, directory: Path) -> Site:
    """A site that begins as a copy of the template."""
    directory.mkdir(parents=True)
    shutil.copy(template / "it0.db", directory / "it0.db")
    return sqlite_site(directory)


# -- tools ----------------------------------------------------------------------------------


@dataclass
class Probe:
    """A tool of a test: counts its runs, and can be held in the middle of one."""

    name: str = "probe"
    level: Level = Level.L0
    mutates: bool = False
    output: str = "probed"
    timeout_s: float = 30.0
    error: Exception | None = None
    params: tuple[Param, ...] = ()
    reasons: tuple[str, ...] = ()
    critical: bool = False
    untrusted: bool = False
    runs: list[tuple[str, Arguments]] = field(default_factory=list)
    """The tenant and the arguments of each run."""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event | None = None

    def tool(self) -> Tool:
        """As the door wants it."""

        async def assess(_context: ToolContext, _arguments: Arguments) -> Assessment:
            return Assessment(level=self.level, reasons=self.reasons, critical=self.critical)

        return Tool(
            spec=ToolSpec(name=self.name, description="A test's tool.", params=self.params),
            assess=assess,
            run=self._run,
            mutates=self.mutates,
            timeout_s=self.timeout_s,
            untrusted=self.untrusted,
        )

    async def _run(self, context: ToolContext, arguments: Arguments) -> ToolResult:
        self.runs.append((context.tenant_id, arguments))
        self.begun.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        return ToolResult(output=self.output)
