"""How the servers of a call make it graver: what they are for, and how many they are.

A pure rule that never lowers a level. Reads stay reads (at 3 a.m. they must work on critical
servers too), and what is forbidden stays forbidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.fleet.inventory import Criticality, Environment, Server
from core.risk import Assessment, Level

MANY = 5
"""A small change on more servers than this is not small."""
_NAMED = 3


def for_servers(assessment: Assessment, servers: Sequence[Server]) -> Assessment:
    """The assessment with the weight of its servers, and the reasons for it.

    A change (L1) on a critical server, on several production servers or on more than ``MANY``
    servers needs an approval (L2). Any change of a critical server is marked as such: who asked
    may not approve it.
    """
    if assessment.level not in {Level.L1, Level.L2}:
        return assessment
    critical = [each.name for each in servers if each.criticality is Criticality.CRITICAL]
    production = [each.name for each in servers if each.environment is Environment.PRODUCTION]
    reasons: list[str] = []
    if critical:
        reasons.append(f"{_list(critical)} {'is' if len(critical) == 1 else 'are'} critical")
    if len(production) > 1:
        reasons.append(f"it touches {len(production)} production servers")
    elif len(servers) > MANY:
        reasons.append(f"it touches {len(servers)} servers")
    return replace(
        assessment,
        level=Level.L2 if reasons else assessment.level,
        reasons=(*assessment.reasons, *reasons),
        critical=assessment.critical or bool(critical),
    )


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    left = len(names) - _NAMED
    return f"{shown} and {left} more" if left > 0 else shown
