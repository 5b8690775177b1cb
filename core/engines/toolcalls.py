"""Running the tools that a model asked for, for engines that run their own tool loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing

from core.approvals import Approval, Waiting
from core.engines.engine import ToolDoor
from core.events import ToolFinished, ToolStarted
from core.steps import ModelStep, Step, ToolCall, ToolStep
from core.tools import ToolResult


def unanswered(steps: Sequence[Step]) -> tuple[ToolCall, ...]:
    """The tool calls of the last model step that have no result among these steps."""
    answered: set[str] = set()
    for step in reversed(steps):
        match step:
            case ToolStep():
                answered.add(step.tool_call_id)
            case ModelStep():
                return tuple(call for call in step.tool_calls if call.id not in answered)
            case _:
                pass
    return ()


async def run_tools(
    door: ToolDoor, calls: Sequence[ToolCall], steps: list[Step]
) -> AsyncGenerator[ToolStarted | ToolFinished, None]:
    """Run the calls of one answer side by side; tell and append their results in order.

    Those that wait for a human are raised together, when the others have ended. Whatever else
    the door raises ends the others, as does closing the generator.
    """
    if not calls:
        return
    for call in calls:
        yield ToolStarted(call_id=call.id, tool=call.name, summary=door.summary(call))
    running = [asyncio.ensure_future(door.call(call)) for call in calls]
    waits = Waits()
    try:
        for call, task in zip(calls, running, strict=True):
            try:
                result = await task
            except Waiting as waiting:
                waits.add(waiting)
                continue
            steps.append(tool_step(call, result))
            yield ToolFinished(
                call_id=call.id, tool=call.name, ok=not result.is_error, output=result.output
            )
        if (waiting_for := waits.all()) is not None:
            raise waiting_for
    finally:
        await _end(running)


async def run_rest(
    door: ToolDoor, calls: Sequence[ToolCall], steps: list[Step], waiting: Waiting
) -> AsyncGenerator[ToolStarted | ToolFinished, None]:
    """Run what is left of an answer of which a call waits; then raise all that wait."""
    waits = Waits()
    waits.add(waiting)
    try:
        async with aclosing(run_tools(door, calls, steps)) as events:
            async for event in events:
                yield event
    except Waiting as more:
        waits.add(more)
    raise waits.all() or waiting


class Waits:
    """Calls of one answer that wait for a human: their questions are raised together."""

    def __init__(self) -> None:
        """None waits yet."""
        self._approvals: list[Approval] = []

    def add(self, waiting: Waiting) -> None:
        """One more waits."""
        self._approvals += waiting.approvals

    def all(self) -> Waiting | None:
        """What the turn waits for; None when nothing does."""
        return Waiting(self._approvals) if self._approvals else None

    def when_alone(self, running: Collection[asyncio.Task[None]]) -> Waiting | None:
        """What the turn waits for, once no other of these tasks runs any more."""
        others = (task for task in running if task is not asyncio.current_task())
        return self.all() if all(task.done() for task in others) else None


async def _end(running: Sequence[asyncio.Future[ToolResult]]) -> None:
    """Cancel what still runs and wait for it: a tool is never left without an owner."""
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def tool_step(call: ToolCall, result: ToolResult) -> ToolStep:
    """The result as it is committed."""
    return ToolStep(
        tool_call_id=call.id, name=call.name, output=result.output, is_error=result.is_error
    )
