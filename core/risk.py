"""Risk levels (DESIGN section 4), who may run what, and the level of a path."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from core.protected import ProtectedPaths
from core.tenants import Role


class Level(IntEnum):
    """How much harm a call can do."""

    L0 = 0
    """Reads only."""
    L1 = 1
    """Changes little, undone easily."""
    L2 = 2
    """Disruptive or irreversible: needs an approval."""
    L3 = 3
    """Forbidden, whatever the tool and whoever asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """One call of a plan: what would run, and the digest that its own call must have."""

    action: str
    digest: str
    level: Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What one call would do, found before anything runs; what an approver is shown."""

    level: Level
    reasons: tuple[str, ...] = ()
    """Half sentences, the gravest first: ``it restarts a service``."""
    action: str = ""
    """Exactly what will run, such as the command line; empty: the tool and its arguments."""
    servers: tuple[str, ...] = ()
    """Names of the servers that it touches, as the inventory spells them."""
    binding: str = ""
    """What an approval is bound to besides tool, arguments and action: ids and addresses of the
    servers, the digest of a file that is edited."""
    critical: bool = False
    """It touches a critical server: who asked may not approve, and no timeout does."""
    change: str = ""
    """What would change: a diff or a dry run."""
    undo: str = ""
    """How to undo it, for a person."""
    steps: tuple[PlanStep, ...] = ()
    """Of a plan that is to be approved as a whole."""
    problem: str = ""
    """Why the call cannot be made at all (no such server, two candidates): a sentence. Nobody
    is asked, nothing runs."""


def least_role(level: Level) -> Role | None:
    """The lowest role that may ask for a call of this level; None when nobody may."""
    match level:
        case Level.L0:
            return Role.VIEWER
        case Level.L1 | Level.L2:
            return Role.OPERATOR
        case Level.L3:
            return None


def path_level(path: str, protected: ProtectedPaths) -> Level:
    """The level of reading this path, judged by its spelling alone: L0, or L3 if protected.

    The host checks again on the path that the opened file really has.
    """
    return Level.L3 if protected.why(path) else Level.L0
