"""What is said only so often: strangers and worn-out buttons must cost next to nothing."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from bots.slack.pace import shrink

HOUR_S = 3600.0
_MOST_REMEMBERED = 10_000


@dataclass(slots=True)
class Seldom:
    """What this process said to whom in the last hour."""

    now: Callable[[], float] = time.monotonic
    _said: OrderedDict[tuple[str, str, str], tuple[float, int]] = field(default_factory=OrderedDict)

    def allows(self, what: str, workspace: str, user: str, *, an_hour: int = 1) -> bool:
        """Whether to say it once more; counts it then."""
        key = (what, workspace, user)
        since, times = self._said.get(key, (self.now(), 0))
        if self.now() - since >= HOUR_S:
            since, times = self.now(), 0
        if times >= an_hour:
            return False
        self._said[key] = (since, times + 1)
        self._said.move_to_end(key)
        shrink(self._said, _MOST_REMEMBERED)
        return True
