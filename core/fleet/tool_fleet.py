"""What all tools of the fleet share: choosing servers, asking them all, changing them in turn.

Reads take a part of a name and run everywhere at once. Changes take whole names, tags and
"all" alone, and are rolled out: one server, then some, then all, until the first failure.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from core.escalation import for_servers
from core.fleet.artifacts import Artifacts
from core.fleet.fanout import fan_out, roll_out
from core.fleet.host import ConnectionLost, Host, HostUnreachable
from core.fleet.inventory import (
    Ambiguous,
    HostConnector,
    Inventory,
    Server,
    ServerKind,
    SudoPolicy,
    Unknown,
)
from core.fleet.report import Report, Verdict, clean, count, failure
from core.fleet.selection import select
from core.fleet.together import all_failed, names, text_of
from core.protected import ProtectedPaths
from core.risk import Assessment, Level
from core.tools import Arguments, Param, Tool, ToolContext, ToolResult, ToolSpec

LOOK_TIMEOUT_S = 150.0
"""Of a look at several servers; each server's own commands end much earlier."""
CHANGE_TIMEOUT_S = 3_600.0
"""Of a change in three stages; each server's own commands end earlier."""
STAGED, AT_ONCE = "staged", "all at once"
ROOT = "root"

SERVER = Param(
    name="server",
    kind="string",
    description=(
        "Which servers: a name (web-1), several (web-1, web-2), a tag or group (edge), an "
        "environment (staging), or all. May be left out when there is only one server."
    ),
    minimum=1,
    maximum=1_000,
)
REASON_PARAM = Param(
    name="reason",
    kind="string",
    description="Why, in one sentence; whoever approves reads it.",
    maximum=300,
)
ROLLOUT = Param(
    name="rollout",
    kind="string",
    description=(
        "With several servers: 'staged' (the default) goes one, some, all and stops at the "
        "first failure; 'all at once' does not stop, and always needs an approval."
    ),
    choices=(STAGED, AT_ONCE),
)

Look = Callable[[Host, Arguments], Awaitable[Report]]
Work = Callable[[Server, Host], Awaitable[Report]]


class Bindings:
    """What calls were bound to when they were assessed, until they run.

    Between the two a file may be edited and a server may get a tag: what runs is compared with
    what was assessed, and so with what a human approved. In memory, because the door assesses
    and runs a call in one breath.
    """

    def __init__(self, limit: int = 1_000) -> None:
        """Remember at most ``limit`` calls, the latest."""
        self._known: OrderedDict[tuple[str, str, str], str] = OrderedDict()
        self._limit = limit

    def note(self, context: ToolContext, binding: str) -> None:
        """The call was assessed with this binding."""
        key = (context.tenant_id, context.turn_id, context.call_id)
        self._known[key] = binding
        self._known.move_to_end(key)
        while len(self._known) > self._limit:
            self._known.popitem(last=False)

    def differs(self, context: ToolContext, binding: str) -> bool:
        """Whether the call, now that it runs, is bound to something else."""
        known = self._known.pop((context.tenant_id, context.turn_id, context.call_id), None)
        return known is not None and known != binding


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The servers of all tenants, the way to them, and what may not be touched there."""

    inventory: Inventory
    connector: HostConnector
    protected: ProtectedPaths
    artifacts: Artifacts
    bindings: Bindings = field(default_factory=Bindings)

    async def choose(
        self, context: ToolContext, arguments: Arguments, *, exact: bool
    ) -> tuple[Server, ...] | str:
        """The servers that are meant, or a sentence that says why none is."""
        servers = await self.inventory.servers(context.tenant_id)
        listed = ", ".join(clean(server.name) for server in servers[:30])
        wanted = arguments.get("server")
        if not servers:
            return "No server is registered here yet."
        if wanted is None:
            if len(servers) == 1:
                return servers
            return f"Which server? There are {len(servers)}: {listed}."
        match select(str(wanted), servers, exact=exact):
            case Ambiguous(candidates=candidates):
                could = ", ".join(clean(name) for name in candidates[:10])
                if len(candidates) == 1:
                    return f"Did you mean {could}? What changes something needs whole names."
                return f"{clean(str(wanted))} could be several servers: {could}."
            case Unknown(nearest=nearest):
                hint = f" Did you mean {' or '.join(clean(name) for name in nearest)}?"
                tail = hint if nearest else f" There are: {listed}."
                return f"There is no server called {clean(str(wanted))}.{tail}"
            case chosen:
                return chosen

    async def look(self, context: ToolContext, arguments: Arguments, look: Look) -> ToolResult:
        """Look at every chosen server; one out of reach is a sentence, not a crash."""
        chosen = await self.choose(context, arguments, exact=False)
        if isinstance(chosen, str):
            return error(chosen)

        async def work(_server: Server, host: Host) -> Report:
            return await look(host, arguments)

        return result_of(chosen, await self.everywhere(chosen, work))

    async def everywhere(self, servers: Sequence[Server], work: Work) -> list[tuple[str, Report]]:
        """Do it on all of them at once; a report for each, in their order."""
        reached = await fan_out(servers, lambda server: self._report(server, work))
        return [
            (server.name, each.value if each.value is not None else failure(each.problem))
            for server, each in zip(servers, reached, strict=True)
        ]

    async def staged(
        self, context: ToolContext, servers: Sequence[Server], work: Work
    ) -> tuple[list[tuple[str, Report]], tuple[str, ...]]:
        """Do it on one, then some, then all, until a failure; also the names not touched."""

        async def change(server: Server) -> Report:
            report = await self._report(server, work)
            context.progress(f"{server.name}: {report.headline[:200]}")
            return report

        rolled = await roll_out(servers, change, went_well)
        answers = [
            (each.server.name, each.value if each.value is not None else failure(each.problem))
            for each in rolled.reached
        ]
        return answers, tuple(server.name for server in rolled.left)

    async def change(
        self, context: ToolContext, arguments: Arguments, servers: Sequence[Server], work: Work
    ) -> ToolResult:
        """Change the servers as the call's ``rollout`` says, and tell what became of each."""
        if len(servers) == 1 or arguments.get("rollout") == AT_ONCE:
            return changed(servers, await self.everywhere(servers, work))
        answers, left = await self.staged(context, servers, work)
        return changed(servers, answers, left=left)

    async def _report(self, server: Server, work: Work) -> Report:
        try:
            return await work(server, self.connector.connect(server))
        except ConnectionLost as lost:
            return failure(
                f"outcome unknown: {lost.sentence} It may have run to its end or not; look at "
                "the server before doing it again."
            )
        except HostUnreachable as unreachable:
            return failure(unreachable.sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A change, looked at beforehand: what it would do, where, and the work itself."""

    assessment: Assessment
    servers: tuple[Server, ...]
    work: Work


Plan = Callable[[ToolContext, Arguments], Awaitable[Planned | Assessment]]
"""Plans a change without changing anything; an Assessment says why it cannot be made."""


def change_tool(
    fleet: Fleet, spec: ToolSpec, plan: Plan, *, timeout_s: float, untrusted: bool = False
) -> Tool:
    """A tool that changes servers: planned when it is assessed, and again when it runs."""

    async def assess(context: ToolContext, arguments: Arguments) -> Assessment:
        planned = await plan(context, arguments)
        if isinstance(planned, Assessment):
            return planned
        fleet.bindings.note(context, planned.assessment.binding)
        return planned.assessment

    async def run(context: ToolContext, arguments: Arguments) -> ToolResult:
        planned = await plan(context, arguments)
        if isinstance(planned, Assessment):
            return error(planned.problem or f"Forbidden: {'; '.join(planned.reasons)}.")
        if planned.assessment.level is Level.L3:
            return error(f"Forbidden: {'; '.join(planned.assessment.reasons)}.")
        if fleet.bindings.differs(context, planned.assessment.binding):
            return error(
                "What it would do changed since it was assessed (a file, a server); nothing was "
                "done. Look again, then ask again."
            )
        return await fleet.change(context, arguments, planned.servers, planned.work)

    return Tool(
        spec=spec, assess=assess, run=run, mutates=True, timeout_s=timeout_s, untrusted=untrusted
    )


def went_well(report: Report) -> bool:
    """Whether a change did what it should."""
    return not report.failed and report.verdict < Verdict.ACT


def error(sentence: str) -> ToolResult:
    """A call that could not be made."""
    return ToolResult(output=sentence, is_error=True)


def result_of(servers: Sequence[Server], answers: Sequence[tuple[str, Report]]) -> ToolResult:
    """The result of a look."""
    return ToolResult(
        output=text_of(answers),
        is_error=all_failed(answers),
        servers=tuple(server.name for server in servers),
    )


def changed(
    servers: Sequence[Server],
    answers: Sequence[tuple[str, Report]],
    *,
    left: Sequence[str] = (),
) -> ToolResult:
    """The result of a change: which servers were changed, which failed, which were not reached."""
    ran = tuple(name for name, _ in answers)
    done = [name for name, report in answers if went_well(report)]
    bad = [name for name, report in answers if not went_well(report)]
    if len(servers) == 1:
        return ToolResult(output=text_of(answers), is_error=bool(bad), servers=ran)
    said = [f"{count(len(done), 'server')} changed{_colon(done)}"]
    said += [f"{len(bad)} failed{_colon(bad)}"] if bad else []
    said += [f"{len(left)} not touched, because of the failure{_colon(left)}"] if left else []
    mark = Verdict.ACT.mark if bad else ""
    rows = text_of(answers)
    return ToolResult(output=f"{mark}{'; '.join(said)}.\n\n{rows}", is_error=bool(bad), servers=ran)


def _colon(listed: Sequence[str]) -> str:
    return f": {names(listed)}" if listed else ""


def weighed(
    assessment: Assessment, servers: Sequence[Server], arguments: Arguments, *bound: str
) -> Assessment:
    """The assessment with the servers' weight, and bound to them and to ``bound``."""
    level, reasons = assessment.level, list(assessment.reasons)
    if level is Level.L1 and len(servers) > 1 and arguments.get("rollout") == AT_ONCE:
        level = Level.L2
        reasons.append("it runs on all servers at once and does not stop at a failure")
    names_ = tuple(server.name for server in servers)
    ready = replace(assessment, level=level, reasons=tuple(reasons), servers=names_)
    return replace(for_servers(ready, servers), binding=binding_of(servers, *bound))


def binding_of(servers: Sequence[Server], *bound: str) -> str:
    """A digest of who the servers are, how they are reached, and of what else is bound."""
    exact = [
        (each.id, each.address, each.port, each.user, each.jump, each.host_key, each.revision)
        for each in servers
    ]
    canonical = json.dumps([exact, bound], separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def refused(sentence: str, *, level: Level = Level.L2) -> Assessment:
    """A call that cannot be made, so that nobody is asked."""
    return Assessment(level=level, problem=sentence)


def needs_sudo(server: Server) -> bool:
    """Whether a change that takes root goes through sudo there."""
    return server.user != ROOT and server.sudo is not SudoPolicy.NEVER


def sudo_level(servers: Sequence[Server]) -> tuple[Level, tuple[str, ...]]:
    """The least level of a change that may become root on these servers, and why."""
    asking = [each.name for each in servers if each.user != ROOT and each.sudo is SudoPolicy.ASK]
    if not asking:
        return Level.L0, ()
    return Level.L2, (f"becoming root there needs an approval ({names(asking)})",)


def is_here(server: Server) -> bool:
    """Whether it is the machine that IT0 runs on."""
    return server.kind is ServerKind.LOCAL
