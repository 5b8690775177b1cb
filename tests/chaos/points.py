"""The windows that kills are aimed into.

A worker that is started with ``CHAOS_KILL_AT=POINT`` and ``CHAOS_KILL_AFTER_S=S`` kills itself
with SIGKILL when it first passes the point S seconds after its first turn began: no handler, no
flush, no goodbye.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

AT = "CHAOS_KILL_AT"
AFTER_S = "CHAOS_KILL_AFTER_S"


class Point(StrEnum):
    """Where a worker can be told to die. The order follows the story of a turn."""

    STORED = "message committed, not acknowledged"
    CLAIMED = "turn claimed, not begun"
    POSTED = "placeholder posted, its id not committed"
    RESERVED = "model call reserved, not made"
    STREAMING = "in the middle of streaming"
    PREVIEWED = "preview edited"
    STEPPED = "step committed, next call not made"
    TOOL_BEGUN = "mutating tool begun, not run"
    TOOL_RAN = "mutating tool ran, its result not committed"
    FINISHED = "turn finished, reply not delivered"
    PART_POSTED = "later part posted, its id not committed"
    PART_SAVED = "part committed, next part not posted"
    DELIVERED = "reply delivered, delivery not committed"


COMMITS = {
    "_claim": Point.CLAIMED,
    "_reserve": Point.RESERVED,
    "_save_events_fenced": Point.STREAMING,
    "_record": Point.STEPPED,
    "_finish": Point.FINISHED,
    "_save_part": Point.PART_SAVED,
}
"""The transaction after whose commit a point lies, by the name of its function in storage."""


@dataclass(slots=True, kw_only=True)
class Points:
    """The worker's side: it calls ``reach`` at each point."""

    armed: Point | None
    after_s: float
    _began: float | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read what the killer chose for this worker."""
        name = environ.get(AT)
        after_s = float(environ.get(AFTER_S, "0"))
        return cls(armed=Point[name] if name else None, after_s=after_s)

    def reach(self, point: Point) -> None:
        """Die here, if this is the moment."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        if point is not self.armed or now < self._began + self.after_s:
            return
        print(f"chaos: killed at {point.name}", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


def aimed(point: Point, after_s: float) -> dict[str, str]:
    """The environment that arms a worker."""
    return {AT: point.name, AFTER_S: f"{after_s:.3f}"}
