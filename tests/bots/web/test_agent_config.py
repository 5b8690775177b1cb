"""``/api/v1/agent-config``: who may, what is refused, and that the key never comes out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from openapi_spec_validator import validate

import app
from bots.web.agent_config import AgentConfigRoutes
from bots.web.auth import Authenticator
from bots.web.server import build, listening
from core.agent_config import AgentConfig, Billing
from core.agent_rules import AgentRules, KnownModels
from core.clock import SystemClock
from core.engine_choice import Engines
from core.tenants import Role, User
from storage.agent_config import SqlAgentConfigs
from tests.fakes.scripted_engine import ScriptedEngine
from tests.support.core_kit import Site

PATH = "/api/v1/agent-config"
SECRET = "sk-canary-0123456789-LAST"
ENGINES = Engines(
    engines={"scripted": ScriptedEngine([])}, default="scripted", model="claude-sonnet-5-5"
)


@dataclass(kw_only=True)
class Edge:
    """The routes on a real server, called as one person."""

    storage: app.Storage
    configs: SqlAgentConfigs
    url: str
    session: aiohttp.ClientSession
    auth: Authenticator
    admin: User

    async def call(
        self, method: str, body: object = None, *, who: User | None = None
    ) -> tuple[int, Any]:
        """One request: its status and its document, in which the key never is."""
        token = (await self.auth.issue(who or self.admin, days=1)).token
        async with self.session.request(
            method, self.url + PATH, json=body, headers={"Authorization": f"Bearer {token}"}
        ) as response:
            assert "canary" not in await response.text()
            return response.status, await response.json(content_type=None)

    async def patch(self, version: int = 0, **changes: object) -> tuple[int, Any]:
        """A change by the admin."""
        return await self.call("PATCH", {"version": version, **changes})

    async def chosen(self) -> AgentConfig:
        """What a turn of the admin's team gets."""
        return await self.configs.of(self.admin.tenant_id)


@asynccontextmanager
async def opened(site: Site, *, login: bool = False) -> AsyncGenerator[Edge]:
    """The edge of an installation."""
    async with app.open_storage(site.settings()) as storage, aiohttp.ClientSession() as session:
        keys, people = storage.keys, storage.people
        admin = await people.install(tenant_name="My team", admin_email="admin@localhost")
        configs = SqlAgentConfigs(storage.db, keys.derive("agent_configs"), keys.derive("audit"))
        auth = Authenticator(key=keys.derive("tokens"), store=people)
        rules = AgentRules(
            engines=ENGINES,
            tools=frozenset({"look", "restart"}),
            operator_login=login,
            models=KnownModels(SystemClock()),
        )
        application = build(AgentConfigRoutes(configs, rules, auth).routes(), version="1")
        async with listening(application, "127.0.0.1", 0) as url:
            yield Edge(
                storage=storage, configs=configs, url=url, session=session, auth=auth, admin=admin
            )


@pytest.fixture
async def edge(site: Site) -> AsyncIterator[Edge]:
    """Without an operator's login."""
    async with opened(site) as edge:
        yield edge


async def test_a_team_that_chose_nothing(edge: Edge) -> None:
    """The defaults, with what may be chosen; nothing is set and nobody changed it."""
    status, answer = await edge.call("GET")
    assert status == 200
    assert answer == {
        "version": 0,
        "billing": "installation",
        "api_key_set": False,
        "api_key_hint": None,
        "model": None,
        "engine": None,
        "allowed_tools": None,
        "denied_tools": [],
        "approval_timeout_s": 120,
        "on_timeout": "deny",
        "prompt_addition": "",
        "four_eyes": False,
        "change_freeze": None,
        "raised_levels": {},
        "updated_at": None,
        "updated_by": None,
        "default_model": "claude-sonnet-5-5",
        "default_engine": "scripted",
        "engines": ["scripted"],
        "tools": ["look", "restart"],
        "warnings": [],
    }


async def test_what_makes_changes_harder_is_kept(edge: Edge) -> None:
    """Four eyes, a change freeze and raised levels; null takes each back."""
    freeze = {"from": "2026-12-20T00:00:00Z", "until": "2027-01-04T00:00:00Z", "reason": "xmas"}
    raised = {"docker": "L2", "systemctl reload": "L2"}
    status, answer = await edge.patch(0, four_eyes=True, change_freeze=freeze, raised_levels=raised)
    assert status == 200
    assert (answer["four_eyes"], answer["raised_levels"]) == (True, raised)
    assert answer["change_freeze"] == freeze
    status, answer = await edge.patch(1, four_eyes=None, change_freeze=None, raised_levels=None)
    assert (answer["four_eyes"], answer["change_freeze"], answer["raised_levels"]) == (
        False,
        None,
        {},
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"change_freeze": {"from": "2027-01-04T00:00:00Z", "until": "2026-12-20T00:00:00Z"}},
        {"change_freeze": {"from": "2026-12-20T00:00:00", "until": "2027-01-04T00:00:00Z"}},
        {"raised_levels": {"docker": "L0"}},
        {"raised_levels": {"docker; rm": "L2"}},
        {"four_eyes": 1},
    ],
)
async def test_what_would_make_no_sense_is_refused(edge: Edge, wrong: dict[str, object]) -> None:
    """A freeze that ends before it begins or has no time zone, a level that lowers."""
    status, _ = await edge.patch(0, **wrong)
    assert status in {400, 422}


async def test_a_change_names_fields_and_leaves_the_rest(edge: Edge) -> None:
    """What is named changes, null takes a choice back, what is left out stays."""
    status, first = await edge.patch(
        0,
        model="claude-opus-5-5",
        engine="scripted",
        allowed_tools=["look", "look", "restart"],
        denied_tools=["restart"],
        approval_timeout_s=600,
        on_timeout="approve",
        prompt_addition="  We page on \x1b[31mred\x00.\r\nThanks. ",
    )
    assert status == 200
    assert first["allowed_tools"] == ["look", "restart"]
    assert first["prompt_addition"] == "We page on [31mred.\nThanks."
    assert (first["version"], first["updated_by"]) == (1, edge.admin.id)
    assert first["updated_at"].endswith("Z")
    assert first["warnings"] == []
    assert (await edge.call("GET"))[1] == first
    status, second = await edge.patch(1, model=None)
    assert status == 200
    changed = {name for name in first if first[name] != second[name]}
    assert changed <= {"model", "version", "updated_at"}
    assert second["model"] is None
    names = ("engine", "allowed_tools", "denied_tools", "approval_timeout_s", "on_timeout")
    status, third = await edge.patch(2, **dict.fromkeys((*names, "prompt_addition", "billing")))
    assert status == 200
    assert await edge.chosen() == AgentConfig()
    assert third["engine"] is None


async def test_the_key_goes_in_and_never_comes_out(
    edge: Edge, capfd: pytest.CaptureFixture[str]
) -> None:
    """Set with its mode, replaced, kept by other changes, removed: answers have a hint alone."""
    status, answer = await edge.patch(0, billing="own_key", api_key=SECRET)
    assert status == 200
    assert (answer["api_key_set"], answer["api_key_hint"]) == (True, "LAST")
    assert (await edge.chosen()).api_key == SECRET
    await edge.patch(1, model="claude-opus-5-5")
    assert (await edge.chosen()).api_key == SECRET
    assert (await edge.patch(2, api_key=SECRET.replace("LAST", "NEXT")))[1][
        "api_key_hint"
    ] == "NEXT"
    assert str((await edge.chosen()).api_key).endswith("NEXT")
    status, problem = await edge.patch(3, api_key=None)
    assert (status, problem["code"]) == (422, "own_key_missing")
    status, answer = await edge.patch(3, api_key=None, billing="installation")
    assert (status, answer["api_key_set"], answer["api_key_hint"]) == (200, False, None)
    assert await edge.chosen() == AgentConfig(model="claude-opus-5-5")
    told = capfd.readouterr()
    assert "canary" not in told.out + told.err


REFUSED: tuple[tuple[dict[str, object], str, str], ...] = (
    ({"billing": "own_key"}, "own_key_missing", "API key of your team's own"),
    ({"billing": "subscription"}, "no_operator_login", "CLAUDE_CODE_OAUTH_TOKEN"),
    ({"billing": "barter"}, "bad_request", "'billing'"),
    ({"api_key": "canary"}, "bad_request", "An API key has 16 to 500 characters"),
    ({"api_key": f"{SECRET} {SECRET}"}, "bad_request", "without spaces"),
    ({"api_key": f"{SECRET}\n"}, "bad_request", "without spaces"),
    ({"api_key": [SECRET]}, "bad_request", "'api_key'"),
    ({"api_key": {"canary": SECRET}}, "bad_request", "'api_key'"),
    ({"model": "a b"}, "bad_request", "no name of a model"),
    ({"model": ""}, "bad_request", "no name of a model"),
    ({"engine": "claude_api"}, "unknown_engine", "claude_api is not configured"),
    ({"engine": ""}, "bad_request", "'engine'"),
    ({"denied_tools": ["re*"]}, "bad_request", "no wildcards"),
    ({"allowed_tools": [""]}, "bad_request", "letters, digits"),
    ({"allowed_tools": ["a"] * 101}, "bad_request", "allowed_tools"),
    ({"approval_timeout_s": 9}, "bad_request", "to be 10 or more"),
    ({"approval_timeout_s": 86_401}, "bad_request", "to be 86400 or less"),
    ({"on_timeout": "escalate"}, "bad_request", "'on_timeout'"),
    ({"prompt_addition": "x" * 4001}, "bad_request", "4,001 characters; at most 4,000"),
    ({"secret": SECRET}, "bad_request", "secret"),
)


async def test_what_cannot_be_is_refused_with_a_sentence(edge: Edge) -> None:
    """A stable code and what is wrong; nothing is changed, and no answer repeats a key."""
    for changes, code, said in REFUSED:
        status, problem = await edge.patch(0, **changes)
        assert (status, problem.get("code")) == (422, code), changes
        assert said in problem["detail"], changes
    assert (await edge.call("GET"))[1]["version"] == 0


async def test_what_may_be_a_mistake_is_warned_of(edge: Edge) -> None:
    """Unknown models and tools are taken, and each answer says so until they are changed."""
    status, answer = await edge.patch(0, model="my-gateway/model", denied_tools=["rm", "look"])
    assert status == 200
    assert [text for text in answer["warnings"] if "my-gateway/model" in text]
    assert "There is no tool 'rm' here (denied_tools)." in answer["warnings"]
    assert (await edge.call("GET"))[1]["warnings"] == answer["warnings"]


async def test_two_admins_do_not_overwrite_each_other(edge: Edge) -> None:
    """A change names the version that was read: an old one, or none, changes nothing."""
    assert (await edge.patch(0, model="claude-opus-5-5"))[0] == 200
    for version in (0, 2):
        status, problem = await edge.patch(version, model="claude-haiku-5-5")
        assert (status, problem["code"]) == (409, "version_conflict")
        assert "version 1 now" in problem["detail"]
    assert (await edge.call("PATCH", {"model": "claude-haiku-5-5"}))[0] == 422
    assert (await edge.chosen()).model == "claude-opus-5-5"


async def test_admins_alone_and_their_own_team_alone(edge: Edge) -> None:
    """Others neither see nor change it; an admin of another team meets their own."""
    people = edge.storage.people
    for role in (Role.VIEWER, Role.OPERATOR):
        user = await people.add_user(
            edge.admin.tenant_id, email=f"{role}@example.com", name="", role=role
        )
        assert isinstance(user, User)
        for method, body in (("GET", None), ("PATCH", {"version": 0, "model": "m"})):
            status, problem = await edge.call(method, body, who=user)
            assert (status, problem["code"]) == (403, "not_allowed")
    tenant = await people.add_tenant("other")
    other = await people.add_user(tenant.id, email="o@example.com", name="", role=Role.ADMIN)
    assert isinstance(other, User)
    status, _ = await edge.call("PATCH", {"version": 0, "model": "theirs"}, who=other)
    assert status == 200
    assert (await edge.call("GET"))[1]["version"] == 0
    assert await edge.chosen() == AgentConfig()


async def test_the_operators_login_is_for_one_team(site: Site) -> None:
    """Chosen while there is one; refused as soon as there are two."""
    async with opened(site, login=True) as edge:
        assert (await edge.patch(0, billing="subscription"))[0] == 200
        assert (await edge.chosen()).billing is Billing.SUBSCRIPTION
        assert (await edge.patch(1, billing="installation"))[0] == 200
        await edge.storage.people.add_tenant("second")
        status, problem = await edge.patch(2, billing="subscription")
        assert (status, problem["code"]) == (422, "several_tenants")


async def test_it_is_documented(edge: Edge) -> None:
    """The document is valid; the key is marked as one that is written and never read."""
    async with edge.session.get(f"{edge.url}/openapi.json") as response:
        document = await response.json()
    validate(document)
    assert set(document["paths"][PATH]) == {"get", "patch"}
    schemas = document["components"]["schemas"]
    assert "api_key" not in schemas["AgentConfigAnswer"]["properties"]
    key = schemas["AgentConfigBody"]["properties"]["api_key"]
    assert any(choice.get("writeOnly") for choice in key["anyOf"])
    assert schemas["AgentConfigBody"]["required"] == ["version"]
