"""What operates the fleet: approvals, standing orders, and the people who decide about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from bots.web.approvals import ApprovalRoutes
from bots.web.artifacts import ArtifactRoutes
from bots.web.auth import Authenticator
from bots.web.orders import OrderRoutes
from core.clock import SystemClock
from core.commands import Topic
from core.commands_notice import NoticeCommand
from core.commands_orders import OrderCommands
from core.order_loop import OrderLoop
from core.order_tools import order_tools
from core.tools import Tool
from storage.announcements import SqlNotices
from storage.approval_desk import SqlApprovalDesk
from storage.approvals import SqlApprovals
from storage.artifacts import FORGET_AT_ONCE, SqlArtifacts
from storage.order_runs import SqlOrderRuns
from storage.orders import SqlOrders
from stores import Storage

ARTIFACTS_KEPT_MS = 30 * 86_400_000
"""Whole outputs are forgotten after it; what the agent read of them stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The parts, made once."""

    storage: Storage
    approvals: SqlApprovals
    desk: SqlApprovalDesk
    orders: SqlOrders
    artifacts: SqlArtifacts

    def topics(self) -> tuple[Topic, ...]:
        """The chat commands."""
        notices, clock = SqlNotices(self.storage.db), SystemClock()
        return (
            NoticeCommand(notices, self.desk, clock),
            OrderCommands(self.orders, clock),
        )

    def tools(self) -> tuple[Tool, ...]:
        """What the agent can do beside the servers themselves."""
        return order_tools(self.orders, SystemClock())

    def routes(self, auth: Authenticator) -> list[web.RouteDef]:
        """What the HTTP edge mounts."""
        return [
            *ApprovalRoutes(self.desk, auth).routes(),
            *OrderRoutes(self.orders, auth, SystemClock()).routes(),
            *ArtifactRoutes(self.artifacts, auth).routes(),
        ]

    async def loops(self, wake: Callable[[], None]) -> None:
        """Run until cancelled; ``wake`` tells the scheduler that there is a turn."""
        audit_key = self.storage.keys.derive("audit")
        await OrderLoop(SqlOrderRuns(self.storage.db, audit_key), wake).run()

    async def housekeep(self) -> None:
        """Forget what is old."""
        before_ms = SystemClock().now_ms() - ARTIFACTS_KEPT_MS
        forgotten = FORGET_AT_ONCE
        while forgotten == FORGET_AT_ONCE:
            forgotten = await self.artifacts.forget(before_ms)


def make_fleet(storage: Storage) -> Fleet:
    """Wire the stores."""
    audit_key = storage.keys.derive("audit")
    return Fleet(
        storage=storage,
        approvals=SqlApprovals(storage.db, audit_key),
        desk=SqlApprovalDesk(storage.db, audit_key),
        orders=SqlOrders(storage.db, audit_key),
        artifacts=SqlArtifacts(storage.db),
    )
