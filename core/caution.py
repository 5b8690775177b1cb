"""When a call is judged graver than its tool says: taint, change freezes, the team's wishes.

Nothing here ever lowers a level. A read stays a read: at 3 a.m. it must still work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from core.risk import Assessment, Level

TAINTED = (
    "text from outside (a log, a file, an attachment, what a command printed) was read in this "
    "conversation, so a human looks first"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """What makes this turn's calls graver."""

    tainted: bool = False
    """Its context holds text that others wrote."""
    freeze: str | None = None
    """The reason of a change freeze that is in force now; None: there is none."""
    raised: Mapping[str, Level] | None = None
    """Tools that the team wants judged at least so."""

    def weigh(self, tool: str, assessment: Assessment) -> Assessment:
        """The assessment with its final level, and the reasons for it."""
        level, reasons = assessment.level, list(assessment.reasons)
        least = (self.raised or {}).get(tool, Level.L0)
        if level < least <= Level.L2:
            level = least
            reasons.append("your team wants it judged so")
        if self.freeze is not None and level >= Level.L1:
            level = max(level, Level.L2)
            reasons.append(f"there is a change freeze ({self.freeze or 'no reason given'})")
        if self.tainted and level in {Level.L1, Level.L2}:
            level = Level.L2
            reasons.append(TAINTED)
        return replace(assessment, level=level, reasons=tuple(reasons))
