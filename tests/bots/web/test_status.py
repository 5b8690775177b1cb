"""Engines and the state of the installation over HTTP."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from bots.web.auth import operator_token
from core.agent_config import Billing, ConfigChanges
from core.tenants import Role, User
from tests.browser import house
from tests.browser.house import House
from tests.support.core_kit import copy_sqlite


async def ask(
    home: House, path: str, email: str, language: str = ""
) -> tuple[int, dict[str, object]]:
    """Ask as a person, in a language."""
    key = home.running.core.storage.keys.derive("tokens")
    headers = {"Authorization": f"Bearer {operator_token(key, email)}"}
    if language:
        headers["Accept-Language"] = language
    async with (
        aiohttp.ClientSession(home.url, headers=headers) as http,
        http.get(f"/api/v1{path}") as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def test_admins_see_the_state_and_everybody_the_engines(
    sqlite_template: Path, tmp_path: Path
) -> None:
    """Who may see what; how long a turn waits; nothing of a key."""
    copy_sqlite(sqlite_template, tmp_path / "data")
    async with house.opened(tmp_path / "data", TELEGRAM_BOT_TOKEN="") as home:
        viewer = await home.member("vera", Role.VIEWER)
        status, told = await ask(home, "/status", home.admin.email)
        assert status == 200
        assert (told["ready"], told["database"], told["notices"]) == (True, "sqlite", [])
        assert told["platforms"] == [
            {"name": "slack", "configured": False},
            {"name": "telegram", "configured": False},
        ]
        assert told["queue"] == dict.fromkeys(
            ("queued", "running", "waiting", "overdue", "undelivered", "oldest_s"), 0
        )
        assert (await ask(home, "/status", viewer.email))[0] == 403
        status, engines = await ask(home, "/engines", viewer.email)
        assert status == 200
        assert (engines["default"], engines["team"]) == ("claude_api", None)
        listed = engines["engines"]
        assert isinstance(listed, list)
        states = {one["name"]: one["answers"] for one in listed}
        assert states == {
            "claude_api": "ready",
            "claude_agent_sdk": "ready",
            "claude_code_cli": "ready",
            "runbook": "ready",
        }
        assert "sk-test" not in str(engines)


@pytest.mark.parametrize("key", ["", "sk-test"])
async def test_what_needs_somebody_is_said(sqlite_template: Path, tmp_path: Path, key: str) -> None:
    """Without a key no model answers; with one there is nothing to say."""
    copy_sqlite(sqlite_template, tmp_path / "data")
    async with house.opened(tmp_path / "data", ANTHROPIC_API_KEY=key) as home:
        _, told = await ask(home, "/status", home.admin.email)
        notices = told["notices"]
        assert isinstance(notices, list)
        assert any("set ANTHROPIC_API_KEY and restart IT0" in said for said in notices) is not bool(
            key
        )


async def other_team(home: House) -> User:
    """An admin of another team of the installation."""
    people = home.running.core.storage.people
    tenant = await people.add_tenant("other")
    added = await people.add_user(tenant.id, email="olga@example.com", name="olga", role=Role.ADMIN)
    assert isinstance(added, User)
    return added


async def test_each_team_sees_its_own_queue(sqlite_template: Path, tmp_path: Path) -> None:
    """What waits, is lost or on its way in one team is told to that team alone."""
    copy_sqlite(sqlite_template, tmp_path / "data")
    async with house.opened(tmp_path / "data", ANTHROPIC_API_KEY="") as home:
        olga = await other_team(home)
        await home.call("POST", "/agent/turns", {"text": "hello"})
        await home.write("UPDATE turns SET delivery_problem = 'The chat is gone.'")
        _, mine = await ask(home, "/status", home.admin.email)
        _, theirs = await ask(home, "/status", olga.email)
        assert any("The chat is gone." in said for said in as_list(mine["notices"]))
        assert not any("The chat is gone." in said for said in as_list(theirs["notices"]))


async def test_a_team_hears_that_its_own_key_is_not_in_use(
    sqlite_template: Path, tmp_path: Path
) -> None:
    """A key alone chooses no engine; once one is chosen there is nothing to say."""
    copy_sqlite(sqlite_template, tmp_path / "data")
    async with house.opened(tmp_path / "data", ANTHROPIC_API_KEY="") as home:
        agents, admin = home.running.core.team.agents, home.admin
        own = ConfigChanges(billing=Billing.OWN_KEY, api_key="sk-own-0123456789")
        await agents.change(admin.id, admin.tenant_id, own, 0)
        _, told = await ask(home, "/status", admin.email)
        (notice,) = as_list(told["notices"])
        assert notice.startswith("Your team has a key of its own, but fixed routines answer")
        await agents.change(admin.id, admin.tenant_id, ConfigChanges(engine="claude_api"), 1)
        _, told = await ask(home, "/status", admin.email)
        assert told["notices"] == []
        await home.write("UPDATE agent_configs SET api_key = 'no seal'")
        _, told = await ask(home, "/status", admin.email)
        (notice,) = as_list(told["notices"])
        assert notice.startswith("Your team's API key cannot be read")


def as_list(value: object) -> list[str]:
    """The sentences of an answer."""
    assert isinstance(value, list)
    return value
