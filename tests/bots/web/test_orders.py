"""Standing orders over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openapi_spec_validator import validate

from billing.invoices import Party
from bots.web.auth import Authenticator
from bots.web.orders import OrderRoutes
from bots.web.server import build, listening
from core.clock import SystemClock
from core.tenants import Role, User
from storage.database import Database
from storage.orders import SqlOrders
from storage.people import SqlPeople
from storage.plan_limits import switch
from storage.plans import SqlPlans
from tests.storage.kit import install, sqlite_database
from tests.storage.orders_kit import KEY

BODY = {
    "name": "Disks",
    "prompt": "How full are the disks?",
    "cron": "0 8 * * mon-fri",
    "timezone": "europe/berlin",
}


@dataclass(kw_only=True)
class Server:
    """The routes on a database of SQLite, served."""

    people: SqlPeople
    admin: User
    url: str
    session: aiohttp.ClientSession
    auth: Authenticator
    db: Database

    async def call(
        self, method: str, path: str = "", body: object = None, who: User | None = None
    ) -> tuple[int, Any]:
        """One request: its status and its document."""
        issued = await self.auth.issue(who or self.admin, days=1)
        async with self.session.request(
            method,
            f"{self.url}/api/v1/standing-orders{path}",
            json=body,
            headers={"Authorization": f"Bearer {issued.token}"},
        ) as response:
            text = await response.text()
        return response.status, json.loads(text) if text else None

    async def person(self, name: str, role: Role) -> User:
        """A colleague."""
        user = await self.people.add_user(
            self.admin.tenant_id, email=f"{name}@example.org", name=name, role=role
        )
        assert isinstance(user, User)
        return user


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[Server]:
    """A server on a new database."""
    async with sqlite_database(path / "it0.db") as db:
        admin = await install(db)
        people = SqlPeople(db)
        auth = Authenticator(key=b"t" * 32, store=people)
        routes = OrderRoutes(SqlOrders(db, KEY), auth, SystemClock()).routes()
        async with (
            listening(build(routes, version="1"), "127.0.0.1", 0) as url,
            aiohttp.ClientSession() as session,
        ):
            yield Server(people=people, admin=admin, url=url, session=session, auth=auth, db=db)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server."""
    async with served(tmp_path) as made:
        yield made


async def test_an_orders_life_over_http(server: Server) -> None:
    """Proposed, read, confirmed, changed, paused, resumed, run, deleted."""
    bob = await server.person("bob", Role.OPERATOR)
    status, made = await server.call("POST", "", BODY, bob)
    assert status == 201
    assert (made["state"], made["cron"], made["timezone"], made["schedule"]) == (
        "proposed",
        "0 8 * * MON-FRI",
        "Europe/Berlin",
        "every weekday at 08:00 (Europe/Berlin)",
    )
    assert (made["created_by"], made["revision"], made["problem"]) == (bob.id, 0, "")
    times = [datetime.fromisoformat(at) for at in made["next_runs"]]
    assert times == sorted(times)
    assert len(times) == 3
    one = f"/{made['id']}"
    assert await server.call("GET", one) == (200, made)
    assert (await server.call("GET"))[1] == {"orders": [made]}
    status, active = await server.call("POST", f"{one}/confirm", None, bob)
    assert (status, active["state"], active["revision"]) == (200, "active", 1)
    patch = {"revision": 1, "only_if": "a disk is above 80 %", "misfire": "once"}
    status, changed = await server.call("PATCH", one, patch, bob)
    assert (status, changed["only_if"], changed["revision"]) == (200, "a disk is above 80 %", 2)
    assert (await server.call("PATCH", one, patch))[1]["code"] == "conflict"
    for revision, state in ((2, "paused"), (3, "active")):
        status, moved = await server.call("PATCH", one, {"revision": revision, "state": state})
        assert (status, moved["state"]) == (200, state)
    status, run = await server.call("POST", f"{one}/run", None, bob)
    assert (status, run["state"], run["manual"]) == (202, "started", True)
    assert (await server.call("POST", f"{one}/run"))[1]["code"] == "still_running"
    assert await server.call("GET", f"{one}/runs?limit=5") == (200, {"runs": [run]})
    assert await server.call("DELETE", one) == (204, None)
    assert (await server.call("GET", one))[0] == 404
    assert (await server.call("DELETE", one))[0] == 404


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"cron": "* * * * *"}, "bad_order"),
        ({"timezone": "Mars/X"}, "bad_order"),
        ({"prompt": " "}, "bad_order"),
        ({"prompt": "a\x00b"}, "bad_request"),
        ({"budget_tokens": "5"}, "bad_request"),
        ({"budget_tokens": True}, "bad_request"),
        ({"budget_tokens": 0}, "bad_request"),
        ({"budget_tokens": None}, "bad_request"),
        ({"conversation_id": None}, "bad_request"),
        ({"misfire": "often"}, "bad_request"),
        ({"colour": "red"}, "bad_request"),
        ({"name": "x" * 81}, "bad_request"),
    ],
)
async def test_a_body_that_is_wrong_is_a_422(
    server: Server, change: dict[str, object], code: str
) -> None:
    """Strictly read; nothing is stored."""
    status, problem = await server.call("POST", "", {**BODY, **change})
    assert (status, problem["code"]) == (422, code)
    assert (await server.call("GET"))[1] == {"orders": []}


async def test_who_may_over_http(server: Server) -> None:
    """Everybody in the team reads; a viewer proposes none, a colleague changes none."""
    bob = await server.person("bob", Role.OPERATOR)
    viewer = await server.person("vi", Role.VIEWER)
    assert (await server.call("POST", "", BODY, viewer))[0] == 403
    elsewhere = {**BODY, "conversation_id": "conv_0"}
    assert (await server.call("POST", "", elsewhere, bob))[0] == 404
    _, made = await server.call("POST", "", BODY)
    one = f"/{made['id']}"
    assert (await server.call("GET", one, None, viewer))[0] == 200
    for method, path, body in (
        ("POST", f"{one}/confirm", None),
        ("POST", f"{one}/run", None),
        ("PATCH", one, {"revision": 0, "name": "x"}),
        ("DELETE", one, None),
    ):
        assert (await server.call(method, path, body, bob))[0] == 403
    assert (await server.call("POST", f"{one}/run"))[1]["code"] == "not_confirmed"
    patch = {"revision": 0, "state": "active"}
    assert (await server.call("PATCH", one, patch))[1]["code"] == "not_confirmed"
    both = {"revision": 0, "state": "active", "name": "x"}
    assert (await server.call("PATCH", one, both))[0] == 422
    assert (await server.call("GET", f"{one}/runs?limit=0"))[0] == 422


async def test_a_full_plan_is_a_429(server: Server) -> None:
    """The problem document names the limit, the plan, and how to raise it."""
    await SqlPlans(server.db, SystemClock(), "USD", Party(name="IT0")).seed()
    await server.db.transaction(switch, on=True)
    orders = [(await server.call("POST", "", BODY))[1]["id"] for _ in range(3)]
    for order_id in orders[:2]:
        assert (await server.call("POST", f"/{order_id}/confirm"))[0] == 200
    status, problem = await server.call("POST", f"/{orders[2]}/confirm")
    assert (status, problem["code"]) == (429, "limit_reached")
    assert "Free plan allows 2 standing orders" in problem["detail"]


async def test_the_routes_describe_themselves(server: Server) -> None:
    """A valid OpenAPI document with every path."""
    async with server.session.get(f"{server.url}/openapi.json") as response:
        document = await response.json()
    validate(document)
    one = "/api/v1/standing-orders/{order_id}"
    assert {one, f"{one}/confirm", f"{one}/run", f"{one}/runs"} <= set(document["paths"])
