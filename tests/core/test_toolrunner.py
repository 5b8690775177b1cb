"""The one door to tools: who may, what is forbidden, what is remembered, what is on record."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from core.agent_config import AgentConfig
from core.audit import AuditEntry
from core.gate import Approved, Proposal
from core.messages import ConversationAddress, Overlap
from core.risk import Level
from core.steps import Step, ToolCall, ToolStartedStep
from core.tenants import Role, User
from core.toolrunner import MAX_OUTPUT_CHARS, ToolRunner, TurnTools
from core.tools import Param
from core.turns import Turn, TurnKind
from tests.fakes.scripted_engine import Move, Say, ScriptedEngine, Signal, Until
from tests.support.audit_kit import lift_guards
from tests.support.core_kit import House, Probe, Site

WHERE = Param(name="where", kind="string", description="Which", required=True, maximum=10)
TIMES = Param(name="times", kind="integer", description="How often", minimum=1, maximum=3)


def _asks(*calls: ToolCall) -> ScriptedEngine:
    return ScriptedEngine([Say("Trying.", tools=calls), Say("Tried.")])


async def _results(house: House) -> list[tuple[str, bool]]:
    rows = await house.rows("SELECT payload FROM turn_steps WHERE kind = 'tool' ORDER BY n")
    found = [json.loads(payload) for (payload,) in rows]
    return [(item["output"], item["is_error"]) for item in found]


async def _audit(house: House) -> list[tuple[str, str, str]]:
    """Action, tool and level of each row."""
    rows = await house.rows("SELECT action, detail FROM audit_log ORDER BY tenant_id, seq")
    details = [(action, json.loads(detail)) for action, detail in rows]
    return [(action, detail["tool"], detail["level"]) for action, detail in details]


async def test_a_role_may_do_what_its_level_allows(site: Site) -> None:
    """A viewer reads, an operator changes a little, and each refusal says who may."""
    look, tweak = Probe("look"), Probe("tweak", Level.L1, mutates=True)
    calls = (ToolCall(id="t1", name="look"), ToolCall(id="t2", name="tweak"))
    ran = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMIN: 2}
    for role, expected in ran.items():
        async with site.open(_asks(*calls), tools=[look.tool(), tweak.tool()]) as house:
            user = await house.user(house.admin.tenant_id, f"{role}@example.com", role)
            await house.ask("go", user)
            assert len(tweak.runs) == expected
            failed = [output for output, failed in await _results(house) if failed]
            sentence = "tweak needs the role operator (level L1); you are viewer."
            assert failed == [f"{sentence} Ask an admin of your team."]
            await house.settled()
    assert len(look.runs) == 3


async def test_disruption_is_refused_until_somebody_can_approve(site: Site) -> None:
    """L2 without approvals: not run, even for an admin, with a sentence that says what to do."""
    wreck = Probe("wreck", Level.L2, mutates=True)
    async with site.open(_asks(ToolCall(id="t1", name="wreck")), tools=[wreck.tool()]) as house:
        final = await house.ask("go")
        assert final.outcome == "answered"
        output, failed = (await _results(house))[0]
        assert failed
        assert "approval" in output
        assert "was not run" in output
        assert wreck.runs == []
        assert await _audit(house) == [("tool.refused", "wreck", "L2")]
        await house.settled()


class Yes:
    """Approves everything."""

    async def decide(self, turn: Turn, proposal: Proposal) -> Approved:
        """Yes."""
        return Approved(by=turn.user.id, approval_id="")


async def test_the_forbidden_stays_forbidden(site: Site) -> None:
    """L3 is refused whoever asks and whoever approves; an approved L2 runs, but not for viewers."""
    doom, wreck = Probe("doom", Level.L3), Probe("wreck", Level.L2, mutates=True)
    calls = (ToolCall(id="t1", name="doom"), ToolCall(id="t2", name="wreck"))
    tools = [doom.tool(), wreck.tool()]
    async with site.open(_asks(*calls), tools=tools, gate=Yes()) as house:
        await house.ask("go")
        assert (len(doom.runs), len(wreck.runs)) == (0, 1)
        assert sorted(await _audit(house)) == [
            ("tool.ran", "wreck", "L2"),
            ("tool.refused", "doom", "L3"),
        ]
        viewer = await house.user(house.admin.tenant_id, "v@example.com", Role.VIEWER)
        await house.ask("go", viewer)
        assert (len(doom.runs), len(wreck.runs)) == (0, 1)
        await house.settled()


BAD_ARGUMENTS: tuple[tuple[dict[str, object], str], ...] = (
    ({}, "needs the argument 'where'"),
    ({"where": None}, "needs the argument 'where'"),
    ({"where": "web", "rm": "-rf"}, "no argument 'rm'"),
    ({"where": 5}, "where must be text"),
    ({"where": ["web"]}, "where must be text"),
    ({"where": "x" * 11}, "where must be at most 10 characters"),
    ({"where": "a\nb"}, "control characters"),
    ({"where": "web", "times": "2"}, "times must be a whole number"),
    ({"where": "web", "times": True}, "times must be a whole number"),
    ({"where": "web", "times": 1.5}, "times must be a whole number"),
    ({"where": "web", "times": 0}, "times must be at least 1"),
    ({"where": "web", "times": 10**30}, "times must be at most 3"),
)


async def test_bad_arguments_never_reach_a_tool(site: Site) -> None:
    """Whatever a model makes up is refused with a sentence it can learn from."""
    look = Probe("look", params=(WHERE, TIMES))
    calls = [
        ToolCall(id=f"t{number}", name="look", arguments=arguments)
        for number, (arguments, _) in enumerate(BAD_ARGUMENTS)
    ]
    good = ToolCall(id="good", name="look", arguments={"where": "web", "times": 3})
    async with site.open(_asks(*calls, good), tools=[look.tool()]) as house:
        await house.ask("go")
        by_id = {
            step["id"]: step["output"]
            for (payload,) in await house.rows("SELECT payload FROM turn_steps WHERE kind = 'tool'")
            for step in (json.loads(payload),)
        }
        for number, (_, sentence) in enumerate(BAD_ARGUMENTS):
            assert sentence in by_id[f"t{number}"]
        assert look.runs == [(house.admin.tenant_id, {"where": "web", "times": 3})]
        await house.settled()


async def test_an_unknown_tool_is_answered_with_those_there_are(site: Site) -> None:
    """A tool that a model made up is refused by name, and is on record."""
    name = "format_disk\x00\ud83d" + "x" * 300
    async with site.open(
        _asks(ToolCall(id="t1", name=name)), tools=[Probe("look").tool()]
    ) as house:
        final = await house.ask("go")
        assert final.outcome == "answered"
        output, failed = (await _results(house))[0]
        assert failed
        assert "There is no tool" in output
        assert "look" in output
        assert (await _audit(house))[0][0] == "tool.refused"
        await house.settled()


async def test_a_tool_that_hangs_or_breaks_is_ended(site: Site) -> None:
    """A time-out and a bug become error results with a sentence; the turn goes on."""
    slow = Probe("slow", timeout_s=0.05, hold=asyncio.Event())
    broken = Probe("broken", error=RuntimeError("secret detail"))
    calls = (ToolCall(id="t1", name="slow"), ToolCall(id="t2", name="broken"))
    async with site.open(_asks(*calls), tools=[slow.tool(), broken.tool()]) as house:
        final = await house.ask("go")
        assert final.reply == "Trying.\n\nTried."
        assert sorted(await _results(house)) == [
            ("broken failed inside IT0; the log has the details.", True),
            ("slow did not finish within 0.05 s and was ended.", True),
        ]
        assert sorted(await _audit(house)) == [
            ("tool.failed", "broken", "L0"),
            ("tool.failed", "slow", "L0"),
        ]
        assert "secret detail" not in await house.dump()
        await house.settled()


async def test_a_giant_output_is_cut_with_a_note(site: Site) -> None:
    """A tool cannot flood the model: the rest is cut and counted."""
    look = Probe("look", output="x" * (MAX_OUTPUT_CHARS + 1234))
    async with site.open(_asks(ToolCall(id="t1", name="look")), tools=[look.tool()]) as house:
        await house.ask("go")
        output, _ = (await _results(house))[0]
        assert output == "x" * MAX_OUTPUT_CHARS + "\n[1,234 more characters were cut]"


async def test_a_recorded_result_is_reused_and_a_lost_one_is_unknown(site: Site) -> None:
    """W22: after a crash a finished call returns its result; a started one is never run again."""
    done = Probe("done", Level.L1, mutates=True)
    cut = Probe("cut", Level.L1, mutates=True)
    calls = (ToolCall(id="t1", name="done"), ToolCall(id="t2", name="cut"))
    reached, never = asyncio.Event(), asyncio.Event()
    moves: list[Move] = [Say("One.", tools=calls[:1]), Say("Two.", tools=calls[1:])]
    engine = ScriptedEngine([*moves, Signal(reached), Until(never), Say("Three.")])
    tools = [done.tool(), cut.tool()]
    async with site.open(engine, tools=tools) as house:
        cut.hold = asyncio.Event()
        accepted = await house.accepted("go")
        await cut.begun.wait()
        house.faults.dead = True
        cut.hold.set()
        await house.crash()
    never.set()
    async with site.open(engine, tools=tools) as second:
        await second.write(
            "UPDATE workers SET expires_at = 0 WHERE id <> :me", me=second.core.scheduler.worker
        )
        final = await second.final(accepted)
        assert final.reply == "One.\n\nTwo.\n\nThree."
        assert (len(done.runs), len(cut.runs)) == (1, 1)
        results = await _results(second)
        assert results[0] == ("probed", False)
        assert results[1][1]
        assert results[1][0].startswith("Outcome unknown: cut was started")
        assert [action for action, _, _ in await _audit(second)] == ["tool.ran", "tool.unknown"]
        await second.settled()


async def test_every_call_is_on_record_without_its_output(site: Site) -> None:
    """The audit row names who, what, level and a digest of the result, never the result."""
    look = Probe("look", output="the output is a secret", params=(WHERE,))
    call = ToolCall(id="t1", name="look", arguments={"where": "web"})
    async with site.open(_asks(call), tools=[look.tool()]) as house:
        final = await house.ask("go")
        rows = await house.rows("SELECT actor, action, turn_id, detail, seq FROM audit_log")
        assert len(rows) == 1
        actor, action, turn_id, detail, seq = rows[0]
        assert (actor, action, turn_id, seq) == (house.admin.id, "tool.ran", final.turn_id, 1)
        assert "secret" not in detail
        assert json.loads(detail)["summary"] == "look where=web"
        assert len(json.loads(detail)["output_sha256"]) == 64
        assert await house.core.storage.audit.verify() == {}


async def test_tampering_with_the_record_shows(site: Site) -> None:
    """Edit, deletion, reordering and truncation of audit rows are found, in the right tenant."""
    calls = tuple(ToolCall(id=f"t{n}", name="look") for n in range(4))
    async with site.open(_asks(*calls), tools=[Probe("look").tool()]) as house:
        other = await house.tenant("other")
        await lift_guards(house.core.storage.db)
        await house.ask("go")
        await house.ask("go", other)
        tenant = house.admin.tenant_id
        audit = house.core.storage.audit
        heads = await audit.heads()
        assert {heads[tenant][0], heads[other.tenant_id][0]} == {4}
        saved = await house.rows("SELECT * FROM audit_log WHERE tenant_id = :t", t=tenant)
        where = f"WHERE tenant_id = '{tenant}' AND seq"
        swap = (
            f"UPDATE audit_log SET seq = 99 {where} = 2",
            f"UPDATE audit_log SET seq = 2 {where} = 3",
            f"UPDATE audit_log SET seq = 3 {where} = 99",
        )
        tampering: dict[str, tuple[str, ...]] = {
            "edit": (f"UPDATE audit_log SET detail = '{{}}' {where} = 2",),
            "actor": (f"UPDATE audit_log SET actor = 'nobody' {where} = 4",),
            "time": (f"UPDATE audit_log SET at = at + 1 {where} = 1",),
            "delete": (f"DELETE FROM audit_log {where} = 2",),
            "delete the first": (f"DELETE FROM audit_log {where} = 1",),
            "truncate": (f"DELETE FROM audit_log {where} > 2",),
            "empty": (f"DELETE FROM audit_log {where} > 0",),
            "reorder": swap,
        }
        columns = "tenant_id, seq, at, actor, action, turn_id, detail, mac"
        for what, statements in tampering.items():
            for statement in statements:
                await house.write(statement)
            assert set(await audit.verify()) == {tenant}, what
            await house.write(f"DELETE FROM audit_log {where} > 0")
            for row in saved:
                named = {f"v{index}": value for index, value in enumerate(row)}
                await house.write(
                    f"INSERT INTO audit_log ({columns}) VALUES"
                    f" ({', '.join(f':v{index}' for index in range(len(row)))})",
                    **named,
                )
            assert await audit.verify() == {}, what


async def test_a_record_cut_back_with_its_head_shows_against_an_exported_head(site: Site) -> None:
    """Who can write the database can cut rows and head alike: the head kept elsewhere tells."""
    calls = tuple(ToolCall(id=f"t{n}", name="look") for n in range(3))
    async with site.open(_asks(*calls), tools=[Probe("look").tool()]) as house:
        await house.ask("go")
        await lift_guards(house.core.storage.db)
        tenant, audit = house.admin.tenant_id, house.core.storage.audit
        heads = await audit.heads()
        exported: dict[str, list[object]] = {key: list(head) for key, head in heads.items()}
        await house.ask("more")
        assert await audit.compare(exported) == {}
        rows = await house.rows("SELECT mac FROM audit_log WHERE seq = 2")
        await house.write("DELETE FROM audit_log WHERE seq > 2")
        await house.write("UPDATE audit_heads SET seq = 2, mac = :mac", mac=rows[0][0])
        assert await audit.verify() == {}
        assert set(await audit.compare(exported)) == {tenant}
        await house.write("DELETE FROM audit_log")
        await house.write("DELETE FROM audit_heads")
        assert set(await audit.compare(exported)) == {tenant}


# -- the lists of a team --------------------------------------------------------------------


@dataclass
class Log:
    """Steps and audit rows in memory."""

    entries: list[AuditEntry] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    async def record(self, turn: Turn, step: Step, *, audit: AuditEntry | None = None) -> None:
        """Keep both."""
        assert turn.tenant_id == "ten_1"
        self.steps.append(step)
        self.entries += [] if audit is None else [audit]


def _door(config: AgentConfig, *probes: Probe, steps: tuple[Step, ...] = ()) -> TurnTools:
    """The door of an admin's turn."""
    user = User(id="usr_1", tenant_id="ten_1", email="a@example.com", name="A", role=Role.ADMIN)
    turn = Turn(
        id="trn_1",
        tenant_id="ten_1",
        conversation_id="cnv_1",
        seq=1,
        epoch=1,
        attempt=1,
        failures=0,
        kind=TurnKind.MESSAGE,
        event_id="e",
        user=user,
        address=ConversationAddress(platform="api", workspace="", channel="c", thread=""),
        text="go",
        attachments=(),
        engine=None,
        overlap=Overlap.QUEUE,
        cancelled=False,
        created_at_ms=0,
    )
    runner = ToolRunner({probe.name: probe.tool() for probe in probes}, Log(), Yes())
    return runner.door(turn, steps, config)


async def test_what_a_team_switched_off_is_neither_shown_nor_run() -> None:
    """A model that asks for it all the same is told who switched it off, and it is on record."""
    look, tweak = Probe("look", params=(WHERE,)), Probe("tweak", Level.L3, mutates=True)
    for config in (AgentConfig(denied_tools=("tweak",)), AgentConfig(allowed_tools=("look",))):
        door = _door(config, look, tweak)
        assert [spec.name for spec in door.specs()] == ["look"]
        result = await door.call(ToolCall(id="t1", name="tweak", arguments={"made": "up"}))
        assert result.is_error
        assert "Your team's admin switched the tool tweak off" in result.output
        unknown = await door.call(ToolCall(id="t2", name="wreck"))
        assert unknown.output == "There is no tool 'wreck'. There are: look."
        ran = await door.call(ToolCall(id="t3", name="look", arguments={"where": "web"}))
        assert not ran.is_error
        log = door.runner.log
        assert isinstance(log, Log)
        assert [(entry.action, entry.detail["tool"]) for entry in log.entries] == [
            ("tool.refused", "tweak"),
            ("tool.refused", "wreck"),
            ("tool.ran", "look"),
        ]
        assert len(log.steps) == 3
    assert tweak.runs == []
    assert len(look.runs) == 2


async def test_a_call_that_began_before_the_switch_is_still_unknown() -> None:
    """W22: to switch a tool off between two attempts must not hide that it may have run."""
    tweak = Probe("tweak", Level.L1, mutates=True)
    begun = (ToolStartedStep(tool_call_id="t1", name="tweak"),)
    door = _door(AgentConfig(denied_tools=("tweak",)), tweak, steps=begun)
    result = await door.call(ToolCall(id="t1", name="tweak"))
    assert result.output.startswith("Outcome unknown: tweak was started")
    assert "switched" in (await door.call(ToolCall(id="t2", name="tweak"))).output
    assert tweak.runs == []


async def test_a_team_may_switch_every_tool_off() -> None:
    """An empty list of allowed tools leaves none; the door says so."""
    door = _door(AgentConfig(allowed_tools=()), Probe("look"))
    assert door.specs() == ()
    said = (await door.call(ToolCall(id="t1", name="wreck"))).output
    assert said == "There is no tool 'wreck'. There are: none."
