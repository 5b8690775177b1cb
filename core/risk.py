"""Risk levels (DESIGN section 4) and what nobody may read."""

from __future__ import annotations

from enum import IntEnum


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
