"""Where the tool calls of a Claude Code process meet the turn that they belong to.

The process reaches our tools over the Model Context Protocol: in process through the SDK,
over loopback from the bare CLI. Either way a call names the model's own id of it
(``claudecode/toolUseId``), waits here until the turn has committed the model's step, runs
through the turn's door, and returns what the door returned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.steps import ToolCall
from core.tools import ToolResult, ToolSpec

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

SERVER = "it0"
PREFIX = f"mcp__{SERVER}__"
"""What Claude Code puts before the names of our tools."""
CALL_ID = "claudecode/toolUseId"
"""Where it puts the model's id of a call (read from the requests of CLI 2.1.330)."""


def bare(name: str) -> str:
    """Our own name of a tool."""
    return name.removeprefix(PREFIX)


def with_bare_name(event: dict[str, Any]) -> dict[str, Any]:
    """The event with a tool's name as we know it."""
    block = event.get("content_block")
    if not isinstance(block, dict) or block.get("type") != "tool_use":
        return event
    return {**event, "content_block": {**block, "name": bare(str(block["name"]))}}


@dataclass(slots=True, kw_only=True)
class Asked:
    """A call that waits for its result."""

    call: ToolCall
    result: asyncio.Future[ToolResult]

    def answer(self, result: ToolResult) -> None:
        """Give the process its result, unless it stopped waiting."""
        if not self.result.done():
            self.result.set_result(result)


@dataclass(slots=True)
class ToolDesk:
    """The tools of one process; ``take`` is the turn that it works on, if any."""

    specs: Sequence[ToolSpec] = ()
    take: Callable[[Asked], None] | None = None
    _waiting: set[asyncio.Future[ToolResult]] = field(default_factory=set)

    async def call(self, call: ToolCall) -> ToolResult:
        """Have the turn run it. Without a turn nothing runs, whoever asks."""
        if self.take is None:
            return ToolResult(output="No turn is running: nothing was done.", is_error=True)
        asked = Asked(call=call, result=asyncio.get_running_loop().create_future())
        self._waiting.add(asked.result)
        try:
            self.take(asked)
            return await asked.result
        finally:
            self._waiting.discard(asked.result)

    def close(self) -> None:
        """The turn is over: whoever still waits gets no result."""
        self.take = None
        for result in self._waiting:
            if not result.done():
                result.set_result(
                    ToolResult(output="The turn was ended: this was not run.", is_error=True)
                )


def tool_server(desk: ToolDesk) -> Server[dict[str, Any]]:
    """The tools as a server of the Model Context Protocol."""
    from mcp import types  # noqa: PLC0415  # heavy: only where such a process is started
    from mcp.server.lowlevel import Server  # noqa: PLC0415  # as above

    async def listed(_context: object, _params: object) -> types.ListToolsResult:
        return types.ListToolsResult(
            tools=[types.Tool.model_validate(_described(spec)) for spec in desk.specs]
        )

    async def called(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:  # noqa: ANN401  # generic over what we do not use
        call_id = str((context.meta or {}).get(CALL_ID, ""))
        result = await desk.call(
            ToolCall(id=call_id, name=params.name, arguments=dict(params.arguments or {}))
        )
        content = types.TextContent(type="text", text=result.output or "(no output)")
        return types.CallToolResult(content=[content], is_error=result.is_error)

    return Server(SERVER, on_list_tools=listed, on_call_tool=called)


def _described(spec: ToolSpec) -> dict[str, object]:
    return {
        "name": spec.name,
        "description": spec.description,
        "inputSchema": spec.json_schema(),
        # Calls of one answer run side by side, as with every engine: the door decides what
        # may run, and the CLI would queue what it takes for a change.
        "annotations": {"readOnlyHint": True},
        # Never written to a file that the model is to read in pieces: our door bounds it.
        "_meta": {"anthropic/alwaysLoad": True, "anthropic/maxResultSizeChars": 500_000},
    }
