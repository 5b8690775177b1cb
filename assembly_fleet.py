"""What operates the fleet: approvals, and the people who decide about them."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from bots.web.auth import Authenticator
from core.clock import SystemClock
from core.commands import Topic
from core.commands_notice import NoticeCommand
from storage.announcements import SqlNotices
from storage.approval_desk import SqlApprovalDesk
from storage.approvals import SqlApprovals
from stores import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The parts, made once."""

    storage: Storage
    approvals: SqlApprovals
    desk: SqlApprovalDesk

    def topics(self) -> tuple[Topic, ...]:
        """The chat commands."""
        notices = SqlNotices(self.storage.db)
        return (NoticeCommand(notices, self.desk, SystemClock()),)

    def routes(self, _auth: Authenticator) -> list[web.RouteDef]:
        """What the HTTP edge mounts."""
        return []


def make_fleet(storage: Storage) -> Fleet:
    """Wire the stores."""
    audit_key = storage.keys.derive("audit")
    return Fleet(
        storage=storage,
        approvals=SqlApprovals(storage.db, audit_key),
        desk=SqlApprovalDesk(storage.db, audit_key),
    )
