"""The engine on the Claude Agent SDK: one live client a conversation, the CLI in its wheel.

Our tools are in-process MCP tools; the CLI's own are off, and a hook sees every call before
it runs: whatever is not a tool of the turn is denied, so that role, risk and approval cannot
be gone around.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from core.engines.agent_engine import AgentEngine
from core.engines.agent_pool import AgentPool, PoolLimits
from core.engines.agent_process import AgentSettings, Member, Start
from core.engines.agent_said import Ended, Opened, Said, Streamed, Whole, results_in, retrying
from core.engines.agent_tools import PREFIX, SERVER, ToolDesk, tool_server
from core.engines.claude_endings import MAX_MODEL_CALLS
from core.engines.claude_faults import UNUSABLE
from core.engines.claude_stream import usage_at_start
from core.engines.cli_home import Homes
from core.engines.cli_launch_safety import safe_options
from core.engines.gateway import Gateway

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, Message

ENGINE = "claude_agent_sdk"
CONNECT_S = 30.0
_LONGEST_LINE = 64 * 1024 * 1024
"""Bytes of one message of the process; the SDK's own limit is 1 MiB."""
_CLOSE_S = 25.0
"""More than the SDK takes to end a process that listens to nothing but SIGKILL."""
_log = structlog.get_logger()


def claude_agent_sdk(
    homes: Homes,
    gateway: Gateway,
    *,
    limits: PoolLimits | None = None,
    login: str | None = None,
    pool: AgentPool[Member] | None = None,
) -> AgentEngine:
    """The engine; ``login`` is the operator's own, for tenants that are billed by it."""
    settings = AgentSettings(
        name=ENGINE,
        launch=launch,
        keeps=True,
        limits=limits or PoolLimits(),
        login=login,
        imports=_imports,
    )
    return AgentEngine(settings, homes, gateway, pool)


def _imports() -> None:
    import claude_agent_sdk  # noqa: F401, PLC0415  # heavy: only where it is used


@dataclass(slots=True)
class SdkProcess:
    """A connected client. Implements ``Process``."""

    client: ClaudeSDKClient
    alive: bool = field(default=True)

    async def ask(self, content: Sequence[dict[str, Any]]) -> None:
        """Write one user message."""
        from claude_agent_sdk import ClaudeSDKError  # noqa: PLC0415  # loaded already

        async def messages() -> AsyncIterator[dict[str, Any]]:
            yield {
                "type": "user",
                "message": {"role": "user", "content": list(content)},
                "parent_tool_use_id": None,
            }

        try:
            await self.client.query(messages())
        except ClaudeSDKError as error:
            self.alive = False
            raise OSError(str(type(error).__name__)) from error

    async def said(self) -> AsyncGenerator[Said, None]:
        """Translate what it says."""
        from claude_agent_sdk import ClaudeSDKError  # noqa: PLC0415  # loaded already

        try:
            async for message in self.client.receive_messages():
                for said in _said(message):
                    yield said
        except ClaudeSDKError as error:
            self.alive = False
            raise OSError(str(type(error).__name__)) from error
        self.alive = False

    async def interrupt(self) -> None:
        """Ask it to stop."""
        from claude_agent_sdk import ClaudeSDKError  # noqa: PLC0415  # loaded already

        try:
            await self.client.interrupt()
        except ClaudeSDKError as error:
            self.alive = False
            raise OSError(str(type(error).__name__)) from error

    async def close(self) -> None:
        """Disconnect; the SDK ends its process."""
        self.alive = False
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self.client.disconnect()
        except Exception:  # noqa: BLE001  # nothing of it is needed any more
            _log.warning("agent.close_failed", exc_info=True)


async def launch(start: Start) -> SdkProcess:
    """Connect a client: starts the CLI and waits for its handshake."""
    from claude_agent_sdk import ClaudeSDKClient, ClaudeSDKError  # noqa: PLC0415  # heavy

    name = f"s-{uuid.uuid4()}.txt"
    prompt = await asyncio.to_thread(start.home.write_private, name, start.system)
    client = ClaudeSDKClient(_options(start, prompt))
    try:
        try:
            async with asyncio.timeout(CONNECT_S):
                await client.connect()
        finally:
            await asyncio.to_thread(start.home.erase_private, name)
    except (ClaudeSDKError, TimeoutError) as error:
        _log.warning("agent.connect_failed", error=type(error).__name__)
        raise UNUSABLE.failure() from error
    except BaseException:
        with suppress(Exception):
            await client.disconnect()
        raise
    return SdkProcess(client)


def _options(start: Start, prompt: Path) -> ClaudeAgentOptions:
    from claude_agent_sdk import ClaudeAgentOptions, HookMatcher  # noqa: PLC0415  # heavy

    server: Any = {"type": "sdk", "name": SERVER, "instance": tool_server(start.desk)}
    return ClaudeAgentOptions(
        cli_path=start.home.launcher,
        cwd=start.home.cwd,
        env=start.environment,
        model=start.model,
        # Not in the arguments, which every user of the machine can read.
        system_prompt={"type": "file", "path": str(prompt)},
        max_buffer_size=_LONGEST_LINE,
        mcp_servers={SERVER: server},
        allowed_tools=[f"{PREFIX}{spec.name}" for spec in start.desk.specs],
        include_partial_messages=True,
        hooks={"PreToolUse": [HookMatcher(hooks=[_guard(start.desk)])]},
        max_turns=MAX_MODEL_CALLS,
        stderr=lambda _line: None,
        **safe_options(),
        resume=start.session_id if start.resume else None,
        session_id=None if start.resume else start.session_id,
    )


def _guard(desk: ToolDesk) -> Any:  # noqa: ANN401  # the SDK's callback type is a union of dicts
    """Deny every call that is not one of the turn's own tools."""

    async def check(data: Any, _tool_use_id: str | None, _context: Any) -> Any:  # noqa: ANN401  # as above
        name = str(data.get("tool_name", ""))
        known = {f"{PREFIX}{spec.name}" for spec in desk.specs}
        if desk.take is not None and name in known:
            return {}
        return {
            "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "deny",
                "permissionDecisionReason": "This tool is not available here.",
            }
        }

    return check


def _said(message: Message) -> tuple[Said, ...]:
    """Translate one message of the SDK; kinds that say nothing to us are left out."""
    import claude_agent_sdk as sdk  # noqa: PLC0415  # loaded already

    match message:
        case sdk.StreamEvent(event=event, parent_tool_use_id=None):
            return (Streamed(event=event),)
        case sdk.AssistantMessage(parent_tool_use_id=None):
            whole = Whole(
                message_id=message.message_id or "",
                blocks=tuple(_block(block) for block in message.content),
                usage=usage_at_start(message.usage or {}),
                failed=message.error is not None or message.model == "<synthetic>",
            )
            return (whole,)
        case sdk.UserMessage(content=list() as content, parent_tool_use_id=None):
            return results_in([_block(block) for block in content])
        case sdk.SystemMessage(subtype="init", data=data):
            return (Opened(session_id=str(data.get("session_id") or "")),)
        case sdk.SystemMessage(subtype="api_retry", data=data):
            return (retrying(data),)
        case sdk.ResultMessage():
            ended = Ended(
                failed=message.is_error,
                kind=message.subtype,
                status=message.api_error_status,
                usage=usage_at_start(message.usage or {}),
            )
            return (ended,)
        case _:
            return ()


def _block(block: object) -> dict[str, Any]:
    """A content block as the API writes it; kinds that we do not use become empty ones."""
    import claude_agent_sdk as sdk  # noqa: PLC0415  # loaded already

    match block:
        case sdk.TextBlock(text=text):
            return {"type": "text", "text": text}
        case sdk.ToolUseBlock(id=call_id, name=name, input=arguments):
            return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}
        case sdk.ToolResultBlock(tool_use_id=call_id, content=content, is_error=is_error):
            return {
                "type": "tool_result",
                "tool_use_id": call_id,
                "content": content,
                "is_error": bool(is_error),
            }
        case _:
            return {"type": "other"}
