"""Groups of servers, as people name them without a model."""

from __future__ import annotations

import pytest

from core.engines.runbook_plan import Plan, make_plan
from core.fleet.inventory import Server, ServerKind
from core.fleet.tools import fleet_tools
from core.protected import ProtectedPaths
from core.skills import BUILT_IN, SkillLibrary
from tests.fakes.artifacts import KeptArtifacts
from tests.fakes.host import FakeFleet

SKILLS = SkillLibrary.load(BUILT_IN)
NOBODY = FakeFleet(hosts={})
SPECS = tuple(tool.spec for tool in fleet_tools(NOBODY, NOBODY, ProtectedPaths(), KeptArtifacts()))
GROUPS = (
    Server(id="1", tenant_id="ten_1", name="cdn-1", kind=ServerKind.SSH, tags=("edge",)),
    Server(id="2", tenant_id="ten_1", name="cdn-2", kind=ServerKind.SSH, tags=("edge",)),
    Server(id="3", tenant_id="ten_1", name="db-1", kind=ServerKind.SSH),
)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("disk on all edge servers", "tag:edge"),
        ("disk usage of the edge machines?", "tag:edge"),
        ("disk on edge", "edge"),
        ("disk on production servers", "env:production"),
    ],
)
def test_a_group_is_asked_in_one_call(text: str, server: str) -> None:
    """A tag or an environment goes to the tool, which answers for all of its servers."""
    found = make_plan(text, SKILLS, GROUPS, SPECS)
    assert isinstance(found, Plan)
    assert [(call.name, call.arguments) for call in found.calls] == [
        ("disk_usage", {"server": server})
    ]


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        ("when do the certificates expire on db-1?", "certificates"),
        ("certs on db-1", "certificates"),
        ("db-1 证书到期", "certificates"),
        ("any security updates on db-1?", "packages"),
        ("pending updates on db-1", "packages"),
    ],
)
def test_questions_for_the_newer_checks(text: str, tool: str) -> None:
    """Certificates and upgrades are routines too."""
    found = make_plan(text, SKILLS, GROUPS, SPECS)
    assert isinstance(found, Plan)
    assert [(call.name, call.arguments) for call in found.calls] == [(tool, {"server": "db-1"})]
