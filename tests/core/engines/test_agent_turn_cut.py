"""Turns that do not end by themselves: stopped, hanging, or too large for the process."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from core.engines import agent_turn
from core.errors import EngineFailure
from core.events import ToolStarted
from core.steps import ToolStep
from core.tools import ToolResult
from tests.contracts.engine_kit import Turn
from tests.core.engines.agent_kit import (
    Ask,
    Script,
    Wait,
    ended,
    finish,
    opened,
    prepared,
    streamed,
    text_of,
    whole,
)

CALLING: Script = [opened(), *streamed("m1", "", ("t1", "restart")), Ask("t1", "restart"), Wait()]


async def test_a_stopped_process_does_nothing_more_before_its_calls_are_answered() -> None:
    """It would go on with "was not run" while the change is let finish, and be paid for it."""
    turn, done = Turn(), asyncio.Event()
    played = prepared(CALLING, turn)

    async def run(_call: object) -> ToolResult:
        await done.wait()
        return ToolResult(output="restarted")

    turn._run = run  # type: ignore[assignment, method-assign]
    async with aclosing(played.agent.run([text_of("go")])) as events:
        async for event in events:
            turn.take_in(event)
            if isinstance(event, ToolStarted):
                break
    assert played.child.halted == [0]
    assert not played.agent.settled
    assert not any(isinstance(step, ToolStep) for step in turn.log)


async def test_a_turn_that_ended_by_itself_needs_no_halt() -> None:
    """Its process waits for the next message."""
    played = prepared([opened(), *streamed("m1", "Fine."), ended()])
    await finish(played)
    assert played.child.halted == []
    assert played.agent.settled


async def test_a_process_that_neither_works_nor_speaks_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also after its first words; one that waits for the provider has the gateway's limits."""
    monkeypatch.setattr(agent_turn, "QUIET_S", 0.01)
    silent: Script = [opened(), *streamed("m1", "Let me", stop=None), Wait(lambda: False)]
    with pytest.raises(EngineFailure) as failure:
        await finish(prepared(silent))
    assert failure.value.reason == "engine_crashed"
    played = prepared(silent)
    played.child.working = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await finish(played)


async def test_a_slow_tool_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """An approval may take minutes, in which the process says nothing."""
    monkeypatch.setattr(agent_turn, "QUIET_S", 0.01)
    turn = Turn()
    played = prepared([*CALLING, *streamed("m2", "Done."), ended()], turn)

    async def run(_call: object) -> ToolResult:
        await asyncio.sleep(0.1)
        return ToolResult(output="restarted")

    turn._run = run  # type: ignore[assignment, method-assign]
    await finish(played)
    assert turn.shown == "Done."


async def test_a_process_that_believes_itself_full_is_no_crash() -> None:
    """The CLI refuses by its own count, without asking the provider: another one may do."""
    script: Script = [
        opened(),
        whole("m1", text_of("Prompt is too long"), failed=True),
        ended(failed=True),
    ]
    with pytest.raises(EngineFailure) as failure:
        await finish(prepared(script))
    assert failure.value.reason == "session_full"
