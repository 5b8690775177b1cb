"""The windows that kills are aimed into.

A worker that is started with ``CHAOS_KILL_AT=POINT`` and ``CHAOS_KILL_SKIP=N`` kills itself
with SIGKILL when it passes the point for the (N+1)th time: no handler, no flush, no goodbye.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

AT = "CHAOS_KILL_AT"
SKIP = "CHAOS_KILL_SKIP"


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
    skip: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self:
        """Read what the killer chose for this worker."""
        name = environ.get(AT)
        return cls(armed=Point[name] if name else None, skip=int(environ.get(SKIP, "0")))

    def reach(self, point: Point) -> None:
        """Die here, if this is the moment."""
        if point is not self.armed:
            return
        if self.skip > 0:
            self.skip -= 1
            return
        print(f"chaos: killed at {point.name}", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


def aimed(point: Point, skip: int) -> dict[str, str]:
    """The environment that arms a worker."""
    return {AT: point.name, SKIP: str(skip)}
