"""Whether IT0 is well, as a team's admins see it over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from aiohttp import web
from pydantic import BaseModel

from bots.web.auth import Authenticator, needs
from bots.web.health import Liveness
from bots.web.languages import language_for
from bots.web.openapi import operation
from bots.web.problems import Problem
from core.engine_state import Answers, EnginesNow, EngineStates
from core.team_queue import TeamQueue, TeamQueues
from core.tenants import Role
from core.words import Sentence, Words, sentence


class PlatformInfo(BaseModel):
    """A chat platform."""

    name: str
    configured: bool
    """Whether it has what it needs to be reached."""


class QueueInfo(BaseModel):
    """The team's turns, counted."""

    queued: int
    running: int
    waiting: int
    overdue: int
    undelivered: int
    oldest_s: int
    """Age of the oldest turn that is neither answered nor waits for a human, in seconds."""


class StatusInfo(BaseModel):
    """How this installation does, for this team."""

    ready: bool
    version: str
    database: str
    started_at: datetime
    platforms: list[PlatformInfo]
    queue: QueueInfo
    notices: list[str]
    """What needs somebody, as sentences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What does not change while a process runs."""

    version: str
    database: str
    """``sqlite`` or ``postgresql``."""
    started_at_ms: int
    platforms: Mapping[str, bool]
    """Those there could be, and whether each is configured."""


class StatusRoutes:
    """For admins."""

    def __init__(
        self,
        installation: Installation,
        liveness: Liveness,
        queues: TeamQueues,
        engines: EngineStates,
        auth: Authenticator,
    ) -> None:
        """Wire the ports."""
        self._installation = installation
        self._liveness = liveness
        self._queues = queues
        self._engines = engines
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [web.get("/api/v1/status", self.status, allow_head=False)]

    @operation(answer=StatusInfo, errors=(403,))
    async def status(self, request: web.Request) -> web.Response:
        """The team's queue, the platforms, and what needs somebody; for admins."""
        user = (await self._auth.caller(request)).user
        if not user.role.includes(Role.ADMIN):
            raise Problem(HTTPStatus.FORBIDDEN, "forbidden", needs(Role.ADMIN, user))
        queue = await self._queues.queue(user.tenant_id)
        words = Words(await language_for(request))
        notices = (*_of_queue(queue), *_of_engines(await self._engines.of(user.tenant_id)))
        known = self._installation
        told = StatusInfo(
            ready=self._liveness.healthy,
            version=known.version,
            database=known.database,
            started_at=datetime.fromtimestamp(known.started_at_ms / 1000, UTC),
            platforms=[
                PlatformInfo(name=name, configured=there) for name, there in known.platforms.items()
            ],
            queue=QueueInfo(
                queued=queue.queued,
                running=queue.running,
                waiting=queue.waiting,
                overdue=queue.overdue,
                undelivered=queue.undelivered,
                oldest_s=queue.oldest_ms // 1000,
            ),
            notices=[words.of(notice) for notice in notices],
        )
        return web.json_response(text=told.model_dump_json())


def _of_queue(queue: TeamQueue) -> tuple[Sentence, ...]:
    said: list[Sentence] = []
    if queue.overdue:
        said.append(
            sentence(
                "Messages that were accepted more than a minute ago and are not answered: "
                "{count}. If that does not go down, look for errors in IT0's log.",
                count=queue.overdue,
            )
        )
    if queue.lost:
        said.append(
            sentence(
                "Answers of the last day that did not reach their chat: {count}. The newest: "
                "{problem} They can be read on this page.",
                count=queue.lost,
                problem=queue.problem,
            )
        )
    return tuple(said)


def _of_engines(now: EnginesNow) -> tuple[str, ...]:
    if now.unusable:
        return (now.unusable,)
    chosen = now.team or now.default
    models = [state for state in now.engines if state.model]
    if all(state.answers is Answers.NO_KEY for state in models):
        return (
            sentence(
                "No model answers, because no key is set: set ANTHROPIC_API_KEY and restart "
                "IT0, or give the team's own key under Engines. Until then fixed routines answer."
            ),
        )
    if any(state.team_key for state in models) and chosen not in {s.name for s in models}:
        return (
            sentence(
                "Your team has a key of its own, but fixed routines answer: choose an engine with "
                "a model under Engines."
            ),
        )
    return tuple(
        sentence("{engine}: {what}", engine=state.title, what=state.sentence)
        for state in now.engines
        if state.name == chosen and state.answers is not Answers.READY
    )
