"""Requests for approval over HTTP: who reads them, who decides, and what counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
import pytest
from openapi_spec_validator import validate

from bots.web.approvals import MAX_COMMENT, ApprovalRoutes
from bots.web.auth import Authenticator
from bots.web.openapi import document
from bots.web.server import build, listening
from core.approvals import Card, Status
from core.tenants import Role, User
from tests.fakes.approvals import DeskInMemory, an_approval
from tests.fakes.web_ports import TokensInMemory

CARD = Card(
    tool="service",
    action="systemctl restart nginx",
    level="L2",
    servers=("web-1",),
    why="It hangs.",
    asked_by="Ann",
    change="-a\n+b\n" * 500,
)


def person(name: str, role: Role = Role.OPERATOR, tenant: str = "ten_1") -> User:
    """Somebody of a team."""
    return User(id=f"usr_{name}", tenant_id=tenant, email=f"{name}@x.example", name=name, role=role)


ANN, BOB = person("asker"), person("bob", Role.ADMIN)
EVE, STRANGER = person("eve", Role.VIEWER), person("stranger", Role.ADMIN, "ten_2")


@dataclass(kw_only=True)
class Server:
    """The routes over a desk in memory."""

    url: str
    session: aiohttp.ClientSession
    auth: Authenticator
    desk: DeskInMemory = field(default_factory=DeskInMemory)

    async def call(
        self, method: str, path: str = "", body: object = None, who: User = BOB
    ) -> tuple[int, Any]:
        """One request: its status and its document."""
        issued = await self.auth.issue(who, days=1)
        async with self.session.request(
            method,
            f"{self.url}/api/v1/approvals{path}",
            json=body,
            headers={"Authorization": f"Bearer {issued.token}"},
        ) as response:
            return response.status, json.loads(await response.text())

    async def decide(self, what: str, who: User = BOB, **more: object) -> tuple[int, Any]:
        """A decision about the only request."""
        (approval,) = self.desk.rows
        return await self.call("POST", f"/{approval}/decision", {"decision": what, **more}, who)


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    """The routes, served."""
    auth = Authenticator(key=b"k" * 32, store=TokensInMemory([ANN, BOB, EVE, STRANGER]))
    desk = DeskInMemory()
    application = build(ApprovalRoutes(desk, auth).routes(), version="1")
    async with (
        listening(application, "127.0.0.1", 0) as url,
        aiohttp.ClientSession() as session,
    ):
        yield Server(url=url, session=session, auth=auth, desk=desk)


async def test_what_waits_is_listed_whole() -> None:
    """By default what can still be decided; else of one status, or all."""
    async with serving() as server:
        waiting = server.desk.put(an_approval(CARD))
        server.desk.put(replace(waiting, id="appr_old", status=Status.DENIED))
        server.desk.put(replace(waiting, id="appr_late", expires_at_ms=server.desk.now_ms))
        server.desk.put(replace(waiting, id="appr_theirs", tenant_id="ten_2"))
        _, listed = await server.call("GET")
        assert [one["id"] for one in listed["approvals"]] == [waiting.id]
        shown = listed["approvals"][0]
        assert (shown["short_id"], shown["action"]) == ("abc123", CARD.action)
        assert shown["change"] == CARD.change
        assert shown["decided_at"] is None
        _, denied = await server.call("GET", "?status=denied")
        assert [one["id"] for one in denied["approvals"]] == ["appr_old"]
        _, every = await server.call("GET", "?status=all&limit=2")
        assert [one["id"] for one in every["approvals"]] == ["appr_late", "appr_old"]
        assert (await server.call("GET", "?status=no"))[0] == 422
        assert (await server.call("GET", f"/{waiting.id}"))[1] == shown


@pytest.mark.parametrize(("what", "status"), [("approve", "approved"), ("deny", "denied")])
async def test_a_decision_is_made_with_its_comment(what: str, status: str) -> None:
    """Once; the same again from the same person is answered alike."""
    async with serving() as server:
        server.desk.put(an_approval(CARD))
        first = await server.decide(what, comment=" go on ")
        code, made = first
        assert (code, made["status"], made["comment"]) == (200, status, "go on")
        assert (made["decided_by"], made["decided_where"]) == ("bob", "api")
        assert await server.decide(what, comment="again") == first


async def test_the_first_decision_wins() -> None:
    """Another one is a conflict that says whose came before."""
    async with serving() as server:
        server.desk.put(an_approval(CARD))
        both = await asyncio.gather(server.decide("approve", ANN), server.decide("deny", BOB))
        assert sorted(code for code, _ in both) == [200, 409]
        (problem,) = [body for code, body in both if code == 409]
        assert problem["code"] == "already_decided"
        (kept,) = server.desk.rows.values()
        assert kept.decided_by_name in problem["detail"]
        assert (await server.decide("deny", ANN))[0] == 409


async def test_what_is_over_is_gone() -> None:
    """Past its time, expired or void: 410."""
    async with serving() as server:
        waiting = server.desk.put(an_approval(CARD))
        server.desk.now_ms = waiting.expires_at_ms
        assert (await server.decide("approve"))[0] == 410
        for status in (Status.EXPIRED, Status.VOID):
            server.desk.put(replace(waiting, status=status))
            assert (await server.decide("approve"))[0] == 410


async def test_who_may_not_decide_is_told() -> None:
    """Four eyes, viewers and other teams; who asked may still deny."""
    async with serving() as server:
        approval = server.desk.put(an_approval(CARD, four_eyes=True))
        code, problem = await server.decide("approve", ANN)
        assert (code, problem["code"]) == (403, "four_eyes")
        for who, may in ((ANN, False), (BOB, True)):
            told = (await server.call("GET", f"/{approval.id}", who=who))[1]
            assert told["may_approve"] is may
        for method, path in (("GET", ""), ("GET", f"/{approval.id}")):
            assert (await server.call(method, path, who=EVE))[0] == 403
        assert (await server.decide("approve", EVE))[0] == 403
        assert (await server.call("GET", f"/{approval.id}", who=STRANGER))[0] == 404
        assert (await server.decide("approve", STRANGER))[0] == 404
        assert server.desk.rows[approval.id].status is Status.PENDING
        assert (await server.decide("deny", ANN))[0] == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"decision": "yes"},
        {"decision": True},
        {"decision": "approve", "force": True},
        {"decision": "deny", "comment": "x" * (MAX_COMMENT + 1)},
        {"decision": "deny", "comment": "\0"},
        {"decision": "deny", "comment": None},
    ],
)
async def test_anything_but_a_decision_is_refused(body: dict[str, object]) -> None:
    """And nothing is decided."""
    async with serving() as server:
        approval = server.desk.put(an_approval(CARD))
        assert (await server.call("POST", f"/{approval.id}/decision", body))[0] == 422
        assert server.desk.rows[approval.id].status is Status.PENDING


def test_the_routes_are_described() -> None:
    """The document is valid and names them with their problems."""
    auth = Authenticator(key=b"k" * 32, store=TokensInMemory([]))
    made = document(ApprovalRoutes(DeskInMemory(), auth).routes(), version="1")
    validate(made)
    paths: Any = made["paths"]
    decision = paths["/api/v1/approvals/{approval_id}/decision"]["post"]
    assert {"200", "403", "404", "409", "410"} <= set(decision["responses"])
    query = {one["name"] for one in paths["/api/v1/approvals"]["get"]["parameters"]}
    assert query == {"status", "limit"}
