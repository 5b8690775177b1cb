"""What the engine contract runs against: one kit per engine, and the ports around it.

A kit says how to start its engine and how to bring it into each ``Case`` by the text of a
message. To add an engine: write a kit and append it to ``KITS``; a case that an engine
cannot be brought into (the runbook engine has no provider that could fail) is left out of
its ``prompts``.
"""

from __future__ import annotations

import base64
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar

from core.engines.claude_agent_sdk import claude_agent_sdk
from core.engines.claude_api import ClaudeApiConfig, ClaudeApiEngine
from core.engines.claude_code_cli import claude_code_cli
from core.engines.cli_home import Homes, HomesConfig
from core.engines.engine import Engine, EngineRequest
from core.engines.gateway import Gateway, GatewayConfig
from core.engines.replies import joined_text
from core.engines.runbook import RunbookEngine
from core.events import (
    Completed,
    ModelCallFinished,
    Notice,
    TextDelta,
    TextReset,
    ToolFinished,
    ToolStarted,
    TurnEvent,
)
from core.fleet.inventory import LocalInventory, Server, ServerKind
from core.messages import Attachment
from core.metering import Grant, QuotaRefusal, Usage
from core.skills import FixedShelf, SkillLibrary
from core.steps import Exchange, SteerStep, Step, ToolCall, ToolStartedStep, ToolStep
from core.tools import Param, ToolResult, ToolSpec
from tests.fakes.anthropic import SECRET_WORD, FakeAnthropic
from tests.fakes.scripted_engine import Fail, Say, ScriptedEngine

T = TypeVar("T")

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FILES = (
    Attachment(name="graph.png", media_type="image/png", data=PNG),
    Attachment(name="report.pdf", media_type="application/pdf", data=b"%PDF-1.4 fake"),
    Attachment(name="sys.log", media_type="text/plain", data="disk full \u00e4\n".encode()),
    Attachment(name="empty.txt", media_type="text/plain", data=b""),
)


class Case(StrEnum):
    """A situation an engine must handle."""

    TEXT = "text"
    """Answers with text, no tool."""
    TOOL = "tool"
    """Calls ``look`` once, then answers."""
    REFUSED_TOOL = "refused_tool"
    """Calls ``forbidden``, which the door refuses, then answers."""
    STEPS = "steps"
    """Text and ``restart``, text and ``look``, then text."""
    SLOW = "slow"
    """Streams text for longer than the test waits."""
    FILES = "files"
    """Answers a message with ``FILES``."""
    FAILS = "fails"
    """The provider fails for good before any text."""
    FAILS_MIDWAY = "fails_midway"
    """The provider fails for good, each time after some text."""
    RECOVERS_MIDWAY = "recovers_midway"
    """The provider fails once after some text."""


class EngineKit(Protocol):
    """How to test one engine."""

    name: str
    has_model: bool
    prompts: dict[Case, str]
    """The message text that leads into each case."""

    def start(self) -> AbstractAsyncContextManager[Engine]:
        """The engine, for one test."""


class ScriptedKit:
    """The scripted engine of ``tests.fakes``."""

    name = "scripted"
    has_model = True
    prompts = {case: case.value for case in Case}  # noqa: RUF012  # a table

    @asynccontextmanager
    async def start(self) -> AsyncIterator[Engine]:
        """Play the script that the message names."""
        yield ScriptedEngine(lambda request: _SCRIPTS[Case(request.text)])


_SCRIPTS: dict[Case, list[Say | Fail]] = {
    Case.TEXT: [Say("All is well.")],
    Case.TOOL: [Say("", tools=(ToolCall(id="t1", name="look"),)), Say("Looked.")],
    Case.REFUSED_TOOL: [Say("", tools=(ToolCall(id="t1", name="forbidden"),)), Say("No.")],
    Case.STEPS: [
        Say("First", tools=(ToolCall(id="t1", name="restart"),), thinking="hm"),
        Say("Second", tools=(ToolCall(id="t2", name="look"),)),
        Say("Third."),
    ],
    Case.SLOW: [Say("word " * 10_000, pause_s=0.01)],
    Case.FILES: [Say("Nice files.")],
    Case.FAILS: [Fail()],
    Case.FAILS_MIDWAY: [Say("one two three", fail_after=2)],
    Case.RECOVERS_MIDWAY: [Say("one two three", restart_after=2)],
}


class ClaudeApiKit:
    """The Messages API engine against its fake."""

    name = "claude_api"
    has_model = True
    prompts = {  # noqa: RUF012  # a table
        Case.TEXT: "hello",
        Case.TOOL: "[[tool look {}]]",
        Case.REFUSED_TOOL: "[[tool forbidden {}]]",
        Case.STEPS: 'First [[thinking]] [[tool restart {"unit": "nginx"}]] [[then]] '
        "Second [[text 2]] [[tool look {}]] [[then]] [[text 3]]",
        Case.SLOW: "[[text 10000]] [[chunk 10]]",
        Case.FILES: "look at these",
        Case.FAILS: "[[status 500]]",
        Case.FAILS_MIDWAY: "[[drop 2]]",
        Case.RECOVERS_MIDWAY: "[[drop 2]] [[times 1]]",
    }

    @asynccontextmanager
    async def start(self) -> AsyncIterator[Engine]:
        """Start the fake provider and the engine."""
        async with FakeAnthropic() as fake:
            engine = ClaudeApiEngine(claude_config(fake.url))
            try:
                yield engine
            finally:
                await engine.aclose()


class ClaudeAgentSdkKit:
    """The Agent SDK with the real CLI of its wheel, through the gateway, against the fake."""

    name = "claude_agent_sdk"
    has_model = True
    prompts = {  # noqa: RUF012  # a table
        case: prompt.replace("[[tool ", "[[tool mcp__it0__")
        for case, prompt in ClaudeApiKit.prompts.items()
    }

    @asynccontextmanager
    async def start(self) -> AsyncIterator[Engine]:
        """Start the fake provider, the gateway and the engine; processes come with turns."""
        async with agent_parts() as (homes, gateway):
            engine = claude_agent_sdk(homes, gateway)
            try:
                yield engine
            finally:
                await engine.aclose()


class ClaudeCodeCliKit:
    """The bare CLI, one process a turn, through the gateway, against the fake."""

    name = "claude_code_cli"
    has_model = True
    prompts = ClaudeAgentSdkKit.prompts

    @asynccontextmanager
    async def start(self) -> AsyncIterator[Engine]:
        """Start the fake provider, the gateway and the engine; processes come with turns."""
        async with agent_parts() as (homes, gateway):
            engine = claude_code_cli(homes, gateway)
            try:
                yield engine
            finally:
                await engine.aclose()


@asynccontextmanager
async def agent_parts() -> AsyncIterator[tuple[Homes, Gateway]]:
    """What the engines on Claude Code stand on, before a fake provider."""
    with tempfile.TemporaryDirectory() as folder:
        async with FakeAnthropic() as fake:
            gateway = Gateway(
                GatewayConfig(
                    api_key="sk-test", base_url=fake.url, stall_timeout_s=10, backoff_s=0.01
                )
            )
            try:
                yield Homes(HomesConfig(root=Path(folder) / "agents")), gateway
            finally:
                await gateway.aclose()


class RunbookKit:
    """The offline engine, with skills for the tools of these tests."""

    name = "runbook"
    has_model = False
    prompts = {  # noqa: RUF012  # a table
        Case.TEXT: "hello",
        Case.TOOL: "look around",
        Case.REFUSED_TOOL: "forbidden fruit",
        Case.FILES: "look around",
    }

    @asynccontextmanager
    async def start(self) -> AsyncIterator[Engine]:
        """Load two skills from files."""
        server = Server(id="srv_1", tenant_id="ten_1", name="local", kind=ServerKind.LOCAL)
        with tempfile.TemporaryDirectory() as folder:
            for tool, trigger in (("look", "look around"), ("forbidden", "forbidden fruit")):
                front = f'name: {tool}\ndescription: Test.\ntriggers: ["{trigger}"]\ntool: {tool}'
                (Path(folder) / f"{tool}.md").write_text(f"---\n{front}\n---\nA test.\n")
            skills = FixedShelf(SkillLibrary.load(Path(folder)))
        yield RunbookEngine(skills=skills, inventory=LocalInventory(server=server))


def claude_config(url: str, **changes: object) -> ClaudeApiConfig:
    """A configuration that is as impatient as a test."""
    defaults = {"api_key": "sk-test", "base_url": url, "stall_timeout_s": 10, "backoff_s": 0.01}
    return ClaudeApiConfig(**{**defaults, **changes})  # type: ignore[arg-type]


KITS: tuple[EngineKit, ...] = (
    ScriptedKit(),
    ClaudeApiKit(),
    ClaudeAgentSdkKit(),
    ClaudeCodeCliKit(),
    RunbookKit(),
)

SPECS = (
    ToolSpec(name="look", description="Look at a server.", params=()),
    ToolSpec(
        name="restart",
        description="Restart a unit.",
        params=(Param(name="unit", kind="string", description="Which one"),),
    ),
    ToolSpec(name="forbidden", description="Always refused."),
)


class RecordingMeter:
    """Grants ``allowed`` calls and remembers what it saw of each."""

    REFUSAL = QuotaRefusal(sentence="The monthly limit is reached.", retry_at_ms=1_798_761_600_000)

    def __init__(self, *, allowed: int = 1_000, max_output: int | None = None) -> None:
        """``max_output`` caps what is granted."""
        self.reserved: dict[str, int] = {}
        """Estimated input by call id."""
        self.seen: dict[str, Usage] = {}
        self.history: list[tuple[str, Usage]] = []
        self._allowed = allowed
        self._max_output = max_output

    async def reserve(
        self, *, engine: str, model: str, estimated_input: int, max_output: int
    ) -> Grant | QuotaRefusal:
        """Admit the next call."""
        assert engine
        assert model
        if len(self.reserved) >= self._allowed:
            return self.REFUSAL
        call_id = f"call-{len(self.reserved) + 1}"
        self.reserved[call_id] = estimated_input
        return Grant(call_id=call_id, max_output=min(max_output, self._max_output or max_output))

    def saw(self, call_id: str, usage: Usage) -> None:
        """Remember the newest figures of a call."""
        assert call_id in self.reserved
        self.seen[call_id] = usage
        self.history.append((call_id, usage))


@dataclass
class Turn:
    """A turn around an engine: commits steps as the runner and the door do.

    ``steps`` are what earlier attempts committed; ``log`` grows with what this one does.
    """

    steps: tuple[Step, ...] = ()
    meter: RecordingMeter = field(default_factory=RecordingMeter)
    steers: list[str] = field(default_factory=list)
    log: list[Step] = field(default_factory=list)
    outside: frozenset[str] = frozenset()
    """Tools whose output is text that others wrote."""
    ran: Counter[str] = field(default_factory=Counter)
    """Tools that were really executed, by name."""
    events: list[TurnEvent] = field(default_factory=list)
    shown: str = ""

    def __post_init__(self) -> None:
        """Start from the committed steps."""
        self.log = list(self.steps)
        self.shown = joined_text(self.steps)

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools on offer."""
        return SPECS

    def summary(self, call: ToolCall) -> str:
        """One line about a call."""
        return f"{call.name} {call.arguments}"

    def untrusted(self, tool: str) -> bool:
        """As the test says."""
        return tool in self.outside

    async def call(self, call: ToolCall) -> ToolResult:
        """Run a tool once; a recorded result is returned, an unknown outcome is reported."""
        for step in self.log:
            if isinstance(step, ToolStep) and step.tool_call_id == call.id:
                return ToolResult(output=step.output, is_error=step.is_error)
        result = await self._run(call)
        self.log.append(
            ToolStep(
                tool_call_id=call.id,
                name=call.name,
                output=result.output,
                is_error=result.is_error,
            )
        )
        return result

    async def unrun(self, call: ToolCall, reason: str) -> ToolResult:
        """Record a call that the engine turned down."""
        self.log.append(
            ToolStep(tool_call_id=call.id, name=call.name, output=reason, is_error=True)
        )
        return ToolResult(output=reason, is_error=True)

    async def _run(self, call: ToolCall) -> ToolResult:
        if call.name == "forbidden":
            return ToolResult(output="Your role may not use forbidden.", is_error=True)
        if call.name == "restart":
            started = ToolStartedStep(tool_call_id=call.id, name=call.name)
            if started in self.log:
                return ToolResult(output="Its outcome is unknown.", is_error=True)
            self.log.append(started)
        self.ran[call.name] += 1
        return ToolResult(output=f"{call.name} is fine")

    async def take(self) -> tuple[str, ...]:
        """Messages that join."""
        taken, self.steers = tuple(self.steers), []
        self.log += [SteerStep(text=text) for text in taken]
        return taken

    def request(
        self,
        text: str,
        *,
        attachments: Sequence[Attachment] = (),
        history: Sequence[Exchange] = (),
        **changes: object,
    ) -> EngineRequest:
        """What the engine is given."""
        values: dict[str, object] = {
            "tenant_id": "ten_1",
            "conversation_id": "conv_1",
            "turn_id": "turn_1",
            "attempt": 2 if self.steps else 1,
            "model": "claude-sonnet-5-5",
            "system": "You are IT0.",
            "summary": "",
            "max_output_tokens": 1_000,
        }
        return EngineRequest(
            **{**values, **changes},  # type: ignore[arg-type]
            text=text,
            attachments=tuple(attachments),
            history=tuple(history),
            steps=self.steps,
            tools=self,
            meter=self.meter,
            steering=self,
        )

    async def play(self, engine: Engine, request: EngineRequest) -> Completed:
        """Run the engine to its end, checking what holds for every event of every engine."""
        async with aclosing(engine.run(request)) as events:
            async for event in events:
                assert not self.events or not isinstance(self.events[-1], Completed)
                self.take_in(event)
        last = self.events[-1]
        assert isinstance(last, Completed)
        return last

    def take_in(self, event: TurnEvent) -> None:
        """Do with an event what the turn runner does."""
        self.events.append(event)
        match event:
            case TextDelta():
                assert event.text
                self.shown += event.text
            case TextReset():
                assert event.text == joined_text(self.log)
                assert event.reason
                self.shown = event.text
            case ModelCallFinished(step=step):
                assert step.call_id in self.meter.reserved
                assert self.meter.seen[step.call_id] == step.usage
                self.log.append(step)
                assert self.shown == joined_text(self.log)
            case ToolFinished():
                assert any(
                    isinstance(e, ToolStarted) and e.call_id == event.call_id for e in self.events
                )
            case Notice(text=text) | Completed(notice=text):
                assert SECRET_WORD not in text
            case _:
                pass

    def of(self, kind: type[T]) -> list[T]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]
