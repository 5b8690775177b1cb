"""Which engines there are and what each can do now, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from aiohttp import web
from pydantic import BaseModel

from bots.web.auth import Authenticator
from bots.web.languages import language_for
from bots.web.openapi import operation
from core.engine_state import EngineState, EngineStates
from core.words import Words


class EngineKeys(BaseModel):
    """Whose keys it could use."""

    installation: bool
    team: bool


class EngineInfo(BaseModel):
    """An engine, as the caller's team sees it; outages are those that this process met."""

    name: str
    title: str
    answers: Literal["ready", "no_key", "paused"]
    sentence: str
    until: datetime | None
    """When it is tried again."""
    model: str
    keys: EngineKeys
    default: bool


class EngineList(BaseModel):
    """All engines."""

    default: str
    """The installation's."""
    team: str | None
    """What the team chose instead."""
    engines: list[EngineInfo]


class EngineRoutes:
    """For everybody who is signed in: who asks may also name an engine."""

    def __init__(self, states: EngineStates, auth: Authenticator) -> None:
        """Wire the ports."""
        self._states = states
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [web.get("/api/v1/engines", self.engines, allow_head=False)]

    @operation(answer=EngineList)
    async def engines(self, request: web.Request) -> web.Response:
        """Each engine: whether it answers, with which model, and else why not."""
        caller = await self._auth.caller(request)
        now = await self._states.of(caller.user.tenant_id)
        words = Words(await language_for(request))
        told = EngineList(
            default=now.default,
            team=now.team,
            engines=[_info(state, words) for state in now.engines],
        )
        return web.json_response(text=told.model_dump_json())


def _info(state: EngineState, words: Words) -> EngineInfo:
    return EngineInfo(
        name=state.name,
        title=words.of(state.title),
        answers=state.answers.value,
        sentence=words.of(state.sentence),
        until=None
        if state.until_ms is None
        else datetime.fromtimestamp(state.until_ms / 1000, UTC),
        model=state.model,
        keys=EngineKeys(installation=state.installation_key, team=state.team_key),
        default=state.default,
    )
