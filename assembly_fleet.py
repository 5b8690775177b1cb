"""What operates the fleet: approvals, standing orders, and the people who decide about them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from bots.web.approvals import ApprovalRoutes
from bots.web.artifacts import ArtifactRoutes
from bots.web.audit import AuditRoutes
from bots.web.auth import Authenticator
from bots.web.handovers import HandoverRoutes
from bots.web.orders import OrderRoutes
from bots.web.servers import ServerRoutes
from core.clock import SystemClock
from core.commands import Topic
from core.commands_handover import HandoverCommands
from core.commands_notice import NoticeCommand
from core.commands_orders import OrderCommands
from core.fleet.local import LocalConnector, LocalHost
from core.fleet.ssh import SshConnector
from core.fleet.tools import fleet_tools
from core.order_loop import OrderLoop
from core.order_tools import order_tools
from core.protected import ProtectedPaths
from core.tools import Tool
from settings import Settings
from storage.announcements import SqlNotices
from storage.approval_desk import SqlApprovalDesk
from storage.approvals import SqlApprovals
from storage.artifacts import FORGET_AT_ONCE, SqlArtifacts
from storage.audit_reads import SqlAuditLog
from storage.handovers import SqlHandovers
from storage.idempotency import SqlKeys
from storage.order_runs import SqlOrderRuns
from storage.orders import SqlOrders
from storage.servers import SqlServers
from stores import Storage

ARTIFACTS_KEPT_MS = 30 * 86_400_000
"""Whole outputs are forgotten after it; what the agent read of them stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The parts, made once."""

    storage: Storage
    protected: ProtectedPaths
    servers: SqlServers
    connector: SshConnector
    approvals: SqlApprovals
    desk: SqlApprovalDesk
    orders: SqlOrders
    handovers: SqlHandovers
    artifacts: SqlArtifacts

    def topics(self) -> tuple[Topic, ...]:
        """The chat commands."""
        notices, clock = SqlNotices(self.storage.db), SystemClock()
        return (
            NoticeCommand(notices, self.desk, clock),
            OrderCommands(self.orders, clock),
            HandoverCommands(self.handovers, clock),
        )

    def tools(self) -> tuple[Tool, ...]:
        """What the agent can do."""
        return (
            *fleet_tools(self.servers, self.connector, self.protected, self.artifacts),
            *order_tools(self.orders, SystemClock()),
        )

    def routes(self, auth: Authenticator) -> list[web.RouteDef]:
        """What the HTTP edge mounts."""
        audit_key = self.storage.keys.derive("audit")
        return [
            *ServerRoutes(
                store=self.servers,
                probe=self.connector,
                auth=auth,
                keys=SqlKeys(self.storage.db, SystemClock()),
            ).routes(),
            *AuditRoutes(SqlAuditLog(self.storage.db, audit_key), auth).routes(),
            *HandoverRoutes(self.handovers, auth, SystemClock()).routes(),
            *ApprovalRoutes(self.desk, auth).routes(),
            *OrderRoutes(self.orders, auth, SystemClock()).routes(),
            *ArtifactRoutes(self.artifacts, auth).routes(),
        ]

    async def loops(self, wake: Callable[[], None]) -> None:
        """Run until cancelled; ``wake`` tells the scheduler that there is a turn."""
        await OrderLoop(self._runs(), wake).run()

    async def housekeep(self) -> None:
        """Forget what is old."""
        before_ms = SystemClock().now_ms() - ARTIFACTS_KEPT_MS
        forgotten = FORGET_AT_ONCE
        while forgotten == FORGET_AT_ONCE:
            forgotten = await self.artifacts.forget(before_ms)
        await self._runs().forget()

    def _runs(self) -> SqlOrderRuns:
        return SqlOrderRuns(self.storage.db, self.storage.keys.derive("audit"))


async def make_fleet(settings: Settings, storage: Storage, stack: AsyncExitStack) -> Fleet:
    """Wire the stores, and the way to the servers; connections are closed with the stack."""
    audit_key = storage.keys.derive("audit")
    protected = protected_paths(settings)
    servers = SqlServers(storage.db, storage.keys.derive("servers"), audit_key)
    connector = SshConnector(
        servers,
        protected,
        LocalConnector(host=LocalHost(protected)),
        servers,
        operator_tenant=await servers.operator_tenant(),
        agent_path=settings.ssh_agent,
    )
    stack.push_async_callback(connector.aclose)
    return Fleet(
        storage=storage,
        protected=protected,
        servers=servers,
        connector=connector,
        approvals=SqlApprovals(storage.db, audit_key),
        desk=SqlApprovalDesk(storage.db, audit_key),
        orders=SqlOrders(storage.db, audit_key),
        handovers=SqlHandovers(storage.db, audit_key),
        artifacts=SqlArtifacts(storage.db),
    )


def protected_paths(settings: Settings) -> ProtectedPaths:
    """IT0's own files on its own machine, and what is protected everywhere."""
    own = [settings.data_dir, Path.cwd() / ".env"]
    if settings.database_path is not None:
        own.append(settings.database_path)
    return ProtectedPaths.of(*own)
