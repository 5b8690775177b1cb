"""``read_artifact``: parts of a whole output that was kept."""

from __future__ import annotations

import re

from core.fleet.report import clean, count, fenced, size
from core.fleet.tool_fleet import Fleet, error
from core.fleet.tool_looks import harmless, number
from core.tools import Arguments, Param, Tool, ToolContext, ToolResult, ToolSpec

MAX_LINES = 500
_DEFAULT_LINES = 200
_SHOWN_CHARS = 20_000
_LINE_CHARS = 1_000
_ID = re.compile(r"art_[0-9a-f]{1,64}")

SPEC = ToolSpec(
    name="read_artifact",
    description=(
        "Read lines of a whole output that was too long to be shown: give the id that the "
        "output named (art_...), and either from_line or a text to find."
    ),
    params=(
        Param(
            name="id",
            kind="string",
            description="The artifact's id, art_ and digits.",
            required=True,
            minimum=5,
            maximum=80,
        ),
        Param(
            name="from_line",
            kind="integer",
            description="The first line to show, from 1; negative: so many lines from the end.",
            minimum=-10_000_000,
            maximum=10_000_000,
        ),
        Param(
            name="lines",
            kind="integer",
            description=f"How many lines; {_DEFAULT_LINES} when left out.",
            minimum=1,
            maximum=MAX_LINES,
        ),
        Param(
            name="grep",
            kind="string",
            description="Only lines that hold this text, in any case (no pattern).",
            minimum=1,
            maximum=200,
        ),
    ),
)


def read_artifact(fleet: Fleet) -> Tool:
    """The tool."""

    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        artifact_id = str(arguments["id"])
        data = None
        if _ID.fullmatch(artifact_id):
            data = await fleet.artifacts.read(context.tenant_id, artifact_id)
        if data is None:
            return error("There is no such artifact, or it was forgotten after its time.")
        return ToolResult(output=part_of(data, arguments))

    return Tool(spec=SPEC, assess=harmless, run=run, mutates=False, untrusted=True)


def part_of(data: bytes, arguments: Arguments) -> str:
    """The wanted lines with their numbers, bounded."""
    lines = list(enumerate(data.decode("utf-8", "replace").splitlines(), start=1))
    total = len(lines)
    grep = arguments.get("grep")
    wanted = str(grep).casefold() if grep is not None else ""
    found = [line for line in lines if wanted in line[1].casefold()] if wanted else lines
    start = number(arguments, "from_line") or 1
    first = total + 1 + start if start < 0 else start
    rest = [line for line in found if line[0] >= first]
    shown = _bounded(rest, number(arguments, "lines") or _DEFAULT_LINES)
    whole = f"of {count(total, 'line')} ({size(len(data))})"
    if not shown:
        what = f"No line from line {max(first, 1)} on" if not wanted else "No line"
        return f"{what} {'holds that text' if wanted else 'is there'}, {whole}."
    left = len(rest) - len(shown)
    more = f"; {left} more follow, go on with from_line={shown[-1][0] + 1}" if left else ""
    holding = f" that hold {clean(str(grep))!r}" if wanted else ""
    head = f"Lines {shown[0][0]} to {shown[-1][0]}{holding}, {whole}{more}."
    text = "\n".join(f"{at}: {line}" for at, line in shown)
    return f"{head}\n\n{fenced(text)}"


def _bounded(lines: list[tuple[int, str]], most: int) -> list[tuple[int, str]]:
    kept: list[tuple[int, str]] = []
    room = _SHOWN_CHARS
    for at, line in lines[:most]:
        room -= min(len(line), _LINE_CHARS) + 10
        if room < 0 and kept:
            break
        kept.append((at, line[:_LINE_CHARS]))
    return kept
