"""The door hides secrets in whatever it lets out: outputs, progress, refusals, the record."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from core.audit import AuditEntry
from core.events import Progress, TurnEvent
from core.gate import NoApprovals
from core.messages import ConversationAddress, Overlap
from core.redact_rules import HIDDEN
from core.risk import Assessment, Level
from core.steps import Step, ToolCall
from core.tenants import Role, User
from core.toolrunner import ToolRunner, TurnTools
from core.tools import Arguments, Param, Tool, ToolContext, ToolResult, ToolSpec
from core.turns import Turn, TurnKind

SECRET = "Kx9mQ2vLr7TzW4"  # made up
KEY = [
    "-----BEGIN RSA PRIVATE KEY-----",
    f"MIIE{SECRET}{'a' * 40}",
    f"{SECRET}{'b' * 46}",
    "-----END RSA PRIVATE KEY-----",
]


@dataclass
class Door:
    """The door of one turn, and everything that left it."""

    events: list[TurnEvent] = field(default_factory=list)
    record_: list[tuple[Step, AuditEntry | None]] = field(default_factory=list)

    async def record(self, turn: Turn, step: Step, *, audit: AuditEntry | None = None) -> None:
        """Keep it."""
        self.record_.append((step, audit))

    def of(self, tool: Tool) -> TurnTools:
        """With this one tool."""
        runner = ToolRunner({tool.spec.name: tool}, self, NoApprovals())
        return runner.door(_turn(), (), tell=self.events.append)


def _turn() -> Turn:
    user = User(id="usr_1", tenant_id="ten_1", email="a@example.com", name="A", role=Role.ADMIN)
    return Turn(
        id="turn_1",
        tenant_id="ten_1",
        conversation_id="conv_1",
        seq=1,
        epoch=1,
        attempt=1,
        failures=0,
        kind=TurnKind.MESSAGE,
        event_id="e",
        user=user,
        address=ConversationAddress(platform="api", workspace="", channel="1", thread="1"),
        text="go",
        attachments=(),
        engine=None,
        overlap=Overlap.QUEUE,
        cancelled=False,
        created_at_ms=0,
    )


def _tool(lines: list[str], *, problem: str = "", **more: object) -> Tool:
    async def assess(context: ToolContext, arguments: Arguments) -> Assessment:
        return Assessment(level=Level.L0, problem=problem)

    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        for line in lines:
            context.progress(line)
        return ToolResult(
            output="\n".join(lines), servers=("web-1",), exit_status=3, artifact="art_1"
        )

    text = Param(name="text", kind="string", description="Any", maximum=5_000)
    return Tool(
        spec=ToolSpec(name="show", description="Shows.", params=(text,)),
        assess=assess,
        run=run,
        mutates=False,
    )


def _call(text: str = "") -> ToolCall:
    return ToolCall(id="t1", name="show", arguments={"text": text})


async def test_no_secret_passes_in_an_output_or_in_progress() -> None:
    """A key over several lines of progress is hidden as it is in the whole output."""
    door = Door()
    lines = ["begin", *KEY, f"password={SECRET}", "end"]
    result = await door.of(_tool(lines)).call(_call())
    assert result.output == f"begin\n{HIDDEN}\npassword={HIDDEN}\nend"
    shown = [event.text for event in door.events if isinstance(event, Progress)]
    assert shown == ["begin", HIDDEN, f"password={HIDDEN}", "end"]
    assert SECRET not in repr(door.record_)


async def test_what_else_a_tool_says_of_a_call_stays() -> None:
    """Servers, exit status and the artifact are not lost with the secret."""
    door = Door()
    result = await door.of(_tool([f"password={SECRET}"])).call(_call())
    assert (result.servers, result.exit_status, result.artifact) == (("web-1",), 3, "art_1")
    ((_, audit),) = door.record_
    assert audit is not None
    assert audit.detail["exit_status"] == 3


async def test_a_line_about_a_call_shows_no_secret_of_its_arguments() -> None:
    """Neither to people nor on the record, also where the line is cut."""
    door = Door()
    tool = door.of(_tool(["fine"]))
    for text in (
        f"PGPASSWORD={SECRET} psql",
        f"curl -u a:{SECRET} https://x",
        "x" * 180 + f" --password={SECRET}",
        "x " * 2_400 + f" --password={SECRET}",
    ):
        summary = tool.summary(_call(text))
        assert SECRET[:6] not in summary
        assert len(summary) <= 200
    await tool.call(_call(f"mysql -p{SECRET} db"))
    assert SECRET not in json.dumps([dict(audit.detail) for _, audit in door.record_ if audit])


async def test_a_refusal_repeats_no_secret() -> None:
    """Why a call cannot be made may quote what was asked."""
    door = Door()
    tool = _tool([], problem=f"There is no server called https://a:{SECRET}@web.")
    result = await door.of(tool).call(_call())
    assert result.is_error
    assert HIDDEN in result.output
    assert SECRET not in repr(door.record_)


async def test_a_secret_that_the_cut_would_split_is_hidden() -> None:
    """The output is cut after its secrets are hidden, not before."""
    door = Door()
    text = "x" * 29_990 + f" token={SECRET}{SECRET}"
    result = await door.of(_tool([text])).call(_call())
    assert SECRET[:4] not in result.output
