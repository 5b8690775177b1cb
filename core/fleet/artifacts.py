"""Whole outputs, of which a model and a chat see only a part.

What is kept went through the redaction before: an artifact holds no more secrets than the part
that was shown.
"""

from __future__ import annotations

from typing import Protocol

from core.fleet.host import MAX_WHOLE_BYTES
from core.tools import ToolContext

MAX_ARTIFACT_BYTES = MAX_WHOLE_BYTES
"""Most of one output that is kept."""


class Artifacts(Protocol):
    """Keeps outputs that hold no secrets any more. Raises ``StorageFailure``."""

    async def keep(self, context: ToolContext, server: str, data: bytes, *, total: int) -> str:
        """Keep what a call brought from a server, of ``total`` bytes that there were; its id."""

    async def read(self, tenant_id: str, artifact_id: str) -> bytes | None:
        """What was kept, or None: never kept, forgotten, or another tenant's."""
