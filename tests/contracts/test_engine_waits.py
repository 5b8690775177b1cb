"""A call that waits for a human ends the attempt of every engine; the next one goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from core.agent_config import OnTimeout
from core.approvals import Approval, Card, Status, Waiting
from core.steps import ModelStep, ToolCall, ToolStep
from core.tools import ToolResult
from tests.contracts.engine_kit import Turn
from tests.contracts.engine_world import ALSO_CLI, World, world_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
any_model = pytest.mark.parametrize("engine", ALSO_CLI)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    """One world for the module; every test has a conversation of its own."""
    async with world_of() as made:
        yield made


def question(call: ToolCall) -> Approval:
    """What is asked about a call."""
    return Approval(
        id=f"appr_{call.id}",
        tenant_id="ten_1",
        turn_id="turn_1",
        conversation_id="conv_1",
        call_id=call.id,
        digest="d",
        card=Card(tool=call.name, action=call.name, level="L2"),
        asked_by="usr_1",
        four_eyes=False,
        on_timeout=OnTimeout.DENY,
        status=Status.PENDING,
        created_at_ms=1,
        expires_at_ms=2,
    )


@any_model
async def test_a_call_that_waits_ends_the_attempt_and_the_next_goes_on(
    world: World, engine: str
) -> None:
    """Both calls of one answer are begun; what ran is kept, what waits is raised, and asked again."""
    talk = world.talk()
    turn = Turn()
    request = talk.request(turn, '[[tool restart {"unit": "a"}]] [[tool look {}]]', engine=engine)
    run = turn._run

    async def waits(call: ToolCall) -> ToolResult:
        if call.name == "restart":
            raise Waiting([question(call)])
        return await run(call)

    turn._run = waits  # type: ignore[method-assign]
    with pytest.raises(Waiting) as raised:
        await turn.play(world.engine(engine), request)
    asked = [step for step in turn.log if isinstance(step, ModelStep)][-1].tool_calls
    (restart,) = [call for call in asked if call.name == "restart"]
    assert raised.value.ids == (f"appr_{restart.id}",)
    assert [step.name for step in turn.log if isinstance(step, ToolStep)] == ["look"]

    later = Turn(steps=tuple(turn.log))
    again = talk.request(later, request.text, engine=engine)
    await later.play(world.engine(engine), again)
    assert later.ran == {"restart": 1}
    answered = {step.tool_call_id for step in later.log if isinstance(step, ToolStep)}
    assert {call.id for call in asked} <= answered
