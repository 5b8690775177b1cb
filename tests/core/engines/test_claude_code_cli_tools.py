from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mcp.client import Client

from core.engines import claude_code_cli as engines
from core.engines.agent_engine import AgentEngine
from core.engines.agent_tools import Asked, ToolDesk
from core.engines.claude_code_cli import APPROVE, approving_server, claude_code_cli
from core.engines.cli_home import Homes, HomesConfig
from core.engines.gateway import Gateway
from core.events import ToolFinished, ToolStarted
from core.steps import ToolCall
from core.tools import ToolResult
from tests.contracts.engine_kit import SPECS, Turn
from tests.core.engines.gateway_kit import config_of, until
from tests.fakes.anthropic import FakeAnthropic


@pytest.fixture
async def fake() -> AsyncIterator[FakeAnthropic]:
    """The provider."""
    async with FakeAnthropic() as started:
        yield started


@pytest.fixture
async def engine(fake: FakeAnthropic, tmp_path: Any) -> AsyncIterator[AgentEngine]:
    """The engine with the real CLI."""
    gateway = Gateway(config_of(fake.url, stall_timeout_s=5))
    made = claude_code_cli(Homes(HomesConfig(root=tmp_path / "agents")), gateway)
    yield made
    await made.aclose()
    await gateway.aclose()


class Waiting(Turn):
    """A turn whose tools wait, as for an approval."""

    waiting = False

    async def call(self, call: ToolCall) -> ToolResult:
        """Wait for ever."""
        self.waiting = True
        try:
            await asyncio.Event().wait()
        finally:
            self.waiting = False
        raise AssertionError


async def test_the_cli_asks_before_every_call_and_takes_a_no(
    engine: AgentEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is denied does not run, and the model reads why; what is allowed runs as asked."""
    asked: list[dict[str, Any]] = []
    verdict = engines._verdict

    def recording(desk: ToolDesk, request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        if request["tool_name"] == "mcp__it0__look":
            return {"behavior": "deny", "message": "Not on a Sunday."}
        return verdict(desk, request)

    monkeypatch.setattr(engines, "_verdict", recording)
    turn = Turn()
    text = '[[tool mcp__it0__look {}]] [[tool mcp__it0__restart {"unit": "nginx"}]]'
    await turn.play(engine, turn.request(text))
    assert [(a["tool_name"], a["input"]) for a in asked] == [
        ("mcp__it0__look", {}),
        ("mcp__it0__restart", {"unit": "nginx"}),
    ]
    started = {event.tool: event.call_id for event in turn.of(ToolStarted)}
    assert [a["tool_use_id"] for a in asked] == [started["look"], started["restart"]]
    assert turn.ran == {"restart": 1}
    (denied,) = (event for event in turn.of(ToolFinished) if event.tool == "look")
    assert not denied.ok
    assert "Not on a Sunday." in denied.output
    assert "unit': 'nginx'" in next(e.summary for e in turn.of(ToolStarted) if e.tool == "restart")


async def test_the_model_has_our_tools_and_no_other(
    engine: AgentEngine, fake: FakeAnthropic
) -> None:
    """It is not offered the approval, and calling that or a tool of the CLI does nothing."""
    turn = Turn()
    tools = ('mcp__it0__approve {"tool_name": "mcp__it0__look"}', 'Bash {"command": "id"}')
    await turn.play(engine, turn.request(" ".join(f"[[tool {tool}]]" for tool in tools)))
    offered = {tool.get("name") for tool in fake.seen[0].body["tools"]}
    assert {f"mcp__it0__{spec.name}" for spec in SPECS} <= offered
    assert not {f"mcp__it0__{APPROVE}", "Bash", "Read"} & offered
    assert not turn.ran
    outputs = [event.output for event in turn.of(ToolFinished)]
    assert len(outputs) == 2
    assert all("No such tool available" in output for output in outputs)


async def test_leaving_while_a_tool_waits_leaves_nothing_behind(engine: AgentEngine) -> None:
    """The waiting call is cancelled with the turn, and the process ends."""
    turn = Waiting()
    request = turn.request("[[tool mcp__it0__look {}]]")
    playing = asyncio.create_task(turn.play(engine, request))
    await until(lambda: turn.waiting, within_s=30)
    playing.cancel()
    await asyncio.wait([playing])
    await engine.ended()
    assert not turn.waiting
    await engine.ended()
    assert engine.live == 0


async def verdict_on(desk: ToolDesk, tool: str, **arguments: object) -> dict[str, Any]:
    """What the approval tool answers."""
    question = {"tool_name": tool, "input": arguments, "tool_use_id": "toolu_1"}
    async with Client(approving_server(desk)) as client:
        result = await client.call_tool(APPROVE, question)
    (content,) = result.content
    assert content.type == "text"
    verdict: dict[str, Any] = json.loads(content.text)
    return verdict


async def test_the_turns_own_tools_are_approved_as_they_are() -> None:
    """The input is not changed, and asking runs nothing."""
    ran: list[Asked] = []
    desk = ToolDesk(specs=SPECS, take=ran.append)
    verdict = await verdict_on(desk, "mcp__it0__restart", unit="nginx")
    assert verdict == {"behavior": "allow", "updatedInput": {"unit": "nginx"}}
    assert not ran


@pytest.mark.parametrize(
    "tool", ["Bash", "restart", "mcp__it0__approve", "mcp__other__restart", "mcp__it0__", ""]
)
async def test_whatever_else_there_is_is_denied(tool: str) -> None:
    """Whether the CLI's own, of another server, or the approval itself."""
    desk = ToolDesk(specs=SPECS, take=lambda _asked: None)
    assert (await verdict_on(desk, tool))["behavior"] == "deny"


async def test_nothing_is_approved_without_a_turn() -> None:
    """The tools are known, but nobody works."""
    assert (await verdict_on(ToolDesk(specs=SPECS), "mcp__it0__look"))["behavior"] == "deny"


async def test_a_question_that_is_none_is_denied() -> None:
    """No argument is taken on trust."""
    desk = ToolDesk(specs=SPECS, take=lambda _asked: None)
    async with Client(approving_server(desk)) as client:
        result = await client.call_tool(APPROVE, {"tool_name": ["mcp__it0__look"]})
    assert "deny" in str(result.content)
