"""Starting and stopping services (systemd), and what became of them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from core.fleet.host import CommandResult, Host
from core.fleet.report import Report, Verdict, clean, duration, failure
from core.fleet.services import (
    Unit,
    has_no_systemd,
    judge_unit,
    service_problem,
    show_unit,
)
from core.risk import Level

_TIMEOUT_S = 90.0
_MAX_BYTES = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What one action does."""

    level: Level
    reason: str
    """Half a sentence for whoever approves."""
    undo: str
    """``{service}`` is its name."""
    done: str
    """What the report says when it worked."""


CONTROLS: Mapping[str, Control] = {
    "start": Control(
        level=Level.L2,
        reason="it starts a service",
        undo="stop {service} again",
        done="started",
    ),
    "stop": Control(
        level=Level.L2,
        reason="it stops a service: whoever uses it is cut off",
        undo="start {service} again; connections that were cut stay cut",
        done="stopped",
    ),
    "restart": Control(
        level=Level.L2,
        reason="it restarts a service: whoever uses it is interrupted",
        undo="a restart cannot be undone; if {service} does not come back, read its logs",
        done="restarted",
    ),
    "reload": Control(
        level=Level.L1,
        reason="it makes a service read its configuration again",
        undo="put the old configuration back and reload {service} again",
        done="reloaded",
    ),
    "enable": Control(
        level=Level.L2,
        reason="it makes a service start at boot",
        undo="disable {service} again",
        done="enabled",
    ),
    "disable": Control(
        level=Level.L2,
        reason="it keeps a service from starting at boot",
        undo="enable {service} again",
        done="disabled",
    ),
}


async def control_service(host: Host, action: str, service: str, *, sudo: bool) -> Report:
    """Do it, and report how the unit was before and is afterwards. Raises HostUnreachable."""
    problem = service_problem(service)
    if problem:
        return failure(problem)
    before = await show_unit(host, service)
    result = await host.shell(
        shlex.join(["systemctl", action, "--no-ask-password", "--no-pager", "--", service]),
        timeout_s=_TIMEOUT_S,
        max_bytes=_MAX_BYTES,
        sudo=sudo,
    )
    wrong = _wrong(result, action, service)
    if wrong:
        return failure(wrong)
    after = await show_unit(host, service)
    done = CONTROLS[action].done
    if after is None:
        return Report(
            headline=f"{clean(service)} was {done}, but systemd does not tell its state now.",
            verdict=Verdict.LOOK,
        )
    was = f" (before: {_state(action, before)})" if before is not None else ""
    return _judged(action, done, after, was)


def _judged(action: str, done: str, after: Unit, was: str) -> Report:
    """Whether the unit is as the action should leave it."""
    report = judge_unit(after)
    match action:
        case "stop":
            ended = after.active in {"inactive", "failed"}
            verdict = Verdict.FINE if ended else Verdict.ACT
        case "enable" | "disable":
            as_wanted = after.enabled.startswith(action)
            verdict = Verdict.FINE if as_wanted else Verdict.LOOK
            state = clean(after.enabled) or "unknown"
            return Report(
                headline=f"{done}; at boot: {state}{was}; now: {report.headline}",
                details=report.details,
                verdict=verdict,
            )
        case _:
            verdict = report.verdict
    return Report(
        headline=f"{done}; {report.headline.removesuffix('.')}{was}.",
        details=report.details,
        verdict=verdict,
    )


def _state(action: str, unit: Unit) -> str:
    if action in {"enable", "disable"}:
        return clean(unit.enabled) or "unknown"
    return clean(f"{unit.active} ({unit.sub})")


def _wrong(result: CommandResult, action: str, service: str) -> str | None:
    """A sentence when the action did not work."""
    if result.timed_out:
        return (
            f"the {action} of {clean(service)} was asked for, but did not end within "
            f"{duration(_TIMEOUT_S)}; its outcome is unknown."
        )
    if has_no_systemd(result):
        return f"systemd does not run here, so I cannot {action} {clean(service)}."
    if result.exit_status != 0:
        said = clean(result.stderr or result.stdout)[:300]
        return f"the {action} of {clean(service)} failed: {said}"
    return None
