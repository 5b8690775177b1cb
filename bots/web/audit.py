"""The audit log over HTTP, for the admins of a team: pages, an export, the head to be kept."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, Protocol

from aiohttp import web

from bots.web.audit_models import AuditEntryInfo, AuditPage, AuditQuery, AuditRows, HeadFile
from bots.web.auth import Authenticator, needs
from bots.web.openapi import Reads, operation
from bots.web.problems import Problem
from core.audit import AuditFilter, AuditRow, detail_of
from core.tenants import Role

JSON_LINES: Final = "application/x-ndjson"
_PATH: Final = "/api/v1/audit"


class AuditLog(Protocol):
    """A team's rows. Raises ``StorageFailure``."""

    async def page(
        self, tenant_id: str, asked: AuditFilter, *, before: int | None, limit: int
    ) -> tuple[AuditRow, ...]:
        """The newest rows with a number below ``before``."""

    async def head(self, tenant_id: str) -> str:
        """The head as a sealed JSON document."""

    def export(self, tenant_id: str, asked: AuditFilter) -> AsyncGenerator[str]:
        """Every row as JSON lines, the oldest first, and the sealed line that ends them."""


class AuditRoutes:
    """The log of the caller's team."""

    def __init__(self, log: AuditLog, auth: Authenticator) -> None:
        """Wire the ports."""
        self._log = log
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [
            web.get(_PATH, self.list_audit, allow_head=False),
            web.get(f"{_PATH}/export", self.export_audit, allow_head=False),
            web.get(f"{_PATH}/head", self.audit_head, allow_head=False),
        ]

    @operation(answer=AuditPage, errors=(403, 422), reads=Reads(query=AuditQuery))
    async def list_audit(self, request: web.Request) -> web.Response:
        """What happened, the newest first; for admins."""
        tenant_id = await self._team(request)
        query = AuditQuery.model_validate(dict(request.query))
        rows = await self._log.page(
            tenant_id, _asked(query), before=query.cursor, limit=query.limit
        )
        full = len(rows) == query.limit and rows[-1].seq > 1
        page = AuditPage(
            entries=[_info(row) for row in rows], next_cursor=rows[-1].seq if full else None
        )
        return web.json_response(text=page.model_dump_json())

    @operation(errors=(403, 422), reads=Reads(query=AuditRows), gives=JSON_LINES)
    async def export_audit(self, request: web.Request) -> web.StreamResponse:
        """Every row that is asked for as JSON lines, with a sealed last line; for admins."""
        tenant_id = await self._team(request)
        asked = _asked(AuditRows.model_validate(dict(request.query)))
        async with aclosing(self._log.export(tenant_id, asked)) as lines:
            # A database that is down is a problem document, not a stream that breaks off.
            first = await anext(lines)
            response = web.StreamResponse(headers={"Content-Type": JSON_LINES})
            await response.prepare(request)
            await response.write(first.encode())
            async for line in lines:
                await response.write(line.encode())
        await response.write_eof()
        return response

    @operation(answer=HeadFile, errors=(403,))
    async def audit_head(self, request: web.Request) -> web.Response:
        """The sealed head of the log: kept elsewhere, it shows later what was cut off."""
        return web.json_response(text=await self._log.head(await self._team(request)))

    async def _team(self, request: web.Request) -> str:
        user = (await self._auth.caller(request)).user
        if not user.role.includes(Role.ADMIN):
            raise Problem(HTTPStatus.FORBIDDEN, "forbidden", needs(Role.ADMIN, user))
        return user.tenant_id


def _asked(query: AuditRows) -> AuditFilter:
    return AuditFilter(
        since_ms=_ms(query.since),
        until_ms=_ms(query.until),
        action=query.action or "",
        actor=query.actor or "",
        turn_id=query.turn or "",
        server=query.server or "",
        level=query.level or "",
    )


def _ms(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)


def _info(row: AuditRow) -> AuditEntryInfo:
    return AuditEntryInfo(
        seq=row.seq,
        at=datetime.fromtimestamp(row.at_ms / 1000, UTC),
        actor=row.actor,
        action=row.action,
        turn_id=row.turn_id,
        detail=detail_of(row.detail),
        mac=row.mac,
    )
