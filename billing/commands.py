"""The chat commands of billing: what ``core.commands.make_commands`` takes as extra topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from billing.commands_change import ChangeCommands
from billing.commands_invoices import InvoiceCommands
from billing.commands_plan import PlanCommands
from billing.desk import BillingDesk
from core.clock import Clock
from core.commands_text import Handler
from core.fleet.inventory import Server
from core.tenants import User


class Team(Protocol):
    """What a plan limits: the team's people and servers."""

    async def servers(self, tenant_id: str) -> Sequence[Server]:
        """The team's servers."""

    async def users(self, tenant_id: str) -> Sequence[User]:
        """The team's people."""


class BillingCommands:
    """All of them."""

    def __init__(self, desk: BillingDesk, clock: Clock, team: Team) -> None:
        """Wire the ports."""
        self._topics = (
            PlanCommands(desk, clock, team),
            ChangeCommands(desk, team),
            InvoiceCommands(desk),
        )

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {word: it for topic in self._topics for word, it in topic.handlers().items()}
