"""A process of Claude Code by script, and a turn around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from core.engines.agent_calls import ModelCalls, ReportedCalls
from core.engines.agent_said import Ended, Opened, Said, Streamed, ToolResulted, Whole
from core.engines.agent_tools import PREFIX, ToolDesk
from core.engines.agent_turn import AgentTurn
from core.metering import Usage
from core.steps import ToolCall
from core.tools import ToolResult
from tests.contracts.engine_kit import Turn

Block = dict[str, Any]
USAGE = Usage(input_tokens=100, output_tokens=9, cache_read_tokens=20, cache_write_5m_tokens=3)
TOLD: Block = {
    "input_tokens": 100,
    "output_tokens": 1,
    "cache_read_input_tokens": 20,
    "cache_creation_input_tokens": 3,
    "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 0},
}


@dataclass
class Ask:
    """The process calls a tool of ours, and goes on without waiting for its result."""

    call_id: str
    name: str


@dataclass
class Wait:
    """The process waits until something holds, or for the results of its calls."""

    holds: Callable[[], bool] | None = None


Script = Sequence[Said | Ask | Wait | Exception]


@dataclass
class ScriptedChild:
    """Says what its script says once it was asked. Implements ``Process``."""

    script: Script
    desk: ToolDesk = field(default_factory=ToolDesk)
    asked: list[Sequence[Block]] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)
    alive: bool = True
    closed: int = 0
    working: bool = False
    halted: list[int] = field(default_factory=list)
    """How many of its calls had their result when it was told to do nothing more."""

    async def ask(self, content: Sequence[Block]) -> None:
        """Keep it."""
        self.asked.append(content)

    async def said(self) -> AsyncGenerator[Said, None]:
        """Play the script; a process without more to say lives on in silence."""
        calls: list[asyncio.Task[ToolResult]] = []
        for item in self.script:
            match item:
                case Ask():
                    call = self.desk.call(ToolCall(id=item.call_id, name=item.name))
                    calls.append(asyncio.create_task(call))
                    await asyncio.sleep(0)
                case Wait(holds=None):
                    self.results += await asyncio.gather(*calls)
                case Wait(holds=holds):
                    while holds is not None and not holds():  # noqa: ASYNC110  # has no event
                        await asyncio.sleep(0)
                case Exception():
                    raise item
                case _:
                    yield item

    async def interrupt(self) -> None:
        """There is nothing to stop."""

    async def halt(self) -> None:
        """Note that it was, and whether a call had been answered by then."""
        self.halted.append(len(self.results))

    async def close(self) -> None:
        """End it."""
        self.alive = False
        self.closed += 1


def streamed(
    message_id: str, text: str = "", *tools: tuple[str, str], stop: str | None = "auto"
) -> list[Said]:
    """A streamed answer; ``stop`` None leaves out the stop reason, as the CLI does for a cut."""
    events: list[Block] = [
        {"type": "message_start", "message": {"id": message_id, "usage": TOLD}},
    ]
    blocks: list[Block] = []
    if text:
        index = len(blocks)
        start = {"type": "text", "text": ""}
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        for part in text.split("|"):
            delta = {"type": "text_delta", "text": part}
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
        blocks.append({"type": "text", "text": text.replace("|", "")})
    for call_id, name in tools:
        index = len(blocks)
        block = {"type": "tool_use", "id": call_id, "name": f"{PREFIX}{name}", "input": {}}
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events.append({"type": "content_block_stop", "index": index})
        blocks.append(block)
    reason = ("tool_use" if tools else "end_turn") if stop == "auto" else stop
    if reason is not None:
        usage = {**TOLD, "output_tokens": 9}
        events.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage})
    events.append({"type": "message_stop"})
    return [Streamed(event=event) for event in events]


def whole(message_id: str, *blocks: Block, failed: bool = False) -> Whole:
    """The same answer as one message."""
    return Whole(message_id=message_id, blocks=blocks, usage=USAGE, failed=failed)


def text_of(text: str) -> Block:
    """A text block."""
    return {"type": "text", "text": text}


def opened() -> Opened:
    """The first word of each turn."""
    return Opened(session_id="s-1")


def ended(kind: str = "success", *, failed: bool = False, status: int | None = None) -> Ended:
    """The last word of each turn."""
    return Ended(failed=failed, kind=kind, status=status, usage=USAGE)


def resulted(call_id: str, output: str, *, is_error: bool = False) -> ToolResulted:
    """A result as the process tells it."""
    return ToolResulted(tool_call_id=call_id, output=output, is_error=is_error)


@dataclass
class Played:
    """A turn that was played with a scripted process."""

    turn: Turn
    child: ScriptedChild
    agent: AgentTurn


def prepared(script: Script, turn: Turn | None = None, **changes: Any) -> Played:
    """A turn of its own meter, with the calls as the process reports them."""
    turn = turn or Turn()
    child = ScriptedChild(script)
    calls: ModelCalls = changes.pop("calls", None) or ReportedCalls(
        meter=turn.meter, engine="test", model="m", estimated_input=50, max_output=10
    )
    agent = AgentTurn(
        request=turn.request("hello", **changes),
        child=child,
        desk=child.desk,
        calls=calls,
        engine="test",
        halt=child.halt,
        working=lambda: child.working,
    )
    return Played(turn=turn, child=child, agent=agent)


async def play(script: Script, turn: Turn | None = None, **changes: Any) -> Played:
    """Play it to its end, as the turn runner does."""
    played = prepared(script, turn, **changes)
    await finish(played)
    return played


async def finish(played: Played) -> None:
    """Take in every event of a prepared turn."""
    async with aclosing(played.agent.run([text_of("hello")])) as events:
        async for event in events:
            played.turn.take_in(event)
