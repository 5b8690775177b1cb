"""What the engines on Claude Code have in common: a turn gets a process, and keeps it or not.

The conversation's own process is taken when it waits and holds exactly the turns before;
else a new one resumes the engine's own session, or one that is rebuilt from our steps. The
provider is reached through the gateway, or with the operator's own login. A process whose
turn did not end by itself is ended with it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import structlog

from core.agent_config import Billing
from core.engines.agent_calls import ModelCalls, ReportedCalls, RoutedCalls
from core.engines.agent_history import NOTE, asked, holds_last_answer, told, write_session
from core.engines.agent_pool import AgentPool
from core.engines.agent_process import AgentSettings, Block, Member, Start
from core.engines.agent_tools import ToolDesk
from core.engines.agent_turn import AgentTurn
from core.engines.claude_endings import ending_of
from core.engines.claude_faults import CRASHED, NO_LOGIN, SESSION_FULL, UNUSABLE
from core.engines.claude_files import read_ahead
from core.engines.cli_home import Home, Homes
from core.engines.engine import EngineRequest
from core.engines.gateway import Gateway, Route, RouteTurn
from core.engines.toolcalls import run_tools, unanswered
from core.errors import EngineFailure
from core.events import TurnEvent
from core.steps import ModelStep, SteerStep, Step

_log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class _Ready:
    """A process that can be asked, and what to ask."""

    member: Member
    prompt: Sequence[Block]
    fingerprint: str
    waited: bool = False
    """It is the conversation's own, from an earlier turn."""


class AgentEngine:
    """Implements ``Engine`` on processes of Claude Code. One instance serves all turns."""

    has_model = True

    def __init__(
        self,
        settings: AgentSettings,
        homes: Homes,
        gateway: Gateway,
        pool: AgentPool[Member] | None = None,
    ) -> None:
        """Nothing is started before the first turn. Engines may share a pool, and its cap."""
        self.name = settings.name
        self._settings = settings
        self._homes = homes
        self._gateway = gateway
        self._pool = pool or AgentPool(settings.limits, settings.name)
        self._preparing = asyncio.Lock()
        self._prepared = False

    async def aclose(self) -> None:
        """End every process."""
        await self._pool.aclose()

    async def forget(self, conversation_id: str) -> None:
        """End the process that waits for this conversation."""
        await self._pool.forget(conversation_id)

    async def ended(self) -> None:
        """Wait until every process that is to end has ended."""
        await self._pool.ended()

    @property
    def live(self) -> int:
        """Processes, idle ones included."""
        return self._pool.live

    async def run(self, request: EngineRequest) -> AsyncGenerator[TurnEvent, None]:
        """Answer the turn."""
        await read_ahead(request)
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
        for again in (True, False):
            ready = await self._ready(request)
            turn = self._turn(request, ready)
            try:
                async with aclosing(self._play(request, ready, turn)) as events:
                    async for event in events:
                        yield event
            except EngineFailure as failure:
                if not again or not _curable(failure, ready, turn):
                    raise
                # Its steps are the truth: another process goes on from them.
                request = replace(request, steps=turn.steps, session=None)
            else:
                return

    def _turn(self, request: EngineRequest, ready: _Ready) -> AgentTurn:
        member = ready.member
        return AgentTurn(
            request=request,
            child=member.process,
            desk=member.desk,
            calls=self._calls(request, member.route),
            engine=self.name,
            halt=member.halt,
            working=member.working,
        )

    async def _play(
        self, request: EngineRequest, ready: _Ready, turn: AgentTurn
    ) -> AsyncGenerator[TurnEvent, None]:
        """Have this process answer the turn, and put it back."""
        try:
            self._begin(request, ready.member, turn)
            async with aclosing(turn.run(ready.prompt)) as events:
                async for event in events:
                    yield event
        finally:
            # Not to be cut short: a process without an owner would go on spending.
            await asyncio.shield(self._put_back(request, ready, turn))

    # -- a process for a turn -------------------------------------------------------------

    async def _ready(self, request: EngineRequest) -> _Ready:
        fingerprint = _fingerprint(self.name, request)
        if _goes_on(request):
            # Built first: nothing may come between a process and whoever puts it back.
            blocks = await asyncio.to_thread(asked, request)
            member = await self._pool.reuse(request.conversation_id, fingerprint, _mark_of(request))
            if member is not None:
                return _Ready(member=member, prompt=blocks, fingerprint=fingerprint, waited=True)
        else:
            await self._pool.forget(request.conversation_id)
        await self._pool.room()
        try:
            member, prompt = await self._start(request)
        except BaseException as error:
            await self._pool.drop(None)
            if isinstance(error, OSError):
                _log.exception("agent.not_started", engine=self.name)
                raise UNUSABLE.failure() from error
            raise
        return _Ready(member=member, prompt=prompt, fingerprint=fingerprint)

    async def _start(self, request: EngineRequest) -> tuple[Member, Sequence[Block]]:
        await self._prepare()
        home = await asyncio.to_thread(self._homes.of, request.tenant_id, request.conversation_id)
        await self._pool.left(request.conversation_id)
        token = await self._native(request, home)
        await asyncio.to_thread(home.tidy, token)
        if token:
            blocks = await asyncio.to_thread(asked, request)
            try:
                return await self._launch(request, home, token, resume=True), blocks
            except EngineFailure:
                _log.warning("agent.session_gone", engine=self.name)
        session_id = str(uuid.uuid4())
        conversation = await asyncio.to_thread(told, request)
        if conversation.past:
            await asyncio.to_thread(
                write_session, home, session_id, conversation.past, request.model
            )
        member = await self._launch(request, home, session_id, resume=bool(conversation.past))
        return member, conversation.prompt

    async def _native(self, request: EngineRequest, home: Home) -> str:
        """The session that can be taken up again, as it holds just what was before; or empty."""
        session = request.session
        if session is None or session.engine != self.name or not _goes_on(request):
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
                await asyncio.to_thread(self._settings.imports)
                await asyncio.to_thread(self._homes.prepare)
                self._prepared = True

    async def _launch(
        self, request: EngineRequest, home: Home, session_id: str, *, resume: bool
    ) -> Member:
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
        return Member(process=process, desk=desk, route=route, place=home.place)

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

    def _begin(self, request: EngineRequest, member: Member, turn: AgentTurn) -> None:
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

    async def _put_back(self, request: EngineRequest, ready: _Ready, turn: AgentTurn) -> None:
        """Let the process wait for the next message, if it holds what was committed, or end it.

        One whose turn was cut short holds something else (a call without its result, words
        that nobody saw), and is never asked again.
        """
        member = ready.member
        if member.route is not None:
            await member.route.end()
        if not (turn.settled and self._settings.keeps) or request.ephemeral:
            await self._pool.drop(member, request.conversation_id)
            return
        await self._pool.keep(
            request.conversation_id,
            member,
            fingerprint=ready.fingerprint,
            mark=_mark(request.turn_id, turn.steps),
        )


def _goes_on(request: EngineRequest) -> bool:
    """Whether an engine's own memory may serve: a first attempt, and part of the conversation."""
    return request.attempt == 1 and not (request.steps or request.ephemeral)


def _curable(failure: EngineFailure, ready: _Ready, turn: AgentTurn) -> bool:
    """Whether a new process may do better: this one had died, or believes itself full."""
    if failure.reason == SESSION_FULL.reason:
        return True
    return ready.waited and not turn.heard and failure.reason == CRASHED.reason


def _mark(turn_id: str, steps: Sequence[Step]) -> str:
    """What tells an answer from another attempt's at the same turn: its last model call."""
    calls = [step.call_id for step in steps if isinstance(step, ModelStep)]
    return f"{turn_id}/{calls[-1] if calls else ''}"


def _mark_of(request: EngineRequest) -> str:
    """What a process must hold to be asked: everything up to the newest answer."""
    steps = request.history[-1].steps if request.history else ()
    return _mark(request.previous_turn_id, steps)


def _fingerprint(name: str, request: EngineRequest) -> str:
    """What a process was started with and cannot change: another of it needs another process."""
    made_of = [
        name,
        request.tenant_id,
        request.user_id,
        request.model,
        request.system,
        request.max_output_tokens,
        request.credentials.billing,
        [[spec.name, spec.description, spec.json_schema()] for spec in request.tools.specs()],
    ]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
