from __future__ import annotations

from core.protected import ProtectedPaths
from core.risk import Level, least_role, path_level
from core.tenants import Role


def test_who_may_ask_for_which_level() -> None:
    """A viewer reads, an operator asks for more, nobody may ask for what is forbidden."""
    assert [least_role(level) for level in Level] == [
        Role.VIEWER,
        Role.OPERATOR,
        Role.OPERATOR,
        None,
    ]


def test_reading_a_protected_path_is_forbidden() -> None:
    """A path is L0 or, when protected, L3."""
    protected = ProtectedPaths()
    assert path_level("/etc/hosts", protected) is Level.L0
    assert path_level("/etc/shadow", protected) is Level.L3
