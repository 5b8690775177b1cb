"""``run_command``: shell text on one server or several, judged by what it would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.fleet.command import Order, Ran, run_on
from core.fleet.host import MAX_WHOLE_BYTES, Host
from core.fleet.inventory import Server, SudoPolicy
from core.fleet.report import Report, Verdict, count
from core.fleet.together import names
from core.fleet.tool_fleet import (
    AT_ONCE,
    CHANGE_TIMEOUT_S,
    REASON_PARAM,
    ROLLOUT,
    ROOT,
    SERVER,
    Fleet,
    error,
    refused,
    sudo_level,
    weighed,
)
from core.risk import Assessment, Level
from core.shell.judge import Judged, judge
from core.tools import Arguments, Param, Tool, ToolContext, ToolResult, ToolSpec

MAX_COMMAND_CHARS = 8_000
_DEFAULT_TIMEOUT_S = 60
_SHOWN_CHARS = 16_000
"""Of all servers' outputs together."""
_LEAST_SHOWN_CHARS = 800
_KEPT_TOGETHER_BYTES = 2 * MAX_WHOLE_BYTES
_LEAST_KEPT_BYTES = 256 * 1024
_UNKNOWN = "outcome unknown"
_SECTIONS = 20

SPEC = ToolSpec(
    name="run_command",
    description=(
        "Run a shell command (/bin/sh) on one or several servers. It is parsed first: what only "
        "reads runs at once, small changes are recorded, and whatever is disruptive, irreversible "
        "or not understood waits for a human's approval; secrets and wipes are refused. Prefer "
        "the special tools (disk_usage, service_control, service_logs, edit_file, ...) where "
        "there is one, and simple commands over scripts: they are judged lower. There is no "
        "terminal and no input. Shows exit status, duration and the output's beginning and end; "
        "the whole output stays readable with read_artifact. When the outcome is unknown, look "
        "at the server before running it again."
    ),
    params=(
        Param(
            name="command",
            kind="string",
            description="The command line, or several lines of shell text.",
            required=True,
            minimum=1,
            maximum=MAX_COMMAND_CHARS,
            multiline=True,
        ),
        SERVER,
        Param(
            name="timeout_s",
            kind="integer",
            description=f"Seconds after which it is ended; {_DEFAULT_TIMEOUT_S} when left out.",
            minimum=1,
            maximum=600,
        ),
        Param(
            name="sudo",
            kind="string",
            description="'yes' runs it as root, where the server's entry allows that.",
            choices=("yes", "no"),
        ),
        ROLLOUT,
        REASON_PARAM,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The command, judged, and where it goes."""

    assessment: Assessment
    servers: tuple[Server, ...] = ()


def run_command(fleet: Fleet) -> Tool:
    """The tool."""

    async def assess(context: ToolContext, arguments: Arguments) -> Assessment:
        plan = await _plan(fleet, context, arguments)
        fleet.bindings.note(context, plan.assessment.binding)
        return plan.assessment

    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        plan = await _plan(fleet, context, arguments)
        if plan.assessment.problem:
            return error(plan.assessment.problem)
        if plan.assessment.level is Level.L3:
            return error(f"Forbidden: {'; '.join(plan.assessment.reasons)}.")
        if fleet.bindings.differs(context, plan.assessment.binding):
            return error("The servers that are meant changed meanwhile; nothing was run.")
        return await _run(fleet, context, arguments, plan)

    return Tool(
        spec=SPEC,
        assess=assess,
        run=run,
        mutates=True,
        timeout_s=CHANGE_TIMEOUT_S,
        untrusted=True,
    )


async def _plan(fleet: Fleet, context: ToolContext, arguments: Arguments) -> _Plan:
    command = str(arguments["command"])
    judged = judge(command, fleet.protected, raised=context.raised)
    sudo = _with_sudo(arguments) or judged.sudo
    exact = judged.level > Level.L0 or sudo
    servers = await fleet.choose(context, arguments, exact=exact)
    if isinstance(servers, str):
        return _Plan(assessment=refused(servers, level=judged.level))
    never = [each.name for each in servers if sudo and each.sudo is SudoPolicy.NEVER]
    if never:
        sentence = f"IT0 may not become root on {names(never)}: the server's entry says never."
        return _Plan(assessment=refused(sentence, level=judged.level))
    assessment = Assessment(
        level=judged.level, reasons=judged.reasons, action=command, undo=judged.undo
    )
    if sudo:
        assessment = _as_root(assessment, servers, judged)
    return _Plan(assessment=weighed(assessment, servers, arguments), servers=servers)


def _as_root(assessment: Assessment, servers: Sequence[Server], judged: Judged) -> Assessment:
    least, reasons = sudo_level(servers)
    if judged.level > Level.L0 and any(each.user != ROOT for each in servers):
        least, reasons = Level.L2, (*reasons, "it changes something as root")
    return replace(
        assessment,
        level=max(assessment.level, least),
        reasons=(*assessment.reasons, *reasons),
        action=assessment.action if judged.sudo else f"sudo: {assessment.action}",
    )


def _with_sudo(arguments: Arguments) -> bool:
    return arguments.get("sudo") == "yes"


async def _run(fleet: Fleet, context: ToolContext, arguments: Arguments, plan: _Plan) -> ToolResult:
    servers, many = plan.servers, len(plan.servers)
    timeout_s = arguments.get("timeout_s", _DEFAULT_TIMEOUT_S)
    order = Order(
        command=str(arguments["command"]),
        timeout_s=timeout_s if isinstance(timeout_s, int) else _DEFAULT_TIMEOUT_S,
        sudo=_with_sudo(arguments),
        shown_chars=max(_LEAST_SHOWN_CHARS, _SHOWN_CHARS // many),
        keep_bytes=min(MAX_WHOLE_BYTES, max(_LEAST_KEPT_BYTES, _KEPT_TOGETHER_BYTES // many)),
    )
    ran: dict[str, Ran] = {}

    async def work(server: Server, host: Host) -> Report:
        here = replace(order, sudo=order.sudo and server.user != ROOT)
        ran[server.name] = await run_on(host, server.name, here, context, fleet.artifacts)
        return ran[server.name].report

    if many == 1:
        return _one(servers[0], await fleet.everywhere(servers, work), ran)
    if plan.assessment.level > Level.L0 and arguments.get("rollout") != AT_ONCE:
        answers, left = await fleet.staged(context, servers, work)
    else:
        answers, left = await fleet.everywhere(servers, work), ()
    return _several(answers, ran, left)


def _one(server: Server, answers: Sequence[tuple[str, Report]], ran: dict[str, Ran]) -> ToolResult:
    (_, report), done = answers[0], ran.get(server.name)
    return ToolResult(
        output=report.text(server.name),
        is_error=report.failed or report.verdict > Verdict.FINE,
        servers=(server.name,),
        exit_status=None if done is None else done.exit_status,
        artifact="" if done is None else done.artifact,
    )


def _several(
    answers: Sequence[tuple[str, Report]], ran: dict[str, Ran], left: Sequence[str]
) -> ToolResult:
    """Servers that answered the same are shown together, the failed ones first."""
    groups: dict[str, list[tuple[str, Report]]] = {}
    for name, report in answers:
        same = ran[name].same if name in ran else f"!{report.headline}"
        groups.setdefault(same, []).append((name, report))
    ordered = sorted(groups.values(), key=lambda group: (-_weight(group[0][1]), -len(group)))
    bad = [name for name, report in answers if _weight(report)]
    good = len(answers) - len(bad)
    said = [f"{len(bad)} of {count(len(answers) + len(left), 'server')} failed: {names(bad)}"]
    said = said if bad else []
    if good:
        said.append(f"{'all ' if not bad and not left else ''}{count(good, 'server')} done")
    if left:
        said.append(f"{len(left)} not touched, because of the failure: {names(left)}")
    sections = [_section(group) for group in ordered[:_SECTIONS]]
    hidden = len(ordered) - _SECTIONS
    if hidden > 0:
        sections.append(f"… and {count(hidden, 'more answer')} that differ.")
    mark = Verdict.ACT.mark if bad else ""
    return ToolResult(
        output="\n\n".join((f"{mark}{'; '.join(said)}.", *sections)),
        is_error=bool(bad),
        servers=tuple(name for name, _ in answers),
    )


def _weight(report: Report) -> int:
    """2 for no answer or an unknown outcome, 1 for a failure, 0 when it went well."""
    return 2 if report.failed else int(report.verdict > Verdict.FINE)


def _section(group: Sequence[tuple[str, Report]]) -> str:
    report = group[0][1]
    title = f"### {names([name for name, _ in group], most=40)}\n\n{report.headline}"
    return f"{title}\n\n{report.details}" if report.details else title
