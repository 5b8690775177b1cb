"""``/api/v1/servers``: who may, what is refused, and that no private key comes out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from core.fleet.host import CommandResult
from core.tenants import Role
from storage.plan_limits import switch
from tests.bots.web.servers_kit import LOCKED, PEM, Rack, host_key, rack
from tests.support.core_kit import Site, copy_sqlite


@pytest.fixture
async def fleet(site: Site) -> AsyncIterator[Rack]:
    """The API over a database of each kind; plans limit nothing."""
    async with rack(site) as opened:
        await opened.storage.db.transaction(switch, on=False)
        yield opened


async def test_a_server_is_registered_and_shown(fleet: Rack) -> None:
    """By id and by name, with a fingerprint for each key."""
    await fleet.add("bastion")
    status, made = await fleet.add(
        "Web-1",
        "web.example.org",
        port=2222,
        user="deploy",
        tags=["Edge"],
        environment="staging",
        criticality="critical",
        jump="bastion",
        private_key=PEM,
        host_key=host_key(),
        sudo="never",
    )
    assert status == 201
    assert made == {
        "id": made["id"],
        "name": "Web-1",
        "kind": "ssh",
        "address": "web.example.org",
        "port": 2222,
        "user": "deploy",
        "tags": ["edge"],
        "environment": "staging",
        "criticality": "critical",
        "jump": "bastion",
        "identity": "stored",
        "identity_file": "",
        "key_fingerprint": made["key_fingerprint"],
        "host_key": host_key(),
        "host_key_fingerprint": made["host_key_fingerprint"],
        "sudo": "never",
        "revision": 0,
    }
    assert made["key_fingerprint"].startswith("SHA256:")
    for named in (made["id"], "Web-1", "wEB-1"):
        assert await fleet.call("GET", f"/{named}") == (200, made)
    _, listed = await fleet.call("GET")
    assert {row["name"] for row in listed["servers"]} == {"Web-1", "bastion", "local"}


async def test_a_selection_is_listed(fleet: Rack) -> None:
    """What could be several or nothing is a problem that says so."""
    await fleet.add("web-1", tags=["edge"])
    await fleet.add("web-2")
    _, listed = await fleet.call("GET", "?select=all%20edge%20servers")
    assert [row["name"] for row in listed["servers"]] == ["web-1"]
    status, problem = await fleet.call("GET", "?select=web")
    assert (status, problem["code"]) == (409, "ambiguous")
    status, problem = await fleet.call("GET", "?select=web-11")
    assert (status, problem["code"]) == (404, "not_found")
    assert "Did you mean" in problem["detail"]
    assert (await fleet.call("GET", "?other=1"))[0] == 422


async def test_a_change_keeps_what_it_does_not_name(fleet: Rack) -> None:
    """A stale revision is refused; a local machine keeps its place."""
    await fleet.add("web-1", tags=["a"], private_key=PEM)
    status, changed = await fleet.call("PATCH", "/web-1", {"user": "root", "revision": 0})
    assert (status, changed["user"], changed["tags"], changed["revision"]) == (
        200,
        "root",
        ["a"],
        1,
    )
    status, problem = await fleet.call("PATCH", "/web-1", {"user": "x", "revision": 0})
    assert (status, problem["code"]) == (409, "changed_meanwhile")
    status, changed = await fleet.call("PATCH", "/web-1", {"tags": [], "sudo": "allowed"})
    assert (status, changed["tags"], changed["sudo"]) == (200, [], "allowed")
    status, problem = await fleet.call("PATCH", "/local", {"address": "192.0.2.1"})
    assert (status, problem["code"]) == (422, "bad_server")
    assert (await fleet.call("PATCH", "/local", {"tags": ["home"]}))[0] == 200


async def test_jump_hosts_stay_while_they_are_needed(fleet: Rack) -> None:
    """The problem names who is behind."""
    await fleet.add("bastion")
    await fleet.add("web-1", jump="bastion")
    status, problem = await fleet.call("DELETE", "/bastion")
    assert (status, problem["code"]) == (409, "server_needed")
    assert "web-1" in problem["detail"]
    assert (await fleet.call("PATCH", "/web-1", {"jump": ""}))[1]["jump"] == ""
    assert await fleet.call("DELETE", "/bastion") == (204, None)
    assert (await fleet.call("GET", "/bastion"))[0] == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": True},
        {"port": "22"},
        {"port": 22.5},
        {"port": 0},
        {"port": None},
        {"name": "a\0b"},
        {"name": "-x"},
        {"address": "-oProxyCommand=x"},
        {"tags": ["a b"]},
        {"tags": "a"},
        {"environment": "home"},
        {"sudo": True},
        {"identity": "stored"},
        {"private_key": LOCKED},
        {"private_key": "x"},
        {"host_key": "x"},
        {"jump": "nobody"},
        {"more": 1},
    ],
)
async def test_what_is_no_server_is_refused(quick: Rack, wrong: dict[str, object]) -> None:
    """With a 422, exact types included; nothing is stored."""
    body = {"name": "web-1", "address": "192.0.2.1", **wrong}
    status, problem = await quick.call("POST", "", body)
    assert (status, problem["status"]) == (422, 422), problem
    assert len((await quick.call("GET"))[1]["servers"]) == 1


@pytest.fixture
async def quick(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Rack]:
    """The API over SQLite."""
    async with rack(copy_sqlite(sqlite_template, tmp_path / "data")) as opened:
        yield opened


async def test_a_name_is_taken_once(fleet: Rack) -> None:
    """Whatever its case; the same request with its key again is answered as before."""
    body = {"name": "web-1", "address": "192.0.2.1", "private_key": PEM}
    first = await fleet.call("POST", "", body, key="k1")
    assert first[0] == 201
    assert await fleet.call("POST", "", body, key="k1") == first
    status, problem = await fleet.add("WEB-1")
    assert (status, problem["code"]) == (409, "server_exists")


async def test_a_host_key_is_confirmed_once(fleet: Rack) -> None:
    """Another one only when it is to replace it; nothing runs before."""
    await fleet.add("web-1")
    status, tried = await fleet.call("POST", "/web-1/test")
    assert (status, tried["confirmed"], tried["reached"]) == (200, False, False)
    assert fleet.machines.host.ran == []
    body = {"host_key": tried["host_key"]}
    status, pinned = await fleet.call("POST", "/web-1/host-key", body)
    assert (status, pinned["host_key_fingerprint"]) == (200, tried["fingerprint"])
    _, tried = await fleet.call("POST", "/web-1/test")
    assert (tried["confirmed"], tried["reached"], tried["user"]) == (True, True, "deploy")
    assert (tried["sudo"], tried["problem"]) == (True, "")
    status, problem = await fleet.call("POST", "/web-1/host-key", {"host_key": host_key(2)})
    assert (status, problem["code"]) == (409, "host_key_changed")
    fleet.machines.key = host_key(2)
    _, tried = await fleet.call("POST", "/web-1/test")
    assert (tried["changed"], tried["reached"]) == (True, False)
    body = {"host_key": host_key(2), "replace": True}
    assert (await fleet.call("POST", "/web-1/host-key", body))[0] == 200


async def test_a_trial_says_what_is_wrong(fleet: Rack) -> None:
    """No shell there, no sudo, no way there; the local machine needs no host key."""
    await fleet.add("web-1", host_key=host_key())
    fleet.machines.host.commands["true"] = CommandResult(exit_status=1, stdout="", stderr="no")
    _, tried = await fleet.call("POST", "/web-1/test")
    assert tried["reached"]
    assert "runs no commands" in tried["problem"]
    fleet.machines.host.unreachable = "web-1 does not answer."
    _, tried = await fleet.call("POST", "/web-1/test")
    assert (tried["reached"], tried["problem"]) == (False, "web-1 does not answer.")
    fleet.machines.host.unreachable = ""
    del fleet.machines.host.commands["true"]
    _, tried = await fleet.call("POST", "/local/test")
    assert (tried["host_key"], tried["confirmed"]) == ("", True)


async def test_the_role_decides(fleet: Rack) -> None:
    """Viewers read, operators try out, admins change."""
    await fleet.add("web-1")
    viewer, operator = await fleet.member(Role.VIEWER), await fleet.member(Role.OPERATOR)
    for who in (viewer, operator):
        assert (await fleet.call("GET", "", who=who))[0] == 200
        assert (await fleet.call("GET", "/web-1", who=who))[0] == 200
        for method, path, body in (
            ("POST", "", {"name": "b", "address": "192.0.2.1"}),
            ("PATCH", "/web-1", {"tags": ["x"]}),
            ("DELETE", "/web-1", None),
            ("POST", "/web-1/host-key", {"host_key": host_key()}),
        ):
            status, problem = await fleet.call(method, path, body, who=who)
            assert (status, problem["code"]) == (403, "not_allowed")
    assert (await fleet.call("POST", "/web-1/test", who=viewer))[0] == 403
    assert (await fleet.call("POST", "/web-1/test", who=operator))[0] == 200


async def test_another_team_sees_and_reaches_nothing(fleet: Rack) -> None:
    """Neither by name nor by id; its own servers need a key of its own and lead elsewhere."""
    _, mine = await fleet.add("web-1")
    other = await fleet.stranger()
    assert (await fleet.call("GET", "", who=other))[1] == {"servers": []}
    for named in ("web-1", mine["id"], "local"):
        for method, path, body in (
            ("GET", f"/{named}", None),
            ("PATCH", f"/{named}", {"tags": ["x"]}),
            ("DELETE", f"/{named}", None),
            ("POST", f"/{named}/host-key", {"host_key": host_key()}),
            ("POST", f"/{named}/test", None),
        ):
            assert (await fleet.call(method, path, body, who=other))[0] == 404
    for body in (
        {"name": "a", "address": "192.0.2.1"},
        {"name": "a", "address": "127.0.0.1", "private_key": PEM},
        {"name": "a", "address": "192.0.2.1", "private_key": PEM, "jump": mine["id"]},
    ):
        assert (await fleet.call("POST", "", body, who=other))[0] == 422
    body = {"name": "web-1", "address": "192.0.2.1", "private_key": PEM}
    assert (await fleet.call("POST", "", body, who=other))[0] == 201


async def test_more_than_the_plan_allows_is_a_429(fleet: Rack) -> None:
    """With the limit, the plan and what to do; the same key works once there is room."""
    await fleet.storage.db.transaction(switch, on=True)
    for number in (1, 2):
        assert (await fleet.add(f"web-{number}"))[0] == 201
    body = {"name": "late", "address": "192.0.2.1"}
    status, problem = await fleet.call("POST", "", body, key="late")
    assert (status, problem["code"]) == (429, "limit_reached")
    assert problem["detail"].startswith("The Free plan allows 3 servers")
    await fleet.call("DELETE", "/web-1")
    assert (await fleet.call("POST", "", body, key="late"))[0] == 201


async def test_the_routes_describe_themselves(quick: Rack) -> None:
    """The document is valid and tells where a key may be sent."""
    async with quick.session.get(f"{quick.url}/openapi.json") as response:
        document = await response.json()
    validate(document)
    assert set(document["paths"]) >= {"/api/v1/servers", "/api/v1/servers/{server}/host-key"}
    assert "private_key" not in document["components"]["schemas"]["ServerInfo"]["properties"]
