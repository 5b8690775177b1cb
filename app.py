"""The composition root: settings become objects in one ``AsyncExitStack``; ports get wired.

Nothing here decides anything about turns; it decides who implements which port.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum

import structlog
from aiohttp import web

from assembly import Added, Team, command_ports, make_team
from assembly_billing import Billing, make_billing
from assembly_fleet import Fleet, make_fleet
from assembly_page import login_command, make_sign_in, reading_routes
from bots.web.agent_config import AgentConfigRoutes
from bots.web.health import HealthRoutes
from bots.web.pages import PageRoutes
from bots.web.server import build, listening
from bots.web.skills import SkillRoutes
from bots.web.team import TeamRoutes
from bots.web.turns import TurnRoutes
from core import telemetry
from core.approval_gate import HumanGate
from core.briefing import Briefing
from core.clock import SystemClock
from core.commands import make_commands
from core.conversations import Conversations
from core.delivery import Deliverer
from core.engines.engine import Engine
from core.gate import ApprovalGate
from core.inbox import Inbox
from core.intake import FileSource, Intake, NoTranscriber, Transcriber
from core.prompts import SystemPrompt
from core.replies import HOLD_MS
from core.scheduling import Pace, Scheduler
from core.sinks import Sinks
from core.skills import BUILT_IN, SkillLibrary
from core.streams import Streams
from core.tenants import User
from core.toolrunner import ToolRunner
from core.tools import Tool
from core.turn import TurnRunner
from platforms import Platforms, open_platforms
from settings import Settings
from storage.access import SqlGate
from storage.conversations import SqlConversations
from storage.database import Database
from storage.deliveries import SqlDeliveries
from storage.inbox import SqlInbox
from storage.intake import SqlIntake
from storage.leases import SqlLeases
from storage.operations import SqlOperations
from storage.streams import SqlStreamLog
from storage.turnlog import SqlTurnLog
from stores import Storage, open_storage

__all__ = [
    "VERSION",
    "Core",
    "Parts",
    "Role",
    "Running",
    "Storage",
    "build_web",
    "open_core",
    "open_storage",
    "running",
    "serve",
]

_log = structlog.get_logger()
VERSION = "0.1.0"
HOUSEKEEPING_S = 600
HOMES_IDLE_S = 7 * 86_400
"""After it a conversation is rebuilt from its steps anyway."""


class Role(StrEnum):
    """What a process does."""

    UP = "up"
    """Everything, in one process."""
    SLACK = "slack"
    """Listens to Slack (Socket Mode); the turns run in workers."""
    TELEGRAM = "telegram"
    """Listens to Telegram (long polling, or the webhook's registration); as above."""
    SERVE = "serve"
    """The HTTP edge; its own turns run here."""
    WORKER = "worker"
    """Turns alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What an installation may add or replace: platforms, tools, engines, the pace."""

    sinks: Sinks = field(default_factory=dict)
    tools: tuple[Tool, ...] = ()
    engines: Mapping[str, Engine] = field(default_factory=dict)
    gate: ApprovalGate | None = None
    """What decides about risky calls; None: humans do (``core.approval_gate``)."""
    pace: Pace = field(default_factory=Pace)
    tenant_slots: int | None = None
    """Most turns of one tenant at once in this process; default three quarters of all slots."""
    sources: Mapping[str, FileSource] = field(default_factory=dict)
    """Where the files of each platform's messages are."""
    transcriber: Transcriber = field(default_factory=NoTranscriber)


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """A running core: accepts messages, runs turns, serves streams."""

    settings: Settings
    storage: Storage
    inbox: Inbox
    scheduler: Scheduler
    streams: Streams
    conversations: SqlConversations
    team: Team
    billing: Billing
    fleet: Fleet


@asynccontextmanager
async def open_core(
    settings: Settings,
    storage: Storage,
    parts: Parts | None = None,
    *,
    run_turns: bool = True,
    billing: Billing | None = None,
) -> AsyncGenerator[Core]:
    """Build the core and run its loops; on leaving, drain what runs."""
    billing = billing or await make_billing(settings, storage)
    async with AsyncExitStack() as stack:
        core = await _build(
            settings, storage, parts or Parts(), billing, stack, run_turns=run_turns
        )
        await core.scheduler.begin()
        loops = [
            asyncio.create_task(core.scheduler.run()),
            asyncio.create_task(_keep_house(storage.operations, core)),
            asyncio.create_task(billing.loops()),
            asyncio.create_task(core.fleet.loops(core.scheduler.wake)),
        ]
        if not storage.db.exclusive:
            loops.append(asyncio.create_task(_listen(storage.db, core.scheduler)))
        try:
            yield core
        finally:
            await core.inbox.drain()
            await core.scheduler.drain(settings.tuning.shutdown_grace_s)
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)


async def _build(
    settings: Settings,
    storage: Storage,
    parts: Parts,
    billing: Billing,
    stack: AsyncExitStack,
    *,
    run_turns: bool,
) -> Core:
    db = storage.db
    skills = await asyncio.to_thread(SkillLibrary.load, BUILT_IN, settings.data_dir / "skills")
    for problem in skills.problems:
        _log.warning("skill.skipped", problem=problem)
    deliveries, conversations = SqlDeliveries(db), SqlConversations(db)
    sinks = parts.sinks
    slots = settings.tuning.turn_slots
    scheduler = Scheduler(
        leases=SqlLeases(db),
        sweep=Deliverer(due=deliveries, log=deliveries, parts=deliveries, sinks=sinks).sweep,
        slots=slots if run_turns else 0,
        tenant_slots=parts.tenant_slots or max(1, slots * 3 // 4),
        pace=parts.pace,
        exclusive=db.exclusive,
    )
    audit_key = storage.keys.derive("audit")
    log = SqlTurnLog(db, audit_key, scheduler.worker)
    streams = Streams(SqlStreamLog(db))
    fleet = await make_fleet(settings, storage, stack)
    added = Added(parts.engines, (*fleet.tools(), *parts.tools))
    team = make_team(settings, storage, skills, added, stack)
    conversing = Conversations(conversations)
    gate = parts.gate or HumanGate(fleet.approvals)
    toolrunner = ToolRunner(team.tools, log, gate)
    scheduler.runner = TurnRunner(
        log=log,
        delivery=deliveries,
        parts=deliveries,
        conversations=conversing,
        intake=Intake(sources=parts.sources, log=SqlIntake(db), transcriber=parts.transcriber),
        briefing=Briefing(
            log=log,
            conversations=conversing,
            agents=team.agents,
            engines=team.engines,
            tools=toolrunner,
            system_prompt=SystemPrompt(team.skills, readable=True),
            max_output_tokens=settings.tuning.max_output_tokens,
            services=billing.services,
        ),
        commands=make_commands(
            command_ports(storage, team),
            (*fleet.topics(), *billing.topics(), login_command(settings, storage)),
        ),
        tools=toolrunner,
        meter=billing.meter,
        streams=streams,
        sinks=sinks,
        hold=lambda to: deliveries.renew(to, scheduler.worker, HOLD_MS),
        clock=SystemClock(),
        still_leased=scheduler.still_leased,
        owed=billing.owed,
    )
    return Core(
        settings=settings,
        storage=storage,
        inbox=Inbox(SqlInbox(db, audit_key), SqlGate(db, audit_key), scheduler),
        scheduler=scheduler,
        streams=streams,
        conversations=conversations,
        team=team,
        billing=billing,
        fleet=fleet,
    )


async def _keep_house(operations: SqlOperations, core: Core) -> None:
    while True:
        await asyncio.sleep(HOUSEKEEPING_S)
        try:
            forgotten = await operations.housekeep()
            await sweep_homes(operations, core.team)
            await core.billing.housekeep()
            await core.fleet.housekeep()
        except Exception:  # noqa: BLE001  # a background loop must outlive every bug
            telemetry.LOOP_ERRORS.labels("housekeeping").inc()
            _log.exception("housekeeping.failed")
        else:
            _log.info("housekeeping.done", batches=forgotten)


async def sweep_homes(operations: SqlOperations, team: Team) -> int:
    """Erase what Claude Code keeps of deleted conversations, and of those long unused."""
    homes = team.homes
    held = await asyncio.to_thread(homes.held)
    gone = await operations.deleted_among([conversation for _, conversation in held])
    for conversation in gone:
        await team.pool.forget(conversation)
    await team.pool.ended()
    return await asyncio.to_thread(
        homes.sweep, lambda _tenant, conversation: conversation not in gone, HOMES_IDLE_S
    )


async def _listen(db: Database, scheduler: Scheduler) -> None:
    """Hear from other processes of queued turns and of turns that are to stop."""
    from storage.postgres import PostgresDatabase  # noqa: PLC0415  # loaded already

    if not isinstance(db, PostgresDatabase):
        return
    with suppress(asyncio.CancelledError):
        await db.listen(
            {
                "turns": lambda _payload: scheduler.wake(),
                "stop": lambda turn_id: scheduler.stop((turn_id,)),
            }
        )


# -- the HTTP edge ------------------------------------------------------------------------


def build_web(core: Core, hooks: Sequence[web.RouteDef] = ()) -> web.Application:
    """The API, its streams, health and metrics; ``hooks`` are the platforms' own routes."""
    sign_in = make_sign_in(core.settings, core.storage, version=VERSION)
    auth = sign_in.auth
    return build(
        [
            *sign_in.routes,
            *TurnRoutes(core.inbox, core.streams, auth).routes(),
            *TeamRoutes(core.conversations, auth).routes(),
            *reading_routes(
                core.settings, core.storage, core.team.states, core.scheduler, auth, VERSION
            ),
            *AgentConfigRoutes(core.team.agents, core.team.rules, auth).routes(),
            *SkillRoutes(core.team.skills, auth).routes(),
            *core.fleet.routes(auth),
            *core.billing.routes(auth),
            *HealthRoutes(core.storage.operations, core.scheduler, sign_in.identity).routes(),
        ],
        hooks=[*hooks, *PageRoutes().routes()],
        prepare=[sign_in.browser.refresh],
        version=VERSION,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A process that serves."""

    core: Core
    url: str | None
    admin: User
    platforms: tuple[str, ...] = ()
    """The chat platforms that are configured."""


_LISTENS = {
    Role.UP: ("slack", "telegram"),
    Role.SLACK: ("slack",),
    Role.TELEGRAM: ("telegram",),
}


def _with_platforms(parts: Parts, platforms: Platforms) -> Parts:
    return replace(
        parts,
        sinks={**platforms.sinks, **parts.sinks},
        sources={**platforms.sources, **parts.sources},
    )


@asynccontextmanager
async def running(
    settings: Settings, role: Role, parts: Parts | None = None, *, port: int | None = None
) -> AsyncGenerator[Running]:
    """Run one role until left. Raises ``It0Error`` or ``CannotListen`` with a sentence."""
    async with AsyncExitStack() as stack:
        storage = await stack.enter_async_context(open_storage(settings, migrate=role is Role.UP))
        admin = await storage.people.install(
            tenant_name="My team", admin_email=settings.admin_email
        )
        billing = await make_billing(settings, storage)
        summary = None if billing.accounts is None else billing.accounts.summary
        platforms = await stack.enter_async_context(
            open_platforms(settings, storage.db, storage.keys, summary)
        )
        parts = _with_platforms(parts or Parts(), platforms)
        listens = _LISTENS.get(role, ())
        core = await stack.enter_async_context(
            open_core(
                settings,
                storage,
                parts,
                run_turns=not listens or role is Role.UP,
                billing=billing,
            )
        )
        url = None
        if role in {Role.UP, Role.SERVE}:
            chosen = settings.http.port if port is None else port
            application = build_web(core, platforms.routes(core.inbox))
            url = await stack.enter_async_context(
                listening(application, settings.http.host, chosen)
            )
            if storage.lock is not None:
                storage.lock.announce(url)
        await stack.enter_async_context(platforms.listening(core.inbox, listens))
        try:
            yield Running(core=core, url=url, admin=admin, platforms=tuple(platforms.members))
        finally:
            # Before the HTTP edge closes, so that whoever listens hears the end of their turn.
            await core.scheduler.drain(settings.tuning.shutdown_grace_s)


async def serve(
    settings: Settings,
    role: Role,
    ready: Callable[[Running], Awaitable[None]],
    parts: Parts | None = None,
) -> None:
    """Run a role until SIGTERM or SIGINT, then finish or hand back what runs."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with running(settings, role, parts) as process:
        await ready(process)
        _log.info(
            "ready", role=str(role), url=process.url, engine=process.core.team.engines.default
        )
        await stopped.wait()
        _log.info("stopping")
