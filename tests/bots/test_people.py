"""Who may be added, changed and shut out, and what a stolen token can do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from bots.web.auth import operator_token
from core.ids import new_id
from core.tenants import Role, User
from storage.team import SqlTeam
from tests.bots.api_kit import Api, open_api
from tests.support.core_kit import Site


@pytest.fixture
async def api(data_dir: Path) -> AsyncIterator[Api]:
    """The product, spoken to as its admin."""
    async with open_api(data_dir) as api:
        yield api


async def person(api: Api, email: str, role: str = "operator") -> tuple[str, str]:
    """Add a person; their id and a token of theirs."""
    status, user = await api.call("POST", "/api/v1/users", {"email": email, "role": role})
    assert status == 201
    _, made = await api.call("POST", "/api/v1/tokens", {"email": email})
    return str(user["id"]), str(made["token"])


async def status_with(api: Api, token: str) -> int:
    """What a request with that token gets."""
    return (await api.call("GET", "/api/v1/servers", Authorization=f"Bearer {token}"))[0]


async def mint(api: Api, token: str, days: int = 3650) -> dict[str, Any]:
    """A token made with a token."""
    status, made = await api.call(
        "POST", "/api/v1/tokens", {"days": days}, Authorization=f"Bearer {token}"
    )
    assert status == 201
    return dict(made)


async def test_more_people_than_the_plan_allows_are_a_429(data_dir: Path) -> None:
    """Whether they are added or invited; the problem names the plan and what to do."""
    invited = {"kind": "invite", "email": "late@example.org"}
    async with open_api(data_dir, {"IT0_BILLING": "on"}) as api:
        for number in (1, 2):
            await person(api, f"u{number}@example.org")
        for path, body in (("users", {"email": "late@example.org"}), ("codes", invited)):
            status, problem = await api.call("POST", f"/api/v1/{path}", body)
            assert (status, problem["code"]) == (429, "limit_reached")
            assert "Free plan allows 3 people" in problem["detail"]
            assert "/upgrade" in problem["detail"]


async def test_a_token_cannot_renew_itself(api: Api) -> None:
    """A token made with a token ends with it, however many days it asks for."""
    _, made = await api.call("POST", "/api/v1/tokens", {"days": 1})
    child = await mint(api, made["token"])
    ends = [
        jwt.decode(t["token"], options={"verify_signature": False})["exp"] for t in (made, child)
    ]
    assert ends[0] == ends[1]
    assert made["expires_at"] == child["expires_at"]


async def test_revoking_a_token_revokes_what_was_made_with_it(api: Api) -> None:
    """Children and grandchildren stop at once; the tokens beside them go on."""
    _, first = await api.call("POST", "/api/v1/tokens", {})
    child = await mint(api, first["token"])
    grandchild = await mint(api, child["token"])
    assert (await api.call("DELETE", f"/api/v1/tokens/{first['id']}"))[0] == 204
    for made in (first, child, grandchild):
        assert await status_with(api, made["token"]) == 401
    assert await status_with(api, api.token) == 200
    assert (await api.call("DELETE", f"/api/v1/tokens/{first['id']}"))[0] == 404


async def test_tokens_are_listed_without_the_tokens(api: Api) -> None:
    """An admin sees the team's, a viewer their own; a viewer revokes their own alone."""
    _, viewer = await person(api, "v@example.com", "viewer")
    mine = await mint(api, viewer)
    _, listed = await api.call("GET", "/api/v1/tokens", Authorization=f"Bearer {viewer}")
    assert {row["email"] for row in listed["tokens"]} == {"v@example.com"}
    assert mine["id"] in {row["id"] for row in listed["tokens"]}
    _, team = await api.call("GET", "/api/v1/tokens")
    assert {row["email"] for row in team["tokens"]} == {"v@example.com", "admin@localhost"}
    assert viewer not in repr(team)
    admins = next(row["id"] for row in team["tokens"] if row["email"] == "admin@localhost")
    for token_id, status in ((admins, 404), (mine["id"], 204)):
        path = f"/api/v1/tokens/{token_id}"
        assert (await api.call("DELETE", path, Authorization=f"Bearer {viewer}"))[0] == status


async def test_a_disabled_person_is_out_at_once(api: Api) -> None:
    """Their tokens and the tokens made with them stop; adding them again brings them back."""
    user_id, token = await person(api, "eve@example.com", "admin")
    child = await mint(api, token)
    assert (await api.call("DELETE", f"/api/v1/users/{user_id}"))[0] == 204
    assert await status_with(api, token) == await status_with(api, child["token"]) == 401
    assert "eve" not in repr((await api.call("GET", "/api/v1/users"))[1])
    assert (await api.call("DELETE", f"/api/v1/users/{user_id}"))[0] == 404
    status, again = await api.call("POST", "/api/v1/users", {"email": "eve@example.com"})
    assert (status, again["id"], again["role"]) == (201, user_id, "operator")
    assert await status_with(api, token) == 401
    assert await api.core.storage.audit.verify() == {}


async def test_roles_change_and_the_last_admin_stays(api: Api) -> None:
    """A role counts from the next request on; nobody can leave the team without an admin."""
    user_id, _ = await person(api, "ada@example.com")
    operator = operator_token(api.core.storage.keys.derive("tokens"), "ada@example.com")
    token = (await mint(api, operator))["token"]  # not made with the admin's: it outlives them
    path = f"/api/v1/users/{user_id}"
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await api.call("PATCH", path, {"role": "admin"}, **bearer))[0] == 403
    assert (await api.call("DELETE", path, **bearer))[0] == 403
    assert (await api.call("PATCH", path, {"role": "owner"}))[0] == 422
    assert (await api.call("PATCH", "/api/v1/users/usr_none", {"role": "viewer"}))[0] == 404
    status, changed = await api.call("PATCH", path, {"role": "admin"})
    assert (status, changed["role"]) == (200, "admin")
    _, team = await api.call("GET", "/api/v1/users", **bearer)
    first = next(user["id"] for user in team["users"] if user["email"] == "admin@localhost")
    assert (await api.call("DELETE", f"/api/v1/users/{first}", **bearer))[0] == 204
    for method, body in (("PATCH", {"role": "viewer"}), ("DELETE", None)):
        status, problem = await api.call(method, path, body, **bearer)
        assert (status, problem["code"]) == (409, "last_admin")


@pytest.mark.parametrize(
    "email", ["", "ada", "ada@", "a b@example.com", "a\x1b[2J@example.com", "a\u202eb@example.com"]
)
async def test_a_bad_address_is_one_plain_sentence(api: Api, email: str) -> None:
    """Neither a pattern nor a field's name is shown."""
    status, problem = await api.call("POST", "/api/v1/users", {"email": email})
    assert (status, problem["code"]) == (422, "bad_request")
    assert problem["detail"].startswith("An address looks like")


async def test_addresses_have_one_case(api: Api) -> None:
    """Two spellings are one person, when added and when looked up."""
    await person(api, "Ada@Example.com")
    assert (await api.call("POST", "/api/v1/users", {"email": "ADA@example.COM"}))[0] == 409
    status, made = await api.call("POST", "/api/v1/tokens", {"email": "ADA@EXAMPLE.COM"})
    assert (status, made["email"]) == (201, "ada@example.com")
    found = await api.core.storage.people.user_by_email("aDa@example.com")
    assert found.email == "ada@example.com"


async def test_two_admins_cannot_disable_each_other_at_once(site: Site) -> None:
    """On both databases one of them stays; tokens minted meanwhile do not survive."""
    async with site.open() as house:
        db = house.core.storage.db
        team, people = SqlTeam(db, b"k" * 32), house.core.storage.people
        one = await house.tenant("duel")
        await team.set_role(one.tenant_id, one.id, Role.ADMIN, actor=one.id)
        two = await team.add_user(
            one.tenant_id, email="two@example.com", name="", role=Role.ADMIN, actor=one.id
        )
        assert isinstance(two, User)
        await people.save_token(two, "tok_parent", expires_ms=2**50)
        results = await asyncio.gather(
            team.disable_user(one.tenant_id, two.id, actor=one.id),
            team.disable_user(one.tenant_id, one.id, actor=two.id),
            *(
                people.save_token(two, new_id("tok"), expires_ms=2**50, parent="tok_parent")
                for _ in range(5)
            ),
            return_exceptions=True,
        )
        assert [isinstance(result, str) for result in results[:2]].count(True) == 1
        stays = await people.users(one.tenant_id)
        assert len(stays) == 1
        if stays[0].id != two.id:
            assert await team.tokens(one.tenant_id, two.id) == ()
            live = await house.rows("SELECT id FROM api_tokens WHERE revoked_at IS NULL")
            assert live == []


async def test_codes_are_made_for_oneself_and_by_admins_for_others(api: Api) -> None:
    """Everybody links their own accounts; only an admin invites, and never without an address."""
    _, viewer = await person(api, "v@example.com", "viewer")
    bearer = {"Authorization": f"Bearer {viewer}"}
    status, mine = await api.call("POST", "/api/v1/codes", {"kind": "link"}, **bearer)
    assert (status, mine["email"], mine["expires_in_s"]) == (201, "v@example.com", 900)
    invitation = {"kind": "invite", "email": "New@Example.com", "role": "operator"}
    assert (await api.call("POST", "/api/v1/codes", invitation, **bearer))[0] == 403
    status, made = await api.call("POST", "/api/v1/codes", invitation)
    assert (status, made["email"], made["expires_in_s"]) == (201, "new@example.com", 604800)
    assert mine["code"] != made["code"]
    for wrong in (
        {"kind": "invite"},
        {"kind": "link", "email": "v@example.com"},
        {"kind": "invite", "email": "v@example.com", "role": "owner"},
        {"kind": "other"},
    ):
        assert (await api.call("POST", "/api/v1/codes", wrong))[0] == 422, wrong
    member = {"kind": "invite", "email": "V@example.com"}
    status, problem = await api.call("POST", "/api/v1/codes", member)
    assert (status, problem["code"]) == (409, "user_exists")
    assert "`/link`" in problem["detail"]
    operator = operator_token(api.core.storage.keys.derive("tokens"), "v@example.com")
    as_viewer = {"Authorization": f"Bearer {operator}"}
    status, problem = await api.call("POST", "/api/v1/codes", invitation, **as_viewer)
    assert (status, problem["code"]) == (403, "not_allowed")
