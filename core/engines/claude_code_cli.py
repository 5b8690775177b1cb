"""The engine on the bare Claude Code CLI: a process a turn, driven over its pipes.

Prompts go in and events come out as JSON lines. Our tools, and the answer to whether a tool
may run, are at a loopback address that only this process knows (``mcp_endpoint``). The CLI
keeps the conversation in its own session file, which the next turn's process resumes.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from core.engines.agent_engine import AgentEngine
from core.engines.agent_pool import AgentPool, PoolLimits
from core.engines.agent_process import AgentSettings, Member, Start
from core.engines.agent_said import Said, said_in
from core.engines.agent_tools import PREFIX, SERVER, ToolDesk, tool_server
from core.engines.claude_endings import MAX_MODEL_CALLS
from core.engines.claude_faults import UNUSABLE
from core.engines.cli_home import Home, Homes
from core.engines.cli_launch_safety import SAFE_FLAGS, user_line
from core.engines.gateway import Gateway
from core.engines.mcp_endpoint import McpEndpoint, McpRoute

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

ENGINE = "claude_code_cli"
START_S = 60.0
APPROVE = "approve"
_LINE_LIMIT = 64 * 1024 * 1024
"""Bytes of one line of the CLI; a message may carry what a tool returned."""
_TERM_S = 3.0
_KILL_S = 5.0
_STDERR_KEPT = 16_384
_STDERR_LOGGED = 300
_OUR_MODE = "--permission-mode=default"
"""Whoever is not asked cannot deny: in ``dontAsk`` the CLI decides by names alone."""
_FLAGS = tuple(_OUR_MODE if flag.startswith("--permission-mode") else flag for flag in SAFE_FLAGS)
_log = structlog.get_logger()


def claude_code_cli(
    homes: Homes,
    gateway: Gateway,
    *,
    limits: PoolLimits | None = None,
    login: str | None = None,
    pool: AgentPool[Member] | None = None,
) -> AgentEngine:
    """The engine; ``login`` is the operator's own, for tenants that are billed by it."""
    endpoint = McpEndpoint()

    async def launched(start: Start) -> CliProcess:
        return await launch(start, endpoint)

    settings = AgentSettings(
        name=ENGINE,
        launch=launched,
        keeps=False,
        limits=limits or PoolLimits(),
        login=login,
        imports=_imports,
    )
    return AgentEngine(settings, homes, gateway, pool)


def _imports() -> None:
    import mcp.server.lowlevel  # noqa: F401, PLC0415  # heavy: only where it is used


async def launch(start: Start, endpoint: McpEndpoint) -> CliProcess:
    """Start the CLI and wait for its handshake."""
    route = await endpoint.open(approving_server(start.desk))
    papers = _Papers(start.home)
    process: CliProcess | None = None
    try:
        arguments = await asyncio.to_thread(_arguments, start, route, papers)
        creating = asyncio.create_task(_create(start, arguments))
        try:
            child = await asyncio.shield(creating)
        except asyncio.CancelledError:
            # asyncio would end its leader alone, and wait for whoever else holds its pipes.
            process = CliProcess(await creating, route, papers, _secrets(start, route))
            raise
        process = CliProcess(child, route, papers, _secrets(start, route))
        async with asyncio.timeout(START_S):
            await process.greet()
    except BaseException as error:
        if process is None:
            await route.close()
            await asyncio.to_thread(papers.burn)
        else:
            await asyncio.shield(process.close())
        if isinstance(error, TimeoutError | OSError):
            _log.warning("agent.connect_failed", error=type(error).__name__)
            raise UNUSABLE.failure() from error
        raise
    return process


async def _create(start: Start, arguments: Sequence[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        start.home.launcher,
        *arguments,
        cwd=start.home.cwd,
        env=start.environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        limit=_LINE_LIMIT,
    )


@dataclass(slots=True)
class CliProcess:
    """A running CLI. Implements ``Process``."""

    child: asyncio.subprocess.Process
    route: McpRoute
    papers: _Papers
    hidden: tuple[str, ...] = field(repr=False)
    """What must not be logged."""
    _over: bool = False
    _complaints: bytes = b""
    """The end of stderr."""
    _draining: asyncio.Task[None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Read stderr from the start, so that it never blocks the process."""
        self._draining = asyncio.create_task(self._drain())

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return not self._over and self.child.returncode is None

    async def greet(self) -> None:
        """Wait until it has read its configuration and its session. Raises OSError."""
        await self._write(_control("initialize", hooks=None))
        while (line := await self._line()) is not None:
            if line.get("type") == "control_response":
                if line.get("response", {}).get("subtype") != "success":
                    raise ConnectionError("the CLI refused the handshake")
                return
        raise BrokenPipeError("the CLI ended before its handshake")

    async def ask(self, content: Sequence[dict[str, Any]]) -> None:
        """Write one user message, with whatever is attached to it."""
        await self._write(user_line(content))

    async def said(self) -> AsyncGenerator[Said, None]:
        """Translate what it says."""
        while (line := await self._line()) is not None:
            for said in said_in(line):
                yield said

    async def interrupt(self) -> None:
        """Ask it to stop."""
        await self._write(_control("interrupt"))

    async def close(self) -> None:
        """End its whole process group, and make void what it knew."""
        by_itself = not self.alive
        try:
            await self._end()
        except Exception:  # noqa: BLE001  # nothing of it is needed any more
            _log.warning("agent.close_failed", engine=ENGINE, exc_info=True)
        await asyncio.wait((self._draining,), timeout=_KILL_S)
        self._draining.cancel()
        await asyncio.gather(self._draining, return_exceptions=True)
        # A pipe that was full when it ended is never read to its end, and would stay open.
        if (transport := getattr(self.child, "_transport", None)) is not None:
            transport.close()
        if by_itself:
            _log.warning("agent.cli_ended", code=self.child.returncode, stderr=self._told())
        await self.route.close()
        await asyncio.to_thread(self.papers.burn)

    async def _end(self) -> None:
        """TERM lets it write its session to the end; KILL ends what did not listen."""
        self._signal(signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_TERM_S):
                await self.child.wait()
        self._over = True
        self._signal(signal.SIGKILL)  # also for what its leader left behind
        async with asyncio.timeout(_KILL_S):
            await self.child.wait()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.child.pid, number)

    async def _write(self, line: bytes) -> None:
        assert self.child.stdin is not None  # noqa: S101  # it is a pipe
        if not self.alive:
            raise BrokenPipeError("the CLI has ended")
        self.child.stdin.write(line)
        try:
            await self.child.stdin.drain()
        except OSError:
            self._over = True
            raise

    async def _line(self) -> dict[str, Any] | None:
        """The next message; None at the end. Raises OSError for a line that is too long."""
        assert self.child.stdout is not None  # noqa: S101  # it is a pipe
        while True:
            try:
                raw = await self.child.stdout.readline()
            except ValueError as error:
                raise OSError("a line of the CLI is too long") from error
            if not raw:
                self._over = True
                return None
            with suppress(ValueError):  # not a message: nothing that we could understand
                line = json.loads(raw)
                if isinstance(line, dict):
                    return line

    async def _drain(self) -> None:
        assert self.child.stderr is not None  # noqa: S101  # it is a pipe
        while chunk := await self.child.stderr.read(_STDERR_KEPT):
            self._complaints = (self._complaints + chunk)[-_STDERR_KEPT:]

    def _told(self) -> str:
        """What it complained about last, without secrets."""
        told = self._complaints.decode(errors="replace")
        for secret in self.hidden:
            told = told.replace(secret, "***")
        return told[-_STDERR_LOGGED:].strip()


@dataclass(frozen=True, slots=True)
class _Papers:
    """Files that one process is given: what must not stand in its arguments."""

    home: Home
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    """Of this process: another one of the session may be ending."""

    def write(self, system: str, route: McpRoute) -> tuple[str, str]:
        """The paths of the system prompt and of the MCP configuration. Blocking; OSError."""
        server = {
            "type": "http",
            "url": route.url,
            "headers": {"Authorization": route.authorization},
        }
        prompt = self.home.write_private(self._prompt, system)
        config = self.home.write_private(self._config, json.dumps({"mcpServers": {SERVER: server}}))
        return str(prompt), str(config)

    def burn(self) -> None:
        """Erase them, unless the whole home is gone. Blocking."""
        self.home.erase_private(self._prompt, self._config)

    @property
    def _prompt(self) -> str:
        return f"p-{self.name}.txt"

    @property
    def _config(self) -> str:
        return f"m-{self.name}.json"


def _arguments(start: Start, route: McpRoute, papers: _Papers) -> list[str]:
    """The command line. Blocking: what is secret in it is written to files."""
    prompt, config = papers.write(start.system, route)
    return [
        "-p",
        "--output-format=stream-json",
        "--verbose",
        "--include-partial-messages",
        *_FLAGS,
        f"--model={start.model}",
        f"--max-turns={MAX_MODEL_CALLS}",
        f"--system-prompt-file={prompt}",
        f"--mcp-config={config}",
        f"--permission-prompt-tool={PREFIX}{APPROVE}",
        f"--{'resume' if start.resume else 'session-id'}={start.session_id}",
    ]


def _secrets(start: Start, route: McpRoute) -> tuple[str, ...]:
    names = ("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN")
    known = [start.environment[name] for name in names if start.environment.get(name)]
    return (*known, route.authorization.removeprefix("Bearer "), route.id)


def _control(subtype: str, **more: object) -> bytes:
    """A line that steers the CLI, as the SDK writes it."""
    line = {
        "type": "control_request",
        "request_id": secrets.token_hex(4),
        "request": {"subtype": subtype, **more},
    }
    return json.dumps(line).encode() + b"\n"


def approving_server(desk: ToolDesk) -> Server[dict[str, Any]]:
    """The tools, and one that the CLI asks before it runs any of them.

    The CLI does not offer that one to the model, and whoever calls it changes nothing. It
    is asked of every call because no tool is allowed by name.
    """
    from mcp import types  # noqa: PLC0415  # heavy: only where such a process is started

    server = tool_server(desk)
    listed, called = (server.get_request_handler(f"tools/{name}") for name in ("list", "call"))
    assert listed is not None  # noqa: S101  # tool_server sets both
    assert called is not None  # noqa: S101  # as above

    async def list_all(context: Any, params: Any) -> types.ListToolsResult:  # noqa: ANN401  # passed on
        result: Any = await listed.handler(context, params)
        return types.ListToolsResult(
            tools=[*result.tools, types.Tool.model_validate(_APPROVE_TOOL)]
        )

    async def call(context: Any, params: types.CallToolRequestParams) -> Any:  # noqa: ANN401  # as above
        if params.name != APPROVE:
            return await called.handler(context, params)
        verdict = json.dumps(_verdict(desk, params.arguments or {}))
        return types.CallToolResult(content=[types.TextContent(type="text", text=verdict)])

    server.add_request_handler("tools/list", types.PaginatedRequestParams, list_all)
    server.add_request_handler("tools/call", types.CallToolRequestParams, call)
    return server


_APPROVE_TOOL: dict[str, object] = {
    "name": APPROVE,
    "description": "Whether a tool may run.",
    "inputSchema": {"type": "object"},
    "_meta": {"anthropic/alwaysLoad": True},
}


def _verdict(desk: ToolDesk, asked: dict[str, Any]) -> dict[str, Any]:
    """Allow exactly the turn's own tools, with the input as it is."""
    known = {f"{PREFIX}{spec.name}" for spec in desk.specs}
    if desk.take is not None and str(asked.get("tool_name")) in known:
        return {"behavior": "allow", "updatedInput": asked.get("input") or {}}
    return {"behavior": "deny", "message": "This tool is not available here."}
