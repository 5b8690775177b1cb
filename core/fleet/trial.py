"""Trying a server out: which key it shows, whether IT0 gets in, as whom, and with which rights."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from core.fleet.host import Host, HostUnreachable
from core.fleet.inventory import Server, ServerKind, SudoPolicy
from core.fleet.key_texts import fingerprint
from core.fleet.registry import HostProbe
from core.names import plain_name
from core.words import sentence

_TIMEOUT_S: Final = 20.0
_MAX_BYTES: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a trial found. Nothing runs on a server whose host key nobody confirmed."""

    host_key: str = ""
    """What it shows now, ``type base64``; empty for the local machine, or when it is silent."""
    confirmed: bool = False
    """That key is the pinned one."""
    changed: bool = False
    """Another key is pinned: somebody may sit in between."""
    reached: bool = False
    latency_ms: int | None = None
    """Of one command over a connection that stands."""
    user: str = ""
    sudo: bool | None = None
    """Whether it becomes root without a password; None when the policy says never."""
    problem: str = ""
    """A sentence; empty when all is well."""

    @property
    def fingerprint(self) -> str:
        """Of the key that it shows."""
        return fingerprint(self.host_key)


async def try_out(
    server: Server, probe: HostProbe, *, now: Callable[[], float] = time.perf_counter
) -> Tried:
    """Try a server out."""
    found = Tried(confirmed=server.kind is ServerKind.LOCAL)
    try:
        if not found.confirmed:
            found = _judged(server, await probe.host_key(server))
        if not found.confirmed:
            return found
        return await _entered(found, server, probe.connect(server), now)
    except HostUnreachable as error:
        return replace(found, reached=False, problem=error.sentence)


def _judged(server: Server, shown: str) -> Tried:
    if shown == server.host_key:
        return Tried(host_key=shown, confirmed=True)
    if not server.host_key:
        said = sentence("Nobody confirmed the host key of {name} yet.", name=server.name)
        return Tried(host_key=shown, problem=said)
    said = sentence(
        "THE HOST KEY OF {name} HAS CHANGED. It shows {now}, and {before} was confirmed. Somebody "
        "may sit in between: nothing runs there until an admin confirms the new key with "
        "`it0 server trust {name} --replace`.",
        name=server.name,
        now=fingerprint(shown),
        before=fingerprint(server.host_key),
    )
    return Tried(host_key=shown, changed=True, problem=said)


async def _entered(found: Tried, server: Server, host: Host, now: Callable[[], float]) -> Tried:
    """Run ``true`` twice: the first time the connection is made."""
    await host.run(["true"], timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)
    begun = now()
    ran = await host.run(["true"], timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)
    latency_ms = max(0, round((now() - begun) * 1000))
    who = await host.run(["id", "-un"], timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)
    found = replace(found, reached=True, latency_ms=latency_ms, user=plain_name(who.stdout))
    if ran.exit_status != 0 or ran.timed_out:
        said = sentence("{name} lets IT0 in, but runs no commands for it.", name=server.name)
        return replace(found, problem=said)
    if server.sudo is SudoPolicy.NEVER:
        return found
    root = await host.shell("true", timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES, sudo=True)
    return replace(found, sudo=root.exit_status == 0 and not root.timed_out)
