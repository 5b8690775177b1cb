"""Which process a turn gets, and that none is lost: with scripted processes, real homes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from core.agent_config import Billing
from core.engines import agent_engine
from core.engines.agent_engine import AgentEngine
from core.engines.agent_process import AgentSettings, Start
from core.engines.engine import Credentials, EngineRequest
from core.engines.gateway import Gateway, GatewayConfig
from core.events import EngineSession
from core.steps import Exchange, ModelStep, ToolCall, ToolStep
from tests.contracts.engine_kit import Turn
from tests.core.engines.agent_kit import Script, ScriptedChild, ended, opened, streamed
from tests.support.cli_homes import a_place, homes_in

LOGIN = Credentials(billing=Billing.SUBSCRIPTION)


class Launcher:
    """Starts scripted processes, and remembers them."""

    def __init__(self) -> None:
        """Every process answers once."""
        self.script: Script = [opened(), *streamed("m1", "Fine."), ended()]
        self.started: list[tuple[Start, ScriptedChild]] = []

    async def __call__(self, start: Start) -> ScriptedChild:
        """Start one."""
        child = ScriptedChild(self.script, desk=start.desk)
        self.started.append((start, child))
        return child


@pytest.fixture
def launcher() -> Launcher:
    """Where the processes come from."""
    return Launcher()


@pytest.fixture
def engine(launcher: Launcher) -> Iterator[AgentEngine]:
    """An engine on the operator's login: no gateway is needed."""
    settings = AgentSettings(name="test", launch=launcher, keeps=True, login="token")
    with a_place() as place:
        yield AgentEngine(settings, homes_in(place), Gateway(GatewayConfig()))


def first(turn: Turn) -> EngineRequest:
    """The first message of a conversation."""
    return turn.request("One", credentials=LOGIN, user_id="u")


async def second(engine: AgentEngine) -> EngineRequest:
    """Answer the first message, and return the second one."""
    turn = Turn()
    await turn.play(engine, first(turn))
    steps = tuple(step for step in turn.log if isinstance(step, ModelStep))
    said = Exchange(user_text="One", steps=steps, reply=turn.shown)
    return replace(
        Turn().request("Two", credentials=LOGIN, user_id="u", history=[said]),
        turn_id="turn_2",
        previous_turn_id="turn_1",
    )


async def test_the_next_message_goes_to_the_process_that_waits(
    engine: AgentEngine, launcher: Launcher
) -> None:
    """It is asked the new message alone."""
    request = await second(engine)
    turn = Turn()
    await turn.play(engine, replace(request, meter=turn.meter, tools=turn, steering=turn))
    ((_, child),) = launcher.started
    assert [[block["text"] for block in asked] for asked in child.asked] == [["One"], ["Two"]]
    await engine.aclose()


@pytest.mark.parametrize("answered_before", [True, False])
async def test_a_turn_that_is_stopped_while_it_is_prepared_loses_no_process(
    engine: AgentEngine, *, answered_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a place of the pool nor a process without an owner is left behind."""
    request = await second(engine) if answered_before else first(Turn())
    begun, goes_on = threading.Event(), threading.Event()

    def slowly(_request: EngineRequest) -> tuple[()]:
        begun.set()
        goes_on.wait(10)
        return ()

    monkeypatch.setattr(agent_engine, "asked", slowly)
    monkeypatch.setattr(agent_engine, "told", slowly)

    async def play() -> None:
        async with aclosing(engine.run(request)) as events:
            async for _ in events:
                pass

    playing = asyncio.create_task(play())
    await asyncio.to_thread(begun.wait, 10)
    playing.cancel()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await playing
    await engine.forget(request.conversation_id)
    await engine.ended()
    assert engine.live == 0


async def test_a_rerun_leaves_no_session_to_be_taken_up(
    engine: AgentEngine, launcher: Launcher
) -> None:
    """What was written for this process alone is not resumed by a later one."""
    launcher.script = [opened(), *streamed("m2", "Done."), ended()]
    look = ToolCall(id="t1", name="look")
    steps = (
        ModelStep(call_id="c1", engine="test", model="m", text="", tool_calls=(look,)),
        ToolStep(tool_call_id="t1", name="look", output="fine"),
    )
    turn = Turn(steps=steps)
    await turn.play(engine, first(turn))
    assert [event.token for event in turn.of(EngineSession)] == [""]
    await engine.aclose()
