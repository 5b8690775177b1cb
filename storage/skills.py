"""Each team's own skills, and its switches for the installation's."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from core.audit import AuditEntry
from core.refusals import Rejected
from core.skill import BadSkill, Skill, Source, key_of
from core.skill_rules import NOT_OWN, team_skill, together, too_many, unknown
from core.skill_text import make_skill
from core.skills import SkillLibrary
from core.tools import Tool
from core.words import sentence
from storage.audit import append_audit
from storage.database import Database, execute
from storage.rows import integer, text

_REMEMBERED = 32
"""Teams whose parsed skills are kept: 1 MB each at most."""
_Rows = tuple[tuple[tuple[object, ...], ...], tuple[tuple[object, ...], ...]]
"""A team's own skills and its switches, as stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """Who changes whose skills."""

    key: bytes
    tenant_id: str
    actor: str
    turn_id: str


class SqlSkills:
    """Implements ``core.skills.SkillShelf``; what changes a team's skills leaves an audit row.

    A team's rows are read at each turn, so that a change counts at once in every process; what
    is remembered is only what these very rows parse to (parsing 30 skills takes 6 ms).
    """

    def __init__(
        self,
        db: Database,
        audit_key: bytes,
        installed: SkillLibrary,
        *,
        tools: Mapping[str, Tool],
    ) -> None:
        """``installed`` is what every team begins with; ``tools`` is what skills may call."""
        self._db = db
        self._key = audit_key
        self._installed = installed
        self._tools = tools
        self._parsed: OrderedDict[str, tuple[_Rows, SkillLibrary]] = OrderedDict()

    async def of(self, tenant_id: str) -> SkillLibrary:
        """See the port."""
        rows = await self._db.read(_rows, tenant_id)
        before = self._parsed.get(tenant_id)
        if before is not None and before[0] == rows:
            self._parsed.move_to_end(tenant_id)
            return before[1]
        library = await asyncio.to_thread(_library, self._installed, rows)
        self._parsed[tenant_id] = (rows, library)
        while len(self._parsed) > _REMEMBERED:
            self._parsed.popitem(last=False)
        return library

    async def put(
        self, tenant_id: str, skills: Sequence[Skill], *, actor: str, turn_id: str = ""
    ) -> tuple[Skill, ...] | Rejected:
        """Add a team's own skills or replace those of the same names: all of them or none.

        One that was switched off stays off. ``actor`` is the id of the user who asks.
        """
        checked = [team_skill(skill, self._tools) for skill in skills]
        made = [skill for skill in checked if isinstance(skill, Skill)]
        wrong = [skill for skill in checked if isinstance(skill, Rejected)]
        if wrong:
            return together(wrong)
        change = _Change(key=self._key, tenant_id=tenant_id, actor=actor, turn_id=turn_id)
        return await self._db.transaction(_put, change, made)

    async def switch(
        self, tenant_id: str, name: str, *, enabled: bool, actor: str, turn_id: str = ""
    ) -> Skill | Rejected:
        """Switch a skill of the team's library on or off; the skill as it is now."""
        change = _Change(key=self._key, tenant_id=tenant_id, actor=actor, turn_id=turn_id)
        return await self._db.transaction(_switch, change, self._installed, name, enabled)

    async def remove(
        self, tenant_id: str, name: str, *, actor: str, turn_id: str = ""
    ) -> Rejected | None:
        """Erase a team's own skill; the installation's of that name is there again."""
        change = _Change(key=self._key, tenant_id=tenant_id, actor=actor, turn_id=turn_id)
        return await self._db.transaction(_remove, change, self._installed, name)


def _rows(conn: sa.Connection, tenant_id: str) -> _Rows:
    own = execute(
        conn,
        "SELECT name, description, body, triggers, steps, enabled FROM skills"
        " WHERE tenant_id = :tenant ORDER BY name",
        tenant=tenant_id,
    ).all()
    switched = execute(
        conn,
        "SELECT name, enabled FROM skill_switches WHERE tenant_id = :tenant ORDER BY name",
        tenant=tenant_id,
    ).all()
    return tuple(tuple(row) for row in own), tuple(tuple(row) for row in switched)


def _library(installed: SkillLibrary, rows: _Rows) -> SkillLibrary:
    """The team's library; a row that makes no sense to this version becomes a sentence."""
    own, switched = rows
    skills: list[Skill] = []
    problems: list[str] = []
    for row in own:
        try:
            skills.append(_skill(row))
        except BadSkill as bad:
            problems.append(f"The skill {row[0]} {bad}.")
    switches = {text(row[0]): bool(integer(row[1])) for row in switched}
    return installed.for_team(skills, switches, problems)


def _skill(row: Sequence[object]) -> Skill:
    name, steps = text(row[0]), json.loads(text(row[4]))
    front: dict[str, object] = {
        "name": name,
        "description": text(row[1]),
        "triggers": json.loads(text(row[3])),
        "enabled": bool(integer(row[5])),
    }
    if steps:
        front["steps"] = steps
    return replace(make_skill(front, text(row[2]), default_name=name), source=Source.TEAM)


def _put(
    conn: sa.Connection, change: _Change, skills: Sequence[Skill]
) -> tuple[Skill, ...] | Rejected:
    _lock(conn, change.tenant_id)
    library = _library(SkillLibrary(), _rows(conn, change.tenant_id))
    have = {skill.name: skill for skill in (*library.skills, *library.off)}
    wanted = {
        skill.name: replace(
            skill, enabled=skill.enabled and (skill.name not in have or have[skill.name].enabled)
        )
        for skill in skills
    }
    problem = too_many(list({**have, **wanted}.values()))
    if problem is not None:
        return problem
    for skill in wanted.values():
        if have.get(skill.name) != skill:
            _save(conn, change, skill)
    return tuple(wanted.values())


def _save(conn: sa.Connection, change: _Change, skill: Skill) -> None:
    steps = [{"tool": step.tool, "arguments": dict(step.arguments)} for step in skill.steps]
    execute(
        conn,
        "INSERT INTO skills (tenant_id, name, description, body, triggers, steps, enabled,"
        " created_at, updated_at, updated_by) VALUES (:tenant, :name, :description, :body,"
        " :triggers, :steps, :enabled, {now}, {now}, :by) ON CONFLICT (tenant_id, name) DO UPDATE"
        " SET description = excluded.description, body = excluded.body,"
        " triggers = excluded.triggers, steps = excluded.steps, enabled = excluded.enabled,"
        " updated_at = excluded.updated_at, updated_by = excluded.updated_by",
        tenant=change.tenant_id,
        name=skill.name,
        description=skill.description,
        body=skill.body,
        triggers=json.dumps(skill.examples),
        steps=json.dumps(steps),
        enabled=int(skill.enabled),
        by=change.actor,
    )
    digest = hashlib.sha256(repr((skill.description, skill.body, skill.examples)).encode())
    detail: dict[str, str | int] = {
        "skill": skill.name,
        "text": digest.hexdigest(),
        "tools": " ".join(step.tool for step in skill.steps),
    }
    _note(conn, change, "skill.saved", detail)


def _switch(
    conn: sa.Connection,
    change: _Change,
    installed: SkillLibrary,
    name: str,
    enabled: bool,  # noqa: FBT001  # transaction(fn, *args) passes by position
) -> Skill | Rejected:
    _lock(conn, change.tenant_id)
    skill = _library(installed, _rows(conn, change.tenant_id)).find(name)
    if skill is None:
        return unknown(name)
    if skill.enabled is enabled:
        return skill
    if skill.source is Source.TEAM:
        execute(
            conn,
            "UPDATE skills SET enabled = :enabled, updated_at = {now}, updated_by = :by"
            " WHERE tenant_id = :tenant AND name = :name",
            enabled=int(enabled),
            by=change.actor,
            tenant=change.tenant_id,
            name=skill.name,
        )
    else:
        execute(
            conn,
            "INSERT INTO skill_switches (tenant_id, name, enabled, updated_at, updated_by)"
            " VALUES (:tenant, :name, :enabled, {now}, :by) ON CONFLICT (tenant_id, name)"
            " DO UPDATE SET enabled = excluded.enabled, updated_at = excluded.updated_at,"
            " updated_by = excluded.updated_by",
            enabled=int(enabled),
            by=change.actor,
            tenant=change.tenant_id,
            name=skill.key,
        )
    _note(conn, change, "skill.on" if enabled else "skill.off", {"skill": skill.key})
    return replace(skill, enabled=enabled)


def _remove(
    conn: sa.Connection, change: _Change, installed: SkillLibrary, name: str
) -> Rejected | None:
    _lock(conn, change.tenant_id)
    row = execute(
        conn,
        "DELETE FROM skills WHERE tenant_id = :tenant AND name = :name RETURNING name",
        tenant=change.tenant_id,
        name=key_of(name),
    ).first()
    if row is not None:
        _note(conn, change, "skill.removed", {"skill": text(row[0])})
        return None
    found = installed.find(name)
    if found is None:
        return unknown(name)
    said = sentence(
        "The skill {name} belongs to the installation. Switch it off instead.", name=found.name
    )
    return Rejected(code=NOT_OWN, sentence=said)


def _lock(conn: sa.Connection, tenant_id: str) -> None:
    """Two changes of one team come one after the other: the limits count both."""
    execute(conn, "SELECT id FROM tenants WHERE id = :tenant{row}", tenant=tenant_id).first()


def _note(conn: sa.Connection, change: _Change, action: str, detail: dict[str, str | int]) -> None:
    entry = AuditEntry(actor=change.actor, action=action, turn_id=change.turn_id, detail=detail)
    append_audit(conn, change.key, change.tenant_id, entry)
