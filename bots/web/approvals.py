"""What waits for a human, and the humans' decisions, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Literal, Protocol

from aiohttp import web
from pydantic import BaseModel, Field

from bots.web.auth import Authenticator, Caller, needs
from bots.web.bodies import Body, Query
from bots.web.languages import language_for
from bots.web.openapi import Reads, operation
from bots.web.problems import Problem
from bots.web.requests import NO_NUL, read_body
from core.agent_config import OnTimeout
from core.approval_cards import settled_line, short_id
from core.approvals import Approval, ApprovalDesk, Decided, Decision, Status
from core.messages import clean_text
from core.refusals import Rejected
from core.tenants import Role, User
from core.words import Words, sentence

MAX_LISTED = 100
MAX_COMMENT = 1_000
_REFUSED = {
    "not_found": HTTPStatus.NOT_FOUND,
    "not_allowed": HTTPStatus.FORBIDDEN,
    "four_eyes": HTTPStatus.FORBIDDEN,
    "approval_expired": HTTPStatus.GONE,
}


class ApprovalBook(ApprovalDesk, Protocol):
    """The desk, and all that was ever asked."""

    async def listed(
        self, tenant_id: str, status: Status | None, limit: int
    ) -> tuple[Approval, ...]:
        """The newest first, of one status or of all."""


class ApprovalQuery(Query):
    """What is listed."""

    status: Annotated[Status | Literal["all"], Field(description="Which ones.")] = Status.PENDING
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED, description="How many at most.")] = 50


class DecisionBody(Body):
    """A decision; the comment of a denial is told to the agent."""

    decision: Literal["approve", "deny"]
    comment: Annotated[str, Field(max_length=MAX_COMMENT, pattern=NO_NUL)] = ""


class ApprovalInfo(BaseModel):
    """A request for approval, whole: what will run is exactly ``action``."""

    id: str
    short_id: str
    status: Status
    tool: str
    action: str
    level: str
    servers: list[str]
    steps: list[str]
    why: str
    asked: str
    asked_by: str
    unattended: bool
    risks: list[str]
    change: str
    undo: str
    four_eyes: bool
    may_approve: bool
    """Whether the caller may; who asked may only deny where four eyes are demanded."""
    on_timeout: OnTimeout
    turn_id: str
    conversation_id: str
    created_at: datetime
    expires_at: datetime
    decided_by: str
    decided_where: str
    decided_at: datetime | None
    comment: str
    used: bool


class ApprovalList(BaseModel):
    """What waits, the oldest first; of another status the newest first."""

    approvals: list[ApprovalInfo]


class ApprovalRoutes:
    """The team's requests for approval; for operators and admins."""

    def __init__(self, desk: ApprovalBook, auth: Authenticator) -> None:
        """Wire the ports."""
        self._desk = desk
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        """What the server mounts."""
        return [
            web.get("/api/v1/approvals", self.list_approvals, allow_head=False),
            web.get("/api/v1/approvals/{approval_id}", self.show_approval, allow_head=False),
            web.post("/api/v1/approvals/{approval_id}/decision", self.decide_approval),
        ]

    @operation(answer=ApprovalList, errors=(403, 422), reads=Reads(query=ApprovalQuery))
    async def list_approvals(self, request: web.Request) -> web.Response:
        """What waits for a decision, or what became of earlier requests."""
        user = (await self._caller(request)).user
        tenant = user.tenant_id
        query = ApprovalQuery.model_validate(dict(request.query))
        if query.status is Status.PENDING:
            found = (await self._desk.pending(tenant))[: query.limit]
        else:
            status = None if query.status == "all" else query.status
            found = await self._desk.listed(tenant, status, query.limit)
        return _json(ApprovalList(approvals=[_info(one, user) for one in found]))

    @operation(answer=ApprovalInfo, errors=(403, 404))
    async def show_approval(self, request: web.Request) -> web.Response:
        """One request, with all that its card says, uncut."""
        user = (await self._caller(request)).user
        found = await self._desk.get(user.tenant_id, request.match_info["approval_id"])
        if found is None:
            detail = sentence("There is no such request for approval.")
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", detail)
        return _json(_info(found, user))

    @operation(
        body=DecisionBody,
        answer=ApprovalInfo,
        errors=(400, 403, 404, 408, 409, 410, 413, 415, 422),
    )
    async def decide_approval(self, request: web.Request) -> web.Response:
        """Approve or deny, once; the same decision of the same person again is no error."""
        caller = await self._caller(request)
        body = DecisionBody.model_validate_json(await read_body(request))
        decision = Decision(
            approve=body.decision == "approve",
            where="api" if caller.session_id is None else "web",
            comment=clean_text(body.comment).strip(),
        )
        decided = await self._desk.decide(caller.user, request.match_info["approval_id"], decision)
        if isinstance(decided, Rejected):
            raise Problem(_REFUSED[decided.code], decided.code, decided.sentence)
        if not decided.first and not _repeated(decided, caller, decision):
            raise _late(decided, Words(await language_for(request)))
        return _json(_info(decided.approval, caller.user))

    async def _caller(self, request: web.Request) -> Caller:
        """Cards show what others wrote and what runs where: not for viewers."""
        caller = await self._auth.caller(request)
        if not caller.user.role.includes(Role.OPERATOR):
            detail = needs(Role.OPERATOR, caller.user)
            raise Problem(HTTPStatus.FORBIDDEN, "not_allowed", detail)
        return caller


def _repeated(decided: Decided, caller: Caller, decision: Decision) -> bool:
    """Whether it is this very decision, sent again because its answer was lost."""
    wanted = Status.APPROVED if decision.approve else Status.DENIED
    approval = decided.approval
    return approval.status is wanted and approval.decided_by == caller.user.id


def _late(decided: Decided, words: Words) -> Problem:
    became = settled_line(decided.approval, words)
    line = sentence("This was decided already. {line}.", line=became)
    match decided.approval.status:
        case Status.EXPIRED:
            return Problem(HTTPStatus.GONE, "approval_expired", line)
        case Status.VOID:
            return Problem(HTTPStatus.GONE, "approval_void", line)
        case _:
            return Problem(HTTPStatus.CONFLICT, "already_decided", line)


def _info(approval: Approval, reader: User) -> ApprovalInfo:
    card = approval.card
    return ApprovalInfo(
        id=approval.id,
        short_id=short_id(approval.id),
        status=approval.status,
        tool=card.tool,
        action=card.action,
        level=card.level,
        servers=list(card.servers),
        steps=list(card.steps),
        why=card.why,
        asked=card.asked,
        asked_by=card.asked_by,
        unattended=card.unattended,
        risks=list(card.risks),
        change=card.change,
        undo=card.undo,
        four_eyes=approval.four_eyes,
        may_approve=not (approval.four_eyes and approval.asked_by == reader.id),
        on_timeout=approval.on_timeout,
        turn_id=approval.turn_id,
        conversation_id=approval.conversation_id,
        created_at=_time(approval.created_at_ms),
        expires_at=_time(approval.expires_at_ms),
        decided_by=approval.decided_by_name,
        decided_where=approval.decided_where,
        decided_at=None if approval.decided_at_ms is None else _time(approval.decided_at_ms),
        comment=approval.comment,
        used=approval.used,
    )


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def _json(answer: BaseModel) -> web.Response:
    return web.json_response(text=answer.model_dump_json())
