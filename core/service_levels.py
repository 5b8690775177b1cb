"""What an overdue invoice leaves of the service, as far as tools are concerned."""

from __future__ import annotations

from typing import Final, Protocol

from core.words import Sentence, sentence

READ_ONLY: Final = frozenset({"read_only", "off"})
"""Levels on which nothing is changed any more: whoever asks, only reads (L0) run."""

PAY_FIRST: Final[Sentence] = sentence(
    "Your team has an overdue invoice, so IT0 only reads until it is paid: nothing was changed. "
    "An admin of your team finds it with `/invoices`."
)


class ServiceLevels(Protocol):
    """What each team gets."""

    async def of(self, tenant_id: str) -> str:
        """``full``, ``no_overage``, ``read_only`` or ``off``. Raises ``StorageFailure``."""


class FullService:
    """An installation without plans: everybody gets everything."""

    async def of(self, tenant_id: str) -> str:  # noqa: ARG002  # the port's signature
        """``full``."""
        return "full"
