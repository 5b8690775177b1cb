"""What a person's agent may use: the role decides, the team's lists only take away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.agent_config import DEFAULTS, AgentConfig
from core.allowed_tools import AllowedTools
from core.risk import Level, least_role
from core.tenants import Role

NAMES = ("disk_usage", "read_file", "restart", "list", "")
TOOLS = st.sampled_from(NAMES)
LISTS = st.lists(TOOLS, max_size=6).map(tuple)
CONFIGS = st.builds(AgentConfig, allowed_tools=st.none() | LISTS, denied_tools=LISTS)
ROLES, LEVELS = st.sampled_from(Role), st.sampled_from(Level)


def grants(role: Role, config: AgentConfig, tool: str, level: Level) -> bool:
    """Whether a call may be made."""
    return AllowedTools(role, config).refusal(tool, level) is None


@given(ROLES, CONFIGS, TOOLS, LEVELS)
def test_nothing_beyond_the_role_is_granted(
    role: Role, config: AgentConfig, tool: str, level: Level
) -> None:
    """Whatever the lists say: no level above the role's, L3 for nobody, no tool that is hidden."""
    if not grants(role, config, tool, level):
        return
    needed = least_role(level)
    assert needed is not None
    assert role.includes(needed)
    assert level is not Level.L3
    assert AllowedTools(role, config).offers(tool)
    assert grants(role, DEFAULTS, tool, level)


@given(ROLES, CONFIGS, TOOLS, LEVELS)
def test_what_is_denied_is_denied(role: Role, config: AgentConfig, tool: str, level: Level) -> None:
    """A denied tool is neither shown nor run, also when it is allowed by name."""
    both = AgentConfig(
        allowed_tools=(*(config.allowed_tools or ()), tool),
        denied_tools=(*config.denied_tools, tool),
    )
    assert not AllowedTools(role, both).offers(tool)
    assert not grants(role, both, tool, level)


@given(ROLES, CONFIGS, TOOLS, LEVELS, TOOLS)
def test_a_longer_denied_list_never_grants_more(
    role: Role, config: AgentConfig, tool: str, level: Level, other: str
) -> None:
    """To deny one tool takes it away and changes nothing for the others."""
    denied = (*config.denied_tools, other)
    less = AgentConfig(allowed_tools=config.allowed_tools, denied_tools=denied)
    expected = grants(role, config, tool, level) and tool != other
    assert grants(role, less, tool, level) == expected


@given(ROLES, CONFIGS, TOOLS, LEVELS, LISTS)
def test_an_allowed_list_only_takes_away(
    role: Role, config: AgentConfig, tool: str, level: Level, allowed: tuple[str, ...]
) -> None:
    """A list leaves exactly its own tools of those there were; a larger role never has fewer."""
    free = AgentConfig(denied_tools=config.denied_tools)
    listed = AgentConfig(allowed_tools=allowed, denied_tools=config.denied_tools)
    expected = grants(role, free, tool, level) and tool in allowed
    assert grants(role, listed, tool, level) == expected
    if grants(role, listed, tool, level):
        assert all(grants(r, listed, tool, level) for r in Role if r.includes(role))


def test_a_team_without_lists_has_what_its_roles_have() -> None:
    """Exactly the table of levels and roles."""
    granted = {
        (str(role), level.name)
        for role in Role
        for level in Level
        if grants(role, DEFAULTS, "restart", level)
    }
    assert granted == {
        ("viewer", "L0"),
        *((role, level) for role in ("operator", "admin") for level in ("L0", "L1", "L2")),
    }


def test_each_refusal_says_whose_it_is() -> None:
    """The lists, the role and the level have sentences of their own; the lists speak first."""
    off = AllowedTools(Role.VIEWER, AgentConfig(denied_tools=("restart",)))
    said = off.refusal("restart", Level.L3)
    assert said == "Your team's admin switched the tool restart off."
    narrow = AllowedTools(Role.ADMIN, AgentConfig(allowed_tools=()))
    assert "not among the tools" in str(narrow.refusal("restart", Level.L0))
    viewer = AllowedTools(Role.VIEWER, DEFAULTS)
    assert "needs the role operator (level L1)" in str(viewer.refusal("restart", Level.L1))
    assert str(viewer.refusal("restart", Level.L3, "a secret")).endswith("whoever asks: a secret.")
