"""The tools by which a model proposes standing orders and reads them."""

from __future__ import annotations

from dataclasses import replace

from core.order_tools import LIST, PROPOSE, order_tools
from core.risk import Level
from core.standing_orders import OrderState, RunState
from core.tenants import Role
from core.tools import Arguments, Tool, ToolContext, ToolResult, check_arguments
from tests.core.orders_kit import NOW_MS, MemoryDesk, Still, run_of, stored

CONTEXT = ToolContext(
    tenant_id="t",
    user_id="u",
    turn_id="turn_1",
    role=Role.OPERATOR,
    conversation_id="c",
    call_id="call_1",
)
WANTED: Arguments = {
    "name": "Disks",
    "prompt": "How full are the disks?",
    "cron": "0 8 * * MON-FRI",
    "timezone": "Europe/Berlin",
    "only_if": "a disk is above 80 %",
    "budget_tokens": 1_000,
    "misfire": "once",
}


def tool(desk: MemoryDesk, name: str) -> Tool:
    """One of them."""
    return {made.spec.name: made for made in order_tools(desk, Still())}[name]


async def propose(
    desk: MemoryDesk, arguments: Arguments = WANTED, context: ToolContext = CONTEXT
) -> ToolResult:
    """What a proposal answers, its arguments checked."""
    made = tool(desk, PROPOSE)
    checked = check_arguments(made.spec, arguments)
    assert isinstance(checked, dict), checked
    return await made.run(context, checked)


async def test_a_proposal_is_stored_and_does_nothing() -> None:
    """The model gets the next times and the command that a person sends; a re-run adds none."""
    desk = MemoryDesk()
    for _ in range(2):
        result = await propose(desk)
        assert not result.is_error
    (order,) = desk.orders.values()
    assert (order.state, order.created_by, order.conversation_id) == ("proposed", "u", "c")
    assert (order.budget_tokens, order.misfire) == (1_000, "once")
    assert "Next: 2026-11-19 08:00, 2026-11-20 08:00, 2026-11-23 08:00" in result.output
    assert f"`/orders confirm {order.id}`" in result.output
    assert "You cannot confirm it for them." in result.output


async def test_what_it_would_do_is_assessed() -> None:
    """L1: with text from outside in the turn a human decides. What is wrong runs nothing."""
    made = tool(MemoryDesk(), PROPOSE)
    assessed = await made.assess(CONTEXT, WANTED)
    assert (assessed.level, assessed.problem) == (Level.L1, "")
    assert assessed.action.splitlines() == [
        "propose 0 8 * * MON-FRI Europe/Berlin: How full are the disks?",
        "name: Disks",
        "at most 1,000 tokens a month; late runs: once",
        "tells only if: a disk is above 80 %",
    ]
    always = await made.assess(CONTEXT, {**WANTED, "only_if": ""})
    assert "tells only if" not in always.action
    bad = await made.assess(CONTEXT, {**WANTED, "cron": "* * * * *"})
    assert "5 minutes" in bad.problem
    own = await made.assess(replace(CONTEXT, order_id="ord_1"), WANTED)
    assert "may not make" in own.problem


async def test_neither_an_order_nor_a_viewer_proposes() -> None:
    """Whatever the door decided, the desk refuses as well."""
    desk = MemoryDesk()
    for context in (replace(CONTEXT, order_id="ord_1"), replace(CONTEXT, role=Role.VIEWER)):
        assert (await propose(desk, context=context)).is_error
    assert (await propose(desk, {**WANTED, "timezone": "Mars/X"})).is_error
    assert desk.orders == {}


async def test_orders_are_listed_and_shown() -> None:
    """With the next time of what is active, and the history of one; reading is L0."""
    desk = MemoryDesk(orders={"ord_1": stored()})
    paused = replace(stored(order_id="ord_2"), state=OrderState.PAUSED, next_run_at_ms=None)
    desk.orders["ord_2"] = paused
    desk.ran.append(run_of("ord_1", NOW_MS, RunState.MISSED, "late"))
    made = tool(desk, LIST)
    assert (await made.assess(CONTEXT, {})).level is Level.L0
    listed = (await made.run(CONTEXT, {})).output.splitlines()
    assert listed[0].endswith("next: 2026-11-19 08:00")
    assert listed[1].endswith("next: -")
    shown = (await made.run(CONTEXT, {"id": "ord_1"})).output
    assert shown.endswith("- 2026-11-18 12:06: missed")
    assert (await made.run(CONTEXT, {"id": "ord_9"})).is_error
    elsewhere = replace(CONTEXT, tenant_id="t2")
    assert (await made.run(elsewhere, {})).output == "There are no standing orders."
    assert (await made.run(elsewhere, {"id": "ord_1"})).is_error
