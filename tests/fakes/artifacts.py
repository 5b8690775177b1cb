"""Artifacts in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.tools import ToolContext


@dataclass
class KeptArtifacts:
    """Artifacts in memory."""

    kept: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    totals: list[int] = field(default_factory=list)

    async def keep(self, context: ToolContext, server: str, data: bytes, *, total: int) -> str:
        """Under ids that count up."""
        del server
        name = f"art_{len(self.kept):012x}"
        self.kept[name] = (context.tenant_id, data)
        self.totals.append(total)
        return name

    async def read(self, tenant_id: str, artifact_id: str) -> bytes | None:
        """Only its own tenant's."""
        owner, data = self.kept.get(artifact_id, ("", b""))
        return data if owner == tenant_id else None
