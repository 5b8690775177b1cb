"""What the engines on Claude Code have in common: a turn gets a process, and keeps it or not.

The conversation's own process is taken when it waits and holds exactly the turns before;
else a new one resumes the engine's own session, or one that is rebuilt from our steps. The
provider is reached through the gateway, or with the operator's own login. A turn that ends
early interrupts the process; one that does not come to rest is ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import structlog

from core.agent_config import Billing
from core.engines.agent_calls import ModelCalls, ReportedCalls, RoutedCalls
from core.engines.agent_history import NOTE, asked, holds_last_answer, told, write_session
from core.engines.agent_pool import AgentPool, PoolLimits
from core.engines.agent_said import Ended
from core.engines.agent_tools import ToolDesk
from core.engines.agent_turn import AgentTurn, Child
from core.engines.claude_endings import ending_of
from core.engines.claude_faults import CRASHED, NO_LOGIN, UNUSABLE
from core.engines.cli_home import Home, Homes
from core.engines.engine import EngineRequest
from core.engines.gateway import Gateway, Route, RouteTurn
from core.engines.toolcalls import run_tools, unanswered
from core.errors import EngineFailure
from core.events import TurnEvent
from core.steps import SteerStep

Block = dict[str, Any]
_log = structlog.get_logger()
SETTLE_S = 2.0
"""How long an interrupted process may take to come to rest."""


class Process(Child, Protocol):
    """A running Claude Code with one session."""

    @property
    def alive(self) -> bool:
        """Whether it still runs."""

    async def interrupt(self) -> None:
        """Ask it to stop answering; it says ``Ended`` when it has."""

    async def close(self) -> None:
        """End it, at once, with everything it started. Never raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a new process is started with."""

    home: Home
    environment: dict[str, str] = field(repr=False)
    session_id: str
    resume: bool
    """The session exists on disk; else it begins under this id."""
    model: str
    system: str
    desk: ToolDesk


Launch = Callable[[Start], Awaitable[Process]]
"""Starts a process and waits until it can be asked. Raises OSError or ``EngineFailure``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """How an engine on Claude Code runs its processes."""

    name: str
    launch: Launch
    keeps: bool
    """Whether a process waits for the conversation's next message."""
    limits: PoolLimits = field(default_factory=PoolLimits)
    login: str | None = field(default=None, repr=False)
    """The operator's own login (an OAuth token), for ``Billing.SUBSCRIPTION``."""


@dataclass(slots=True, kw_only=True)
class _Member:
    """A process with what belongs to it."""

    process: Process
    desk: ToolDesk
    route: Route | None
    place: Path
    """Where it keeps files; nobody outside needs to know."""

    @property
    def alive(self) -> bool:
        return self.process.alive

    async def close(self) -> None:
        if self.route is not None:
            await self.route.end()
            self.route.close()
        await self.process.close()


@dataclass(slots=True, kw_only=True)
class _Ready:
    """A process that can be asked, and what to ask."""

    member: _Member
    prompt: Sequence[Block]
    fingerprint: str
    waited: bool = False
    """It is the conversation's own, from an earlier turn."""


class AgentEngine:
    """Implements ``Engine`` on processes of Claude Code. One instance serves all turns."""

    has_model = True

    def __init__(self, settings: AgentSettings, homes: Homes, gateway: Gateway) -> None:
        """Nothing is started before the first turn."""
        self.name = settings.name
        self._settings = settings
        self._homes = homes
        self._gateway = gateway
        self._pool: AgentPool[_Member] = AgentPool(settings.limits, settings.name)
        self._preparing = asyncio.Lock()
        self._prepared = False

    async def aclose(self) -> None:
        """End every process."""
        await self._pool.aclose()

    async def forget(self, conversation_id: str) -> None:
        """End the process that waits for this conversation."""
        await self._pool.forget(conversation_id)

    @property
    def live(self) -> int:
        """Processes, idle ones included."""
        return self._pool.live

    async def run(self, request: EngineRequest) -> AsyncGenerator[TurnEvent, None]:
        """Answer the turn."""
        steps = list(request.steps)
        if steps:  # an earlier attempt was cut off: first what it left open
            async with aclosing(run_tools(request.tools, unanswered(steps), steps)) as running:
                async for done in running:
                    yield done
            ending = ending_of(steps)
            if ending is not None:
                yield ending
                return
            steps += [SteerStep(text=text) for text in await request.steering.take()]
            request = replace(request, steps=tuple(steps))
        ready = await self._ready(request)
        begun = False
        try:
            async with aclosing(self._play(request, ready)) as events:
                async for event in events:
                    begun = True
                    yield event
        except EngineFailure as failure:
            if begun or not ready.waited or failure.reason != CRASHED.reason:
                raise
        else:
            return
        # It had died while it waited, which nobody sees before it is asked.
        async with aclosing(self._play(request, await self._ready(request))) as events:
            async for event in events:
                yield event

    async def _play(self, request: EngineRequest, ready: _Ready) -> AsyncGenerator[TurnEvent, None]:
        """Have this process answer the turn, and put it back."""
        turn = AgentTurn(
            request=request,
            child=ready.member.process,
            desk=ready.member.desk,
            calls=self._calls(request, ready.member.route),
            engine=self.name,
        )
        cut = True
        try:
            self._begin(request, ready.member, turn)
            async with aclosing(turn.run(ready.prompt)) as events:
                async for event in events:
                    yield event
            cut = False
        except EngineFailure:
            cut = False
            raise
        finally:
            # Not to be cut short: a process without an owner would go on spending.
            await asyncio.shield(self._put_back(request, ready, settled=turn.settled, cut=cut))

    # -- a process for a turn -------------------------------------------------------------

    async def _ready(self, request: EngineRequest) -> _Ready:
        fingerprint = _fingerprint(request)
        if not (request.steps or request.ephemeral) and request.attempt == 1:
            member = await self._pool.reuse(
                request.conversation_id, fingerprint, request.previous_turn_id
            )
            if member is not None:
                return _Ready(
                    member=member, prompt=asked(request), fingerprint=fingerprint, waited=True
                )
        elif not request.ephemeral:
            await self._pool.forget(request.conversation_id)
        await self._pool.room()
        member = None
        try:
            member, prompt = await self._start(request)
        except BaseException as error:
            await self._pool.drop(None)
            if isinstance(error, OSError):
                _log.exception("agent.not_started", engine=self.name)
                raise UNUSABLE.failure() from error
            raise
        return _Ready(member=member, prompt=prompt, fingerprint=fingerprint)

    async def _start(self, request: EngineRequest) -> tuple[_Member, Sequence[Block]]:
        await self._prepare()
        home = await asyncio.to_thread(self._homes.of, request.tenant_id, request.conversation_id)
        token = await self._native(request, home)
        if token:
            try:
                return await self._launch(request, home, token, resume=True), asked(request)
            except EngineFailure:
                _log.warning("agent.session_gone", engine=self.name)
        session_id = str(uuid.uuid4())
        conversation = told(request)
        if conversation.past:
            await asyncio.to_thread(
                write_session, home, session_id, conversation.past, request.model
            )
        member = await self._launch(request, home, session_id, resume=bool(conversation.past))
        return member, conversation.prompt

    async def _native(self, request: EngineRequest, home: Home) -> str:
        """The session that can be taken up again, as it holds just what was before; or empty."""
        session = request.session
        if session is None or session.engine != self.name or request.attempt != 1:
            return ""
        if request.steps or request.ephemeral:
            return ""
        try:
            path = home.transcript(session.token)
        except ValueError:  # not the id of a session: the row is damaged
            return ""
        held = await asyncio.to_thread(holds_last_answer, path, request)
        return session.token if held else ""

    async def _prepare(self) -> None:
        """Once: the directories, the launcher, and a look whether the CLI starts."""
        async with self._preparing:
            if not self._prepared:
                await asyncio.to_thread(self._homes.prepare)
                self._prepared = True

    async def _launch(
        self, request: EngineRequest, home: Home, session_id: str, *, resume: bool
    ) -> _Member:
        desk = ToolDesk(specs=request.tools.specs())
        route, environment = await self._way(request, home)
        start = Start(
            home=home,
            environment=environment,
            session_id=session_id,
            resume=resume,
            model=request.model,
            system=request.system,
            desk=desk,
        )
        try:
            process = await self._settings.launch(start)
        except BaseException:
            if route is not None:
                route.close()
            raise
        return _Member(process=process, desk=desk, route=route, place=home.place)

    async def _way(self, request: EngineRequest, home: Home) -> tuple[Route | None, dict[str, str]]:
        """How the process reaches the provider: behind the gateway, or with the login."""
        if request.credentials.billing is Billing.SUBSCRIPTION:
            if self._settings.login is None:
                raise NO_LOGIN.failure()
            return None, home.environment(
                base_url="",
                api_key=None,
                oauth_token=self._settings.login,
                max_output_tokens=request.max_output_tokens,
            )
        await self._gateway.start()
        route = self._gateway.open()
        return route, home.environment(
            base_url=route.url,
            api_key=route.secret,
            oauth_token=None,
            max_output_tokens=request.max_output_tokens,
        )

    # -- around the turn ------------------------------------------------------------------

    def _begin(self, request: EngineRequest, member: _Member, turn: AgentTurn) -> None:
        if member.route is None:
            return
        member.route.begin(
            RouteTurn(
                meter=request.meter,
                engine=self.name,
                model=request.model,
                max_output_tokens=request.max_output_tokens,
                api_key=request.credentials.api_key,
                tell=turn.tell,
                hidden=(NOTE, f"[Image: source: {member.place}"),
            )
        )

    def _calls(self, request: EngineRequest, route: Route | None) -> ModelCalls:
        if route is not None:
            return RoutedCalls(route)
        history = sum(len(exchange.user_text) + len(exchange.reply) for exchange in request.history)
        return ReportedCalls(
            meter=request.meter,
            engine=self.name,
            model=request.model,
            estimated_input=(len(request.system) + len(request.text) + history) // 3 + 1_000,
            max_output=request.max_output_tokens,
        )

    async def _put_back(
        self, request: EngineRequest, ready: _Ready, *, settled: bool, cut: bool
    ) -> None:
        """Let the process wait for the next message, or end it."""
        member = ready.member
        rested = settled or (cut and await _rest(member.process))
        if member.route is not None:
            await member.route.end()
        if not (rested and self._settings.keeps) or request.ephemeral:
            await self._pool.drop(member)
            return
        await self._pool.keep(
            request.conversation_id,
            member,
            fingerprint=ready.fingerprint,
            turn_id=request.turn_id,
        )


async def _rest(process: Process) -> bool:
    """Interrupt it; whether it came to rest in time, so that it can be asked again."""
    if not process.alive:
        return False
    with suppress(TimeoutError, OSError, EngineFailure):
        async with asyncio.timeout(SETTLE_S), aclosing(process.said()) as words:
            await process.interrupt()
            async for said in words:
                if isinstance(said, Ended):
                    return True
    return False


def _fingerprint(request: EngineRequest) -> str:
    """What a process was started with and cannot change: another of it needs another process."""
    made_of = [
        request.tenant_id,
        request.user_id,
        request.model,
        request.system,
        request.max_output_tokens,
        request.credentials.billing,
        [[spec.name, spec.description, spec.json_schema()] for spec in request.tools.specs()],
    ]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
