"""The weight of servers: more of it never makes a call less grave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.escalation import MANY, for_servers
from core.fleet.inventory import Criticality, Environment, Server, ServerKind
from core.risk import Assessment, Level

SERVERS = st.lists(
    st.builds(
        Server,
        id=st.uuids().map(str),
        tenant_id=st.just("t"),
        name=st.sampled_from(["a", "b", "c"]),
        kind=st.just(ServerKind.SSH),
        environment=st.sampled_from(Environment),
        criticality=st.sampled_from(Criticality),
    ),
    max_size=8,
)
ASSESSMENTS = st.builds(
    Assessment,
    level=st.sampled_from(Level),
    reasons=st.just(("it does something",)),
    critical=st.booleans(),
)


def server(
    environment: Environment = Environment.STAGING, criticality: Criticality = Criticality.NORMAL
) -> Server:
    """A server."""
    return Server(
        id="s",
        tenant_id="t",
        name="s",
        kind=ServerKind.SSH,
        environment=environment,
        criticality=criticality,
    )


@given(assessment=ASSESSMENTS, servers=SERVERS)
def test_nothing_is_ever_lowered(assessment: Assessment, servers: list[Server]) -> None:
    """Neither the level nor the need for a second pair of eyes; reasons are only added."""
    weighed = for_servers(assessment, servers)
    assert weighed.level >= assessment.level
    assert weighed.critical >= assessment.critical
    assert weighed.reasons[: len(assessment.reasons)] == assessment.reasons


@given(assessment=ASSESSMENTS, servers=SERVERS, more=SERVERS)
def test_more_servers_are_never_less_grave(
    assessment: Assessment, servers: list[Server], more: list[Server]
) -> None:
    """Adding servers keeps or raises the level."""
    fewer, all_of_them = for_servers(assessment, servers), for_servers(assessment, servers + more)
    assert all_of_them.level >= fewer.level
    assert all_of_them.critical >= fewer.critical


@given(assessment=ASSESSMENTS, servers=SERVERS)
def test_reads_and_what_is_forbidden_stay_as_they_are(
    assessment: Assessment, servers: list[Server]
) -> None:
    """L0 and L3 pass through untouched."""
    if assessment.level in {Level.L0, Level.L3}:
        assert for_servers(assessment, servers) is assessment


@given(assessment=ASSESSMENTS, servers=SERVERS)
def test_weighing_twice_is_weighing_once(assessment: Assessment, servers: list[Server]) -> None:
    """The level settles at once."""
    once = for_servers(assessment, servers)
    assert for_servers(once, servers).level is once.level


PRODUCTION = server(Environment.PRODUCTION)
CRITICAL = server(criticality=Criticality.CRITICAL)


@pytest.mark.parametrize(
    ("servers", "level", "critical"),
    [
        ([server()], Level.L1, False),
        ([PRODUCTION], Level.L1, False),
        ([PRODUCTION, PRODUCTION], Level.L2, False),
        ([PRODUCTION, server()], Level.L1, False),
        ([server()] * MANY, Level.L1, False),
        ([server()] * (MANY + 1), Level.L2, False),
        ([CRITICAL], Level.L2, True),
    ],
)
def test_what_raises_a_small_change(servers: list[Server], *, level: Level, critical: bool) -> None:
    """Several in production, more than a few anywhere, a critical one."""
    weighed = for_servers(Assessment(level=Level.L1), servers)
    assert (weighed.level, weighed.critical) == (level, critical)
    assert bool(weighed.reasons) is (level is Level.L2)
