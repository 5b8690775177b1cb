"""Calls that wait for a human, on both databases: asked once, decided once, run once or never."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from core.agent_config import ConfigChanges, Freeze, OnTimeout
from core.approvals import Approval, Decided, Decision, Status
from core.inbox import Accepted, ControlDone
from core.refusals import Rejected
from core.risk import Level
from core.steps import ToolCall
from core.tenants import Role, User
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.support.core_kit import Final, House, Probe, Site, eventually

WRECK = ToolCall(id="t1", name="wreck")


def _asks(*calls: ToolCall) -> ScriptedEngine:
    return ScriptedEngine([Say("Trying.", tools=calls), Say("Tried.")])


@asynccontextmanager
async def _open(
    site: Site, wreck: Probe, *others: Probe, calls: Sequence[ToolCall] = (WRECK,)
) -> AsyncIterator[House]:
    tools = [probe.tool() for probe in (wreck, *others)]
    async with site.open(_asks(*calls), tools=tools, humans=True) as house:
        yield house
        if not house.crashed:
            await house.settled()


def _wreck(**more: object) -> Probe:
    return Probe("wreck", Level.L2, mutates=True, **more)  # type: ignore[arg-type]


async def _waiting(house: House, number: int = 1) -> tuple[Approval, ...]:
    """Wait until the turn is parked, without lease and slot, and return what it waits for."""
    await house.until("SELECT COUNT(*) FROM conversations WHERE parked_until IS NOT NULL")
    found = await house.core.fleet.desk.pending(house.admin.tenant_id)
    assert len(found) == number
    held = "SELECT id FROM conversations WHERE parked_until IS NOT NULL AND lease_owner IS NOT NULL"
    assert await house.rows(held) == []
    await eventually(lambda: house.core.scheduler.running == 0)  # a notice may be on its way
    return found


async def _decide(
    house: House, approval: Approval, by: User, *, approve: bool, comment: str = ""
) -> Decided | Rejected:
    decided = await house.core.fleet.desk.decide(
        by, approval.id, Decision(approve=approve, where="test", comment=comment)
    )
    house.core.scheduler.wake()
    return decided


async def _output(house: House) -> str:
    rows = await house.rows("SELECT payload FROM turn_steps WHERE kind = 'tool' ORDER BY n")
    return str(json.loads(rows[-1][0])["output"])


async def _audit(house: House) -> list[str]:
    rows = await house.rows("SELECT action FROM audit_log ORDER BY seq")
    return [action for (action,) in rows]


async def _ended(house: House, accepted: Accepted) -> Final:
    final = await house.final(accepted)
    assert final.outcome == "answered"
    return final


async def test_an_approved_call_runs_once(site: Site) -> None:
    """It waits without a slot, runs after the decision, and the record tells who decided."""
    wreck = _wreck()
    async with _open(site, wreck) as house:
        bob = await house.user(house.admin.tenant_id, "bob@example.com")
        accepted = await house.accepted("wreck it")
        (approval,) = await _waiting(house)
        assert wreck.runs == []
        assert approval.card.asked == "wreck it"
        first = await _decide(house, approval, bob, approve=True)
        assert isinstance(first, Decided)
        assert first.first
        second = await _decide(house, approval, house.admin, approve=False)
        assert isinstance(second, Decided)
        assert not second.first
        assert second.approval.decided_by == bob.id
        final = await _ended(house, accepted)
        assert final.reply.endswith("Tried.")
        assert "approval" in final.names() or "approval_settled" in final.names()
        assert len(wreck.runs) == 1
        assert await _audit(house) == ["approval.asked", "approval.approved", "tool.ran"]
        after = await house.core.fleet.desk.get(house.admin.tenant_id, approval.id)
        assert after is not None
        assert after.used


async def test_a_denied_call_never_runs_and_the_agent_is_told_why(site: Site) -> None:
    """The reason that was given is what the model reads."""
    wreck = _wreck()
    async with _open(site, wreck) as house:
        accepted = await house.accepted("wreck it")
        (approval,) = await _waiting(house)
        await _decide(house, approval, house.admin, approve=False, comment="not at noon")
        await _ended(house, accepted)
        assert wreck.runs == []
        output = await _output(house)
        assert "denied it" in output
        assert "not at noon" in output


@pytest.mark.parametrize("choice", list(OnTimeout))
async def test_a_timeout_does_what_the_team_chose(site: Site, choice: OnTimeout) -> None:
    """By default nobody's decision is a no, and the agent is told that it expired."""
    wreck = _wreck()
    async with _open(site, wreck) as house:
        await _choose(house, ConfigChanges(on_timeout=choice))
        accepted = await house.accepted("wreck it")
        (approval,) = await _waiting(house)
        await _pass_time(house)
        await _ended(house, accepted)
        assert len(wreck.runs) == (1 if choice is OnTimeout.APPROVE else 0)
        if choice is OnTimeout.DENY:
            assert "expired" in await _output(house)
        late = await _decide(house, approval, house.admin, approve=True)
        assert isinstance(late, Decided)
        assert not late.first


async def _choose(house: House, changes: ConfigChanges) -> None:
    agents = house.core.team.agents
    stored = await agents.read(house.admin.tenant_id)
    await agents.change(house.admin.id, house.admin.tenant_id, changes, stored.version)


async def _pass_time(house: House) -> None:
    """Make what waits come to its end now."""
    await house.write("UPDATE approvals SET expires_at = 1 WHERE status = 'pending'")
    await house.write("UPDATE conversations SET parked_until = 1 WHERE parked_until IS NOT NULL")
    house.core.scheduler.wake()


@pytest.mark.parametrize("why", ["critical", "tainted", "frozen"])
async def test_no_timeout_approves_what_is_too_grave(site: Site, why: str) -> None:
    """Critical servers, text from outside and a change freeze: only a human will do."""
    wreck = _wreck(critical=why == "critical")
    read = Probe("read", untrusted=why == "tainted")
    calls = (ToolCall(id="t0", name="read"),)
    engine = ScriptedEngine([Say("", tools=calls), Say("", tools=(WRECK,)), Say("Tried.")])
    tools = [wreck.tool(), read.tool()]
    async with site.open(engine, tools=tools, humans=True) as house:
        freeze = Freeze(from_ms=0, until_ms=2**52, reason="xmas") if why == "frozen" else None
        await _choose(house, ConfigChanges(on_timeout=OnTimeout.APPROVE, freeze=freeze))
        accepted = await house.accepted("wreck it")
        (approval,) = await _waiting(house)
        assert approval.on_timeout is OnTimeout.DENY
        await _pass_time(house)
        await house.final(accepted)
        assert wreck.runs == []
        await house.settled()


async def test_text_from_outside_makes_a_small_change_wait(site: Site) -> None:
    """L1 runs at once, until a log or a file was read in the conversation."""
    tweak = Probe("tweak", Level.L1, mutates=True)
    read = Probe("read", untrusted=True)
    begun = [
        Say("", tools=(ToolCall(id="a", name="tweak"),)),
        Say("", tools=(ToolCall(id="b", name="read"),)),
        Say("Read."),
    ]
    again = [Say("", tools=(ToolCall(id="c", name="tweak"),)), Say("Done.")]
    engine = ScriptedEngine(lambda request: again if "again" in request.text else begun)
    async with site.open(engine, tools=[tweak.tool(), read.tool()], humans=True) as house:
        await house.ask("tweak, then read")
        assert len(tweak.runs) == 1
        accepted = await house.accepted("tweak again")
        (approval,) = await _waiting(house)
        assert "text from outside" in " ".join(approval.card.risks)
        await _decide(house, approval, house.admin, approve=True)
        await house.final(accepted)
        assert len(tweak.runs) == 2
        await house.settled()


async def test_four_eyes(site: Site) -> None:
    """Who asked may deny, not approve; a viewer may neither."""
    wreck = _wreck()
    async with _open(site, wreck) as house:
        tenant = house.admin.tenant_id
        bob = await house.user(tenant, "bob@example.com")
        viewer = await house.user(tenant, "eve@example.com", Role.VIEWER)
        stranger = await house.tenant("other")
        await _choose(house, ConfigChanges(four_eyes=True))
        accepted = await house.accepted("wreck it")
        (approval,) = await _waiting(house)
        codes = []
        for who in (house.admin, viewer, stranger):
            refused = await _decide(house, approval, who, approve=True)
            assert isinstance(refused, Rejected)
            codes.append(refused.code)
        assert codes == ["four_eyes", "not_allowed", "not_found"]
        await _decide(house, approval, bob, approve=True)
        await _ended(house, accepted)
        assert len(wreck.runs) == 1


async def test_a_stop_ends_the_waiting(site: Site) -> None:
    """The turn ends as cancelled at once, and its question is void."""
    wreck = _wreck()
    async with _open(site, wreck) as house:
        accepted = await house.accepted("wreck it")
        (approval,) = await _waiting(house)
        done = await house.say("/stop")
        assert isinstance(done, ControlDone)
        assert (await house.final(accepted)).outcome == "cancelled"
        after = await house.core.fleet.desk.get(house.admin.tenant_id, approval.id)
        assert after is not None
        assert after.status is Status.VOID
        assert isinstance(await _decide(house, approval, house.admin, approve=True), Decided)
        assert wreck.runs == []


async def test_the_chat_decides(site: Site) -> None:
    """``/approve`` takes the one that waits here; said twice, the second hears of the first."""
    wreck = _wreck()
    async with _open(site, wreck) as house:
        nothing = await house.say("/approve")
        assert isinstance(nothing, ControlDone)
        assert "Nothing waits" in nothing.reply
        accepted = await house.accepted("wreck it")
        (approval,) = await _waiting(house)
        said = await house.say(f"/approve {approval.id[-6:]} go on", event="once")
        again = await house.say(f"/approve {approval.id[-6:]} go on", event="once")
        assert isinstance(said, ControlDone)
        assert said.reply.startswith("Approved by")
        assert again == said
        await _ended(house, accepted)
        assert len(wreck.runs) == 1


async def test_calls_of_one_answer_are_asked_together(site: Site) -> None:
    """Two that wait and one that reads: the read is done, both are asked, each runs once."""
    wreck, raze, look = _wreck(), Probe("raze", Level.L2, mutates=True), Probe("look")
    calls = (WRECK, ToolCall(id="t2", name="look"), ToolCall(id="t3", name="raze"))
    async with _open(site, wreck, raze, look, calls=calls) as house:
        accepted = await house.accepted("all of it")
        found = {approval.card.tool: approval for approval in await _waiting(house, 2)}
        one, two = found["wreck"], found["raze"]
        assert len(look.runs) == 1
        await _decide(house, one, house.admin, approve=True)
        await house.until(
            "SELECT COUNT(*) FROM approvals WHERE status = 'approved' AND used_at IS NOT NULL"
        )
        await _waiting(house)
        await _decide(house, two, house.admin, approve=False)
        await _ended(house, accepted)
        assert (len(wreck.runs), len(raze.runs), len(look.runs)) == (1, 0, 1)


async def test_the_next_message_waits_behind_the_question(site: Site) -> None:
    """The conversation keeps its order; another one is answered meanwhile."""
    wreck = _wreck()
    async with _open(site, wreck) as house:
        first = await house.accepted("wreck it")
        (approval,) = await _waiting(house)
        second = await house.accepted("/whoami")
        assert (await house.ask("/whoami", place="2")).outcome == "answered"
        open_turns = await house.rows("SELECT COUNT(*) FROM turns WHERE status <> 'done'")
        assert open_turns == [(2,)]
        await _decide(house, approval, house.admin, approve=False)
        await _ended(house, first)
        await _ended(house, second)


async def test_what_changed_since_the_approval_is_not_run(site: Site) -> None:
    """An approval is good for exactly what was shown."""
    wreck = _wreck(params=())
    async with _open(site, wreck) as house:
        accepted = await house.accepted("wreck it")
        (approval,) = await _waiting(house)
        await house.write("UPDATE approvals SET digest = 'of something else'")
        await _decide(house, approval, house.admin, approve=True)
        await _ended(house, accepted)
        assert wreck.runs == []
        assert "no longer what was approved" in await _output(house)


async def test_a_restart_forgets_no_question(site: Site) -> None:
    """Asked, the process dies, another one starts: decided there, run once."""
    wreck = _wreck()
    async with _open(site, wreck) as house:
        accepted = await house.accepted("wreck it")
        await _waiting(house)
        await house.crash()
    again = _wreck()
    async with _open(site, again) as house:
        (approval,) = await house.core.fleet.desk.pending(house.admin.tenant_id)
        await _decide(house, approval, house.admin, approve=True)
        await _ended(house, accepted)
        assert (len(wreck.runs), len(again.runs)) == (0, 1)


async def test_a_decision_that_comes_before_the_parking_is_not_missed(site: Site) -> None:
    """Decided between the commit of the question and the end of the attempt."""
    wreck = _wreck()
    async with _open(site, wreck) as house:
        desk, leases = house.core.fleet.desk, house.core.scheduler.leases
        park = leases.park

        async def late(*args: object, **more: object) -> None:
            (approval,) = await desk.pending(house.admin.tenant_id)
            await desk.decide(house.admin, approval.id, Decision(approve=True, where="test"))
            await park(*args, **more)  # type: ignore[arg-type]

        leases.park = late  # type: ignore[method-assign]
        accepted = await house.accepted("wreck it")
        async with asyncio.timeout(10):
            await _ended(house, accepted)
        assert len(wreck.runs) == 1


async def test_an_approver_elsewhere_is_asked(site: Site) -> None:
    """Bob's latest conversation gets the card; when it is decided it says so."""
    wreck = _wreck()
    async with _open(site, wreck) as house:
        bob = await house.user(house.admin.tenant_id, "bob@example.com")
        await house.ask("/whoami", bob)
        accepted = await house.accepted("wreck it")
        (approval,) = await _waiting(house)
        await house.until(
            "SELECT COUNT(*) FROM turns WHERE user_id = :bob AND status = 'done'"
            " AND event_id LIKE 'notice/approval/%'",
            bob=bob.id,
        )
        ((reply, buttons),) = await house.rows(
            "SELECT reply, offer FROM turns WHERE event_id LIKE 'notice/approval/%'"
        )
        assert approval.id[-6:] in reply
        assert json.loads(buttons) == {"approvals": [approval.id]}
        await _decide(house, approval, bob, approve=True)
        await _ended(house, accepted)
