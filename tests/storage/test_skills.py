"""A team's skills in the database: whose they are, what is refused, what is on the record."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import sqlalchemy as sa

import storage.skills as module
from core.refusals import Rejected
from core.risk import Assessment, Level
from core.skills import BUILT_IN, Skill, SkillLibrary, SkillStep, Source, parse_skill
from core.tenants import Role, User
from core.tools import Arguments, Param, Tool, ToolContext, ToolResult, ToolSpec
from storage.audit import SqlAudit
from storage.database import Database
from storage.people import SqlPeople
from storage.skills import SqlSkills

KEY = b"k" * 32
INSTALLED = SkillLibrary.load(BUILT_IN)


async def _level(_context: ToolContext, _arguments: Arguments) -> Assessment:
    return Assessment(level=Level.L0)


async def _run(_context: ToolContext, _arguments: Arguments) -> ToolResult:
    return ToolResult(output="")


LOOK = ToolSpec(
    name="look", description="Look.", params=(Param(name="at", kind="string", description="At."),)
)
TOOLS = {"look": Tool(spec=LOOK, assess=_level, run=_run, mutates=False)}


def skill(name: str = "deploy", body: str = "Ask Bob.", **more: object) -> Skill:
    """A skill of a team."""
    return Skill(name=name, description="How we do it.", body=body, **more)  # type: ignore[arg-type]


def shelf_of(db: Database) -> SqlSkills:
    """What one process has."""
    return SqlSkills(db, KEY, INSTALLED, tools=TOOLS)


async def team(db: Database, name: str = "A") -> User:
    """A team's admin."""
    people = SqlPeople(db)
    if name == "A":
        return await people.install(tenant_name="A", admin_email="a@example.com")
    tenant = await people.add_tenant(name)
    user = await people.add_user(
        tenant.id,
        email=f"{name.lower()}@example.com",
        name=name,
        role=Role.ADMIN,
    )
    assert isinstance(user, User)
    return user


async def log(db: Database, tenant_id: str) -> list[tuple[str, str]]:
    """Actions and details of a team's skill rows, in order."""

    def work(conn: sa.Connection) -> list[tuple[str, str]]:
        sql = (
            "SELECT action, detail FROM audit_log WHERE tenant_id = :t AND action LIKE 'skill.%'"
            " ORDER BY seq"
        )
        return [(row[0], row[1]) for row in conn.execute(sa.text(sql), {"t": tenant_id})]

    return await db.read(work)


def refusal(answer: object) -> tuple[str, str]:
    """Code and sentence of a refusal."""
    assert isinstance(answer, Rejected), answer
    return answer.code, answer.sentence


async def test_a_skill_comes_back_as_it_was_put(db: Database) -> None:
    """A team begins with what is installed; its own goes first, with triggers and steps."""
    admin = await team(db)
    library = await shelf_of(db).of(admin.tenant_id)
    assert {each.name for each in library.skills} == {each.name for each in INSTALLED.skills}
    assert {each.source for each in library.skills} == {Source.BUILT_IN}
    assert (library.off, library.problems) == ((), ())
    text = (
        "---\nname: Deploy Web\ndescription: How we deploy.\ntriggers: [deploy|rollout, 部署]\n"
        'steps:\n- {tool: look, arguments: {at: "{server}"}}\n- {tool: look}\n---\n# Ask Bob\n\n- a'
    )
    made = parse_skill(text, default_name="x")
    kept = await shelf_of(db).put(admin.tenant_id, [made], actor=admin.id)
    wanted = replace(made, name="deploy-web", source=Source.TEAM)
    assert kept == (wanted,)
    library = await shelf_of(db).of(admin.tenant_id)
    assert library.skills[0] == wanted
    assert library.match("rollout please")[0].skill == wanted
    assert library.find("Deploy  WEB") == wanted


async def test_a_teams_own_replaces_the_installations(db: Database) -> None:
    """Removing it brings the installation's back, as it was switched; that one stays."""
    admin = await team(db)
    shelf = shelf_of(db)
    await shelf.switch(admin.tenant_id, "disk", enabled=False, actor=admin.id)
    await shelf.put(admin.tenant_id, [skill("disk", "Ours.")], actor=admin.id)
    mine = (await shelf.of(admin.tenant_id)).find("disk")
    assert mine is not None
    assert (mine.source, mine.body, mine.enabled) == (Source.TEAM, "Ours.", True)
    assert await shelf.remove(admin.tenant_id, "Disk", actor=admin.id) is None
    again = (await shelf.of(admin.tenant_id)).find("disk")
    assert again is not None
    assert (again.source, again.enabled) == (Source.BUILT_IN, False)
    switched = await shelf.switch(admin.tenant_id, "nope", enabled=True, actor=admin.id)
    assert refusal(switched)[0] == "unknown_skill"
    assert refusal(await shelf.remove(admin.tenant_id, "nope", actor=admin.id))[0] == (
        "unknown_skill"
    )
    code, said = refusal(await shelf.remove(admin.tenant_id, "disk", actor=admin.id))
    assert (code, "Switch it off instead" in said) == ("skill_not_own", True)


async def test_switches(db: Database) -> None:
    """Own and installed skills go off and on; those that are off match nothing."""
    admin = await team(db)
    shelf = shelf_of(db)
    await shelf.put(
        admin.tenant_id,
        [parse_skill("---\ndescription: d\ntriggers: x-ray\n---\nb", default_name="own")],
        actor=admin.id,
    )
    for name, asked in (("own", "x-ray"), ("disk", "disk full")):
        off = await shelf.switch(admin.tenant_id, name, enabled=False, actor=admin.id)
        assert isinstance(off, Skill)
        assert not off.enabled
        library = await shelf.of(admin.tenant_id)
        assert name in {each.name for each in library.off}
        assert name not in {match.skill.name for match in library.match(asked)}
        await shelf.switch(admin.tenant_id, name, enabled=True, actor=admin.id)
        library = await shelf.of(admin.tenant_id)
        assert library.match(asked)[0].skill.name == name
        assert library.off == ()


async def test_replacing_a_skill_leaves_its_switch(db: Database) -> None:
    """An import brings text; what an admin switched off stays off."""
    admin = await team(db)
    shelf = shelf_of(db)
    await shelf.put(admin.tenant_id, [skill()], actor=admin.id)
    await shelf.switch(admin.tenant_id, "deploy", enabled=False, actor=admin.id)
    kept = await shelf.put(admin.tenant_id, [skill(body="Ask Eve.")], actor=admin.id)
    assert isinstance(kept, tuple)
    assert (kept[0].body, kept[0].enabled) == ("Ask Eve.", False)
    imported = await shelf.put(admin.tenant_id, [skill("new", enabled=False)], actor=admin.id)
    assert isinstance(imported, tuple)
    assert not imported[0].enabled


async def test_every_change_is_on_the_record_once(db: Database) -> None:
    """A turn that runs again, and a change that changes nothing, leave no second row."""
    admin = await team(db)
    shelf = shelf_of(db)
    for _ in range(2):
        await shelf.put(admin.tenant_id, [skill()], actor=admin.id)
    for name in ("deploy", "disk"):
        for enabled in (False, False, True, True):
            await shelf.switch(
                admin.tenant_id, name, enabled=enabled, actor=admin.id, turn_id="trn_1"
            )
    await shelf.remove(admin.tenant_id, "deploy", actor=admin.id)
    rows = await log(db, admin.tenant_id)
    assert [action for action, _ in rows] == [
        "skill.saved",
        *("skill.off", "skill.on", "skill.off", "skill.on"),
        "skill.removed",
    ]
    assert all('"skill":' in detail and "Bob" not in detail for _, detail in rows)
    assert await SqlAudit(db, KEY).verify() == {}


async def test_no_change_without_its_record(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the audit row cannot be written, the skill is not changed either."""
    admin = await team(db)
    shelf = shelf_of(db)
    await shelf.put(admin.tenant_id, [skill()], actor=admin.id)
    before = await shelf.of(admin.tenant_id)

    def fail(*_arguments: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(module, "append_audit", fail)
    for call in (
        shelf.put(admin.tenant_id, [skill(body="Other.")], actor=admin.id),
        shelf.switch(admin.tenant_id, "deploy", enabled=False, actor=admin.id),
        shelf.switch(admin.tenant_id, "disk", enabled=False, actor=admin.id),
        shelf.remove(admin.tenant_id, "deploy", actor=admin.id),
    ):
        with pytest.raises(RuntimeError):
            await call
    assert await shelf_of(db).of(admin.tenant_id) == before


async def test_all_or_nothing(db: Database) -> None:
    """When one is wrong none is kept, and all that is wrong is said; NUL does not fail."""
    admin = await team(db)
    shelf = shelf_of(db)
    bad = [skill("a", steps=(SkillStep(tool="x"),)), skill("b"), skill("c", body="")]
    answer = refusal(await shelf.put(admin.tenant_id, bad, actor=admin.id))[1]
    assert (await shelf.of(admin.tenant_id)).find("b") is None
    assert await log(db, admin.tenant_id) == []
    nul = await shelf.put(admin.tenant_id, [skill(body="a\x00b\ud800c\u2028d")], actor=admin.id)
    assert isinstance(nul, tuple)
    assert nul[0].body == "ab\ufffdc\u2028d"
    assert answer.splitlines() == [
        "The skill a calls the tool x, which does not exist here.",
        "The skill c is empty: it has neither text nor tools.",
    ]


async def test_two_imports_at_once_do_not_pass_the_limit_together(db: Database) -> None:
    """One is kept, the other is refused."""
    admin = await team(db)
    batches = [[skill(f"{name}{n}") for n in range(60)] for name in "ab"]
    answers = await asyncio.gather(
        *(shelf_of(db).put(admin.tenant_id, batch, actor=admin.id) for batch in batches)
    )
    assert sorted(isinstance(answer, Rejected) for answer in answers) == [False, True]


async def test_a_change_counts_in_every_process_at_once(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one process remembers hides nothing and does not grow with the number of teams."""
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    admin = await team(db)
    one, other = shelf_of(db), shelf_of(db)
    await one.put(admin.tenant_id, [skill()], actor=admin.id)
    for body in ("First.", "Other."):
        await one.put(admin.tenant_id, [skill(body=body)], actor=admin.id)
        found = (await other.of(admin.tenant_id)).find("deploy")
        assert found is not None
        assert found.body == body
    await one.remove(admin.tenant_id, "deploy", actor=admin.id)
    assert (await other.of(admin.tenant_id)).find("deploy") is None
    for n in range(4):
        await other.of(f"ten_{n}")
    assert len(other._parsed) == 2


async def test_teams_do_not_see_each_other(db: Database) -> None:
    """Neither skills nor switches of one team are another's, under equal names."""
    a, b = await team(db), await team(db, "B")
    shelf = shelf_of(db)
    await shelf.put(a.tenant_id, [skill(body="A's.")], actor=a.id)
    await shelf.switch(a.tenant_id, "disk", enabled=False, actor=a.id)
    assert (await shelf.of(b.tenant_id)).find("deploy") is None
    disk = (await shelf.of(b.tenant_id)).find("disk")
    assert disk is not None
    assert disk.enabled
    assert refusal(await shelf.remove(b.tenant_id, "deploy", actor=b.id))[0] == "unknown_skill"
    await shelf.put(b.tenant_id, [skill(body="B's.")], actor=b.id)
    bodies = [
        found.body
        for user in (a, b)
        if (found := (await shelf.of(user.tenant_id)).find("deploy")) is not None
    ]
    assert bodies == ["A's.", "B's."]
    assert [action for action, _ in await log(db, b.tenant_id)] == ["skill.saved"]


async def test_a_row_that_makes_no_sense_now_is_a_sentence(db: Database) -> None:
    """What an older version took hides nothing else and stops no turn."""
    admin = await team(db)
    shelf = shelf_of(db)
    await shelf.put(admin.tenant_id, [skill(), skill("fine")], actor=admin.id)

    def spoil(conn: sa.Connection) -> None:
        conn.execute(sa.text("UPDATE skills SET triggers = '[\"{what}\"]' WHERE name = 'deploy'"))

    await db.transaction(spoil)
    library = await shelf.of(admin.tenant_id)
    assert library.find("fine") is not None
    assert library.find("deploy") is None
    (problem,) = library.problems
    assert problem.startswith("The skill deploy is wrong: there is no slot {what}")
    assert await shelf.remove(admin.tenant_id, "deploy", actor=admin.id) is None
