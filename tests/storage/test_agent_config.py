"""A team's agent configuration in the database, on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

import app
from core.agent_config import (
    DEFAULTS,
    AgentConfig,
    Billing,
    ConfigChanges,
    Conflict,
    OnTimeout,
    StoredConfig,
    UnusableAccount,
)
from core.errors import EngineFailure, NotFound
from core.sealing import seal
from storage.agent_config import SqlAgentConfigs, sealed_for
from storage.audit import SqlAudit
from storage.database import Database, execute
from storage.people import SqlPeople
from tests.storage.kit import accept, install, message
from tests.support.core_fixtures import migrated_postgres, postgres_place, site, sqlite_template
from tests.support.core_kit import Site

__all__ = ["migrated_postgres", "postgres_place", "site", "sqlite_template"]

KEY, AUDIT_KEY = b"s" * 32, b"a" * 32
SECRET = "sk-canary-0123456789-LAST"


@dataclass(frozen=True)
class Team:
    """A tenant and its configuration."""

    db: Database
    configs: SqlAgentConfigs
    tenant: str
    admin: str

    async def change(self, version: int = 0, **changes: object) -> StoredConfig:
        """A change that goes through."""
        made = ConfigChanges(**changes)  # type: ignore[arg-type]  # the test names the fields
        changed = await self.configs.change(self.admin, self.tenant, made, version)
        assert isinstance(changed, StoredConfig), changed
        return changed

    async def rows(self, statement: str, **params: str) -> list[tuple[object, ...]]:
        """Read the database."""

        def work(conn: sa.Connection) -> list[tuple[object, ...]]:
            return [tuple(row) for row in execute(conn, statement, **params).all()]

        return await self.db.read(work)

    async def write(self, statement: str, **params: str) -> None:
        """Change the database behind the repository's back."""

        def work(conn: sa.Connection) -> None:
            execute(conn, statement, **params)

        await self.db.transaction(work)


@pytest.fixture
async def team(site: Site) -> AsyncIterator[Team]:
    """The first tenant of an installation."""
    async with app.open_storage(site.settings()) as storage:
        admin = await install(storage.db)
        configs = SqlAgentConfigs(storage.db, KEY, AUDIT_KEY)
        yield Team(storage.db, configs, admin.tenant_id, admin.id)


async def test_a_team_that_chose_nothing_has_the_defaults(team: Team) -> None:
    """Reading makes no row; a team that does not exist has no configuration to show."""
    assert await team.configs.of(team.tenant) == DEFAULTS
    assert await team.configs.read(team.tenant) == StoredConfig(only_tenant=True)
    assert await team.rows("SELECT tenant_id FROM agent_configs") == []
    with pytest.raises(NotFound):
        await team.configs.read("ten_none")
    with pytest.raises(NotFound):
        await team.configs.change(team.admin, "ten_none", ConfigChanges(model="m"), 0)


async def test_every_choice_is_read_back(team: Team) -> None:
    """All fields survive, also empty lists beside missing ones, and what is odd in a text."""
    chosen = AgentConfig(
        model="claude-opus-5-5[1m]",
        allowed_tools=(),
        denied_tools=("a", "b"),
        approval_timeout_s=86_400,
        on_timeout=OnTimeout.APPROVE,
        prompt_addition="Say 'ümläut'; \"quote\"\n汉字 🐘",
    )
    await team.change(
        model=chosen.model,
        allowed_tools=chosen.allowed_tools,
        denied_tools=chosen.denied_tools,
        approval_timeout_s=chosen.approval_timeout_s,
        on_timeout=chosen.on_timeout,
        prompt_addition=chosen.prompt_addition,
        engine="runbook",
    )
    stored = await team.configs.read(team.tenant)
    assert stored.config == chosen == await team.configs.of(team.tenant)
    assert (stored.engine, stored.version, stored.updated_by) == ("runbook", 1, team.admin)
    assert stored.updated_at_ms > 0
    assert await team.rows("SELECT engine FROM tenants") == [("runbook",)]
    await team.change(1, allowed_tools=None, engine=None, model=None)
    assert (await team.configs.of(team.tenant)).allowed_tools is None
    assert await team.rows("SELECT engine FROM tenants") == [(None,)]


async def test_the_key_is_sealed_and_shown_to_engines_alone(team: Team) -> None:
    """The database holds neither the key nor a part of it beyond the hint; ``read`` has none."""
    stored = await team.change(billing=Billing.OWN_KEY, api_key=SECRET)
    assert (stored.api_key_hint, stored.config.api_key) == ("LAST", None)
    again = await team.configs.read(team.tenant)
    assert again == stored
    assert again.has_api_key
    assert (await team.configs.of(team.tenant)).api_key == SECRET
    for table in ("agent_configs", "audit_log"):
        assert "canary" not in repr(await team.rows(f"SELECT * FROM {table}"))
    assert "canary" not in repr(ConfigChanges(api_key=SECRET))
    assert "canary" not in repr(await team.configs.of(team.tenant))


async def test_a_key_is_used_only_in_the_mode_that_pays_with_it(team: Team) -> None:
    """A stored key stays at rest in another mode, stays through other changes, and is removed."""
    await team.change(billing=Billing.OWN_KEY, api_key=SECRET)
    await team.change(1, billing=Billing.INSTALLATION)
    assert (await team.configs.of(team.tenant)).api_key is None
    await team.change(2, billing=Billing.OWN_KEY, model="m")
    assert (await team.configs.of(team.tenant)).api_key == SECRET
    stored = await team.change(3, api_key=None)
    assert not stored.has_api_key
    assert await team.rows("SELECT api_key, api_key_hint FROM agent_configs") == [(None, "")]
    with pytest.raises(UnusableAccount) as raised:
        await team.configs.of(team.tenant)
    assert raised.value.reason == "own_key_missing"


async def test_a_key_opens_for_its_tenant_and_purpose_alone(team: Team) -> None:
    """A row copied to another tenant, or a secret of another purpose, does not open there."""
    await team.change(billing=Billing.OWN_KEY, api_key=SECRET, denied_tools=("restart",))
    other = (await SqlPeople(team.db).add_tenant("other")).id
    await team.write(
        "INSERT INTO agent_configs (tenant_id, billing, api_key, api_key_hint, model,"
        " allowed_tools, denied_tools, approval_timeout_s, on_timeout, prompt_addition,"
        " version, updated_at, updated_by) SELECT :other, billing, api_key, api_key_hint, model,"
        " allowed_tools, denied_tools, approval_timeout_s, on_timeout, prompt_addition, version,"
        " updated_at, updated_by FROM agent_configs",
        other=other,
    )
    with pytest.raises(UnusableAccount) as raised:
        await team.configs.of(other)
    assert raised.value.reason == "own_key_unreadable"
    assert "An admin has to enter it again" in raised.value.sentence
    assert "canary" not in repr(raised.value.__dict__)
    for sealed in (
        seal(KEY, SECRET, f"{other}/ssh"),
        seal(b"x" * 32, SECRET, sealed_for(other)),
        "2:abcd",
        "",
    ):
        await team.write(
            "UPDATE agent_configs SET api_key = :sealed WHERE tenant_id = :t",
            sealed=sealed,
            t=other,
        )
        with pytest.raises(UnusableAccount):
            await team.configs.of(other)
    assert (await team.configs.of(team.tenant)).api_key == SECRET


async def test_the_rest_of_a_configuration_survives_its_account(team: Team) -> None:
    """For an engine that needs no account: the team's lists hold, and no key is in it."""
    await team.change(billing=Billing.OWN_KEY, denied_tools=("restart",))
    with pytest.raises(UnusableAccount) as raised:
        await team.configs.of(team.tenant)
    assert raised.value.config.denied_tools == ("restart",)
    assert raised.value.config.api_key is None


async def test_the_operators_login_serves_one_team_alone(team: Team) -> None:
    """A second team ends it for the first one, at its next turn, with what to do."""
    stored = await team.change(billing=Billing.SUBSCRIPTION)
    assert stored.only_tenant
    assert (await team.configs.of(team.tenant)).billing is Billing.SUBSCRIPTION
    await SqlPeople(team.db).add_tenant("second")
    assert not (await team.configs.read(team.tenant)).only_tenant
    with pytest.raises(UnusableAccount) as raised:
        await team.configs.of(team.tenant)
    assert raised.value.reason == "several_tenants"
    assert "choose another billing mode" in raised.value.sentence


async def test_a_row_that_cannot_be_understood_is_a_clear_failure(team: Team) -> None:
    """A mode of a newer version, or a damaged list, never counts as "nothing is denied"."""
    await team.change(denied_tools=("restart",))
    for damage in ("billing = 'barter'", "denied_tools = '[\"rest'", "on_timeout = ''"):
        await team.write(f"UPDATE agent_configs SET {damage}")
        with pytest.raises(EngineFailure) as raised:
            await team.configs.of(team.tenant)
        assert raised.value.reason == "agent_config_unreadable"
        assert not isinstance(raised.value, UnusableAccount)


async def test_a_lost_update_is_refused(team: Team) -> None:
    """Of two changes that were based on one version, one goes through; the other changes nothing."""
    await team.change(model="first")
    late = ConfigChanges(model="late", api_key=SECRET, engine="runbook")
    for version in (0, 2, -1):
        conflict = await team.configs.change(team.admin, team.tenant, late, version)
        assert conflict == Conflict(version=1)
    stored = await team.configs.read(team.tenant)
    assert (stored.config.model, stored.has_api_key, stored.engine) == ("first", False, None)
    results = await asyncio.gather(
        *(
            team.configs.change(team.admin, team.tenant, ConfigChanges(model=f"m{n}"), 1)
            for n in range(4)
        )
    )
    won = [result for result in results if isinstance(result, StoredConfig)]
    assert [result.version for result in won] == [2]
    assert [result for result in results if isinstance(result, Conflict)] == [
        Conflict(version=2)
    ] * 3
    assert (await team.configs.read(team.tenant)).config.model == won[0].config.model


async def test_first_changes_at_once_are_told_apart(team: Team) -> None:
    """Also where no row is there yet that could be locked."""
    results = await asyncio.gather(
        *(
            team.configs.change(team.admin, team.tenant, ConfigChanges(model=f"m{n}"), 0)
            for n in range(4)
        )
    )
    assert sorted(type(result).__name__ for result in results) == [
        *["Conflict"] * 3,
        "StoredConfig",
    ]
    assert await team.rows("SELECT version FROM agent_configs") == [(1,)]


async def test_each_change_is_on_record_without_the_key(team: Team) -> None:
    """Who, which fields, which version; a key and a prompt by name alone; nothing for no change."""
    first = await team.change(
        api_key=SECRET, billing=Billing.OWN_KEY, prompt_addition="canary", engine="runbook"
    )
    assert await team.change(1, billing=Billing.OWN_KEY, prompt_addition="canary") == first
    await team.change(1, api_key=SECRET, on_timeout=OnTimeout.APPROVE, model="m")
    rows = await team.rows("SELECT actor, action, detail FROM audit_log ORDER BY seq")
    assert {(row[0], row[1]) for row in rows} == {(team.admin, "agent_config.changed")}
    assert [json.loads(str(row[2])) for row in rows] == [
        {
            "fields": "billing,prompt_addition,api_key,engine",
            "version": 1,
            "billing": "own_key",
            "engine": "runbook",
        },
        {"fields": "model,on_timeout,api_key", "version": 2, "model": "m", "on_timeout": "approve"},
    ]
    assert await SqlAudit(team.db, AUDIT_KEY).verify() == {}


async def test_a_command_sets_the_model_once(team: Team) -> None:
    """A turn that is run again after a crash leaves one record, which names it."""
    admin = await SqlPeople(team.db).user_by_email(None)
    turn = (await accept(team.db, message(admin, 1))).leased
    assert turn is not None
    for _ in range(2):
        await team.configs.set_model(turn, "claude-opus-5-5")
    assert (await team.configs.of(team.tenant)).model == "claude-opus-5-5"
    await team.configs.set_model(turn, None)
    stored = await team.configs.read(team.tenant)
    assert (stored.config.model, stored.version) == (None, 2)
    rows = await team.rows("SELECT turn_id, detail FROM audit_log ORDER BY seq")
    assert {row[0] for row in rows} == {turn.id}
    assert [json.loads(str(row[1]))["model"] for row in rows] == ["claude-opus-5-5", "default"]


async def test_without_a_key_the_operators_login_is_what_a_team_uses(site: Site) -> None:
    """A single team needs no choice; with a second one nobody is billed by the login."""
    async with site.open() as house:
        configs = SqlAgentConfigs(house.core.storage.db, KEY, b"a" * 32, login_only=True)
        assert (await configs.of(house.admin.tenant_id)).billing is Billing.SUBSCRIPTION
        await house.tenant("Second")
        with pytest.raises(UnusableAccount):
            await configs.of(house.admin.tenant_id)
