"""A team's skills over HTTP: everybody reads them, admins change them."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Protocol

from aiohttp import web
from pydantic import BaseModel, Field

from bots.web.auth import Authenticator, require_admin
from bots.web.bodies import Body, Integer
from bots.web.openapi import operation
from bots.web.problems import Problem
from bots.web.requests import read_body
from core.refusals import Rejected
from core.skill import BadSkill, Skill, Source
from core.skill_rules import MAX_TEAM_SKILLS, unknown
from core.skill_text import make_skill
from core.skills import SkillLibrary

_REFUSED = {
    "bad_skill": HTTPStatus.UNPROCESSABLE_ENTITY,
    "too_many_skills": HTTPStatus.CONFLICT,
    "skill_not_own": HTTPStatus.CONFLICT,
    "unknown_skill": HTTPStatus.NOT_FOUND,
}
_BODY_ERRORS = (400, 403, 408, 409, 413, 415, 422)


class SkillDesk(Protocol):
    """The skills of each team; ``actor`` is the id of the user who changes them."""

    async def of(self, tenant_id: str) -> SkillLibrary:
        """The team's library."""

    async def put(
        self, tenant_id: str, skills: Sequence[Skill], *, actor: str, turn_id: str = ""
    ) -> tuple[Skill, ...] | Rejected:
        """Add or replace the team's own, all of them or none."""

    async def switch(
        self, tenant_id: str, name: str, *, enabled: bool, actor: str, turn_id: str = ""
    ) -> Skill | Rejected:
        """Switch one on or off."""

    async def remove(
        self, tenant_id: str, name: str, *, actor: str, turn_id: str = ""
    ) -> Rejected | None:
        """Erase one of the team's own."""


class SkillStepBody(Body):
    """A tool that a skill calls; text may be a slot such as ``{server}`` or ``{lines=40}``."""

    tool: str
    arguments: dict[str, str | Integer] = Field(default={})


class SkillBody(Body):
    """A team's own skill, without its name."""

    description: str
    body: str = ""
    triggers: list[str] = Field(default=[])
    steps: list[SkillStepBody] = Field(default=[])


class NamedSkillBody(SkillBody):
    """A team's own skill. One that is switched off already stays off."""

    name: str
    enabled: bool = True


class SkillsBody(Body):
    """Several at once: all of them are kept, or none."""

    skills: Annotated[list[NamedSkillBody], Field(min_length=1, max_length=MAX_TEAM_SKILLS)]


class SkillSwitchBody(Body):
    """Whether a skill is used."""

    enabled: bool


class SkillInfo(BaseModel):
    """A skill of the team's library."""

    name: str
    description: str
    source: Source
    enabled: bool
    triggers: list[str]
    tools: list[str]


class SkillDetail(SkillInfo):
    """A skill with all that it says."""

    body: str
    steps: list[SkillStepBody]


class SkillList(BaseModel):
    """The team's own first, then by name; the ones that are off last."""

    skills: list[SkillInfo]
    problems: list[str] = []
    """What is kept and cannot be used."""


class SkillRoutes:
    """The team's skills."""

    def __init__(self, desk: SkillDesk, auth: Authenticator) -> None:
        """Wire the ports."""
        self._desk = desk
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [
            web.get("/api/v1/skills", self.list_skills, allow_head=False),
            web.post("/api/v1/skills", self.add_skills),
            web.get("/api/v1/skills/{name}", self.show_skill, allow_head=False),
            web.put("/api/v1/skills/{name}", self.put_skill),
            web.patch("/api/v1/skills/{name}", self.switch_skill),
            web.delete("/api/v1/skills/{name}", self.remove_skill),
        ]

    @operation(answer=SkillList)
    async def list_skills(self, request: web.Request) -> web.Response:
        """The skills that the team's agent has, and those that are switched off."""
        user = (await self._auth.caller(request)).user
        library = await self._desk.of(user.tenant_id)
        listed = [_info(skill) for skill in (*library.skills, *library.off)]
        return _json(SkillList(skills=listed, problems=list(library.problems)))

    @operation(answer=SkillDetail, errors=(404,))
    async def show_skill(self, request: web.Request) -> web.Response:
        """One skill, with its text and the tools that it calls."""
        user = (await self._auth.caller(request)).user
        name = request.match_info["name"]
        skill = (await self._desk.of(user.tenant_id)).find(name)
        return _json(_detail(_kept(unknown(name) if skill is None else skill)))

    @operation(body=SkillsBody, answer=SkillList, errors=_BODY_ERRORS)
    async def add_skills(self, request: web.Request) -> web.Response:
        """Add skills of the team's own or replace those of the same names, as its admin."""
        caller = await self._auth.caller(request)
        require_admin(caller)
        body = SkillsBody.model_validate_json(await read_body(request))
        made = [_skill(one, one.name, enabled=one.enabled) for one in body.skills]
        kept = await self._desk.put(caller.user.tenant_id, made, actor=caller.user.id)
        if isinstance(kept, Rejected):
            raise _problem(kept)
        return _json(SkillList(skills=[_info(skill) for skill in kept]))

    @operation(body=SkillBody, answer=SkillDetail, errors=_BODY_ERRORS)
    async def put_skill(self, request: web.Request) -> web.Response:
        """Add a skill of the team's own or replace it, as its admin; a switch stays as it is."""
        caller = await self._auth.caller(request)
        require_admin(caller)
        body = SkillBody.model_validate_json(await read_body(request))
        made = _skill(body, request.match_info["name"], enabled=True)
        kept = await self._desk.put(caller.user.tenant_id, [made], actor=caller.user.id)
        return _json(_detail(_kept(kept if isinstance(kept, Rejected) else kept[0])))

    @operation(body=SkillSwitchBody, answer=SkillDetail, errors=(400, 403, 404, 408, 413, 415, 422))
    async def switch_skill(self, request: web.Request) -> web.Response:
        """Switch a skill on or off for the team, as its admin, wherever it is from."""
        caller = await self._auth.caller(request)
        require_admin(caller)
        body = SkillSwitchBody.model_validate_json(await read_body(request))
        switched = await self._desk.switch(
            caller.user.tenant_id,
            request.match_info["name"],
            enabled=body.enabled,
            actor=caller.user.id,
        )
        return _json(_detail(_kept(switched)))

    @operation(status=204, errors=(403, 404, 409))
    async def remove_skill(self, request: web.Request) -> web.Response:
        """Erase a skill of the team's own, as its admin; one it replaced is there again."""
        caller = await self._auth.caller(request)
        require_admin(caller)
        refused = await self._desk.remove(
            caller.user.tenant_id, request.match_info["name"], actor=caller.user.id
        )
        if refused is not None:
            raise _problem(refused)
        return web.Response(status=HTTPStatus.NO_CONTENT)


def _skill(body: SkillBody, name: str, *, enabled: bool) -> Skill:
    front: dict[str, object] = {
        "name": name,
        "description": body.description,
        "triggers": body.triggers,
        "enabled": enabled,
    }
    if body.steps:
        front["steps"] = [step.model_dump() for step in body.steps]
    try:
        return make_skill(front, body.body, default_name=name)
    except BadSkill as bad:
        detail = f"The skill {name[:80]} {bad}."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "bad_skill", detail) from bad


def _kept(skill: Skill | Rejected) -> Skill:
    if isinstance(skill, Rejected):
        raise _problem(skill)
    return skill


def _problem(refused: Rejected) -> Problem:
    return Problem(_REFUSED[refused.code], refused.code, refused.sentence)


def _info(skill: Skill) -> SkillInfo:
    return SkillInfo(
        name=skill.name,
        description=skill.description,
        source=skill.source,
        enabled=skill.enabled,
        triggers=list(skill.examples),
        tools=[step.tool for step in skill.steps],
    )


def _detail(skill: Skill) -> SkillDetail:
    steps = [SkillStepBody(tool=step.tool, arguments=dict(step.arguments)) for step in skill.steps]
    return SkillDetail(**_info(skill).model_dump(), body=skill.body, steps=steps)


def _json(answer: BaseModel) -> web.Response:
    return web.json_response(text=answer.model_dump_json())
