"""A team's skills over HTTP and from the terminal, on both databases."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bots import skills_command
from bots.operator import OperatorClient, RequestRefused
from bots.web.auth import Authenticator, operator_token
from bots.web.server import build, listening
from bots.web.skills import SkillRoutes
from core.tenants import Role, User
from tests.support.core_kit import House, Site

BODY = {"description": "How we deploy.", "body": "Ask Bob.", "triggers": ["deploy"]}
FRONT = "---\ndescription: How we deploy.\ntriggers: deploy\n---\n"


@dataclass(kw_only=True)
class Server:
    """The skill routes of a house, served."""

    house: House
    url: str
    session: aiohttp.ClientSession
    auth: Authenticator

    async def call(
        self, method: str, path: str = "", body: object = None, who: User | None = None
    ) -> tuple[int, Any]:
        """One request: its status and its document."""
        issued = await self.auth.issue(who or self.house.admin, days=1)
        async with self.session.request(
            method,
            f"{self.url}/api/v1/skills{path}",
            json=body,
            headers={"Authorization": f"Bearer {issued.token}"},
        ) as response:
            text = await response.text()
        return response.status, json.loads(text) if text else None

    def operator(self) -> OperatorClient:
        """The terminal's client."""
        key = self.auth.key
        return OperatorClient(
            base_url=self.url, token_source=lambda: operator_token(key, self.house.admin.email)
        )


@asynccontextmanager
async def serving(site: Site) -> AsyncIterator[Server]:
    """The routes on a running core."""
    async with site.open() as house:
        storage = house.core.storage
        auth = Authenticator(key=storage.keys.derive("tokens"), store=storage.people)
        application = build(SkillRoutes(house.core.team.skills, auth).routes(), version="1")
        async with (
            listening(application, "127.0.0.1", 0) as url,
            aiohttp.ClientSession() as session,
        ):
            yield Server(house=house, url=url, session=session, auth=auth)


async def test_an_admin_keeps_the_teams_skills(site: Site) -> None:
    """Put, show, list, switch, remove; the installation's is there again afterwards."""
    async with serving(site) as server:
        _, before = await server.call("GET")
        assert {skill["source"] for skill in before["skills"]} == {"built_in"}
        steps = [{"tool": "disk_usage", "arguments": {"server": "{server}"}}]
        status, made = await server.call("PUT", "/Disk", {**BODY, "steps": steps})
        wanted = {**BODY, "name": "disk", "source": "team", "enabled": True, "steps": steps}
        assert (status, made) == (200, {**wanted, "tools": ["disk_usage"]})
        assert await server.call("GET", "/disk") == (200, made)
        _, listed = await server.call("GET")
        assert (listed["skills"][0]["name"], listed["skills"][0]["source"]) == ("disk", "team")
        assert len(listed["skills"]) == len(before["skills"])
        status, switched = await server.call("PATCH", "/memory", {"enabled": False})
        assert (status, switched["enabled"], switched["source"]) == (200, False, "built_in")
        _, listed = await server.call("GET")
        assert listed["skills"][-1]["name"] == "memory"
        assert await server.call("DELETE", "/disk") == (204, None)
        _, again = await server.call("GET", "/disk")
        assert again["source"] == "built_in"


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_everybody_reads_and_admins_change(site: Site, role: Role) -> None:
    """Another role gets 403 and changes nothing."""
    async with serving(site) as server:
        who = await server.house.user(server.house.admin.tenant_id, "u@example.com", role)
        await server.call("PUT", "/deploy", BODY)
        for method, path, body in (
            ("PUT", "/deploy", {**BODY, "body": "Mine."}),
            ("POST", "", {"skills": [{**BODY, "name": "deploy", "body": "Mine."}]}),
            ("PATCH", "/deploy", {"enabled": False}),
            ("DELETE", "/deploy", None),
        ):
            status, problem = await server.call(method, path, body, who)
            assert (status, problem["code"]) == (403, "not_allowed")
        status, seen = await server.call("GET", "/deploy", who=who)
        assert (status, seen["body"], seen["enabled"]) == (200, "Ask Bob.", True)
        assert (await server.call("GET", who=who))[0] == 200


async def test_a_team_reaches_no_other_teams_skills(site: Site) -> None:
    """Under the same name each has its own, and one cannot switch or remove the other's."""
    async with serving(site) as server:
        other = await server.house.tenant("other")
        await server.call("PUT", "/deploy", BODY)
        await server.call("PATCH", "/disk", {"enabled": False})
        assert (await server.call("GET", "/deploy", who=other))[0] == 404
        assert (await server.call("GET", "/disk", who=other))[1]["enabled"]
        for method, body in (("PATCH", {"enabled": False}), ("DELETE", None)):
            assert (await server.call(method, "/deploy", body, other))[0] == 404
        await server.call("PUT", "/deploy", {**BODY, "body": "Theirs."}, other)
        assert (await server.call("GET", "/deploy"))[1]["body"] == "Ask Bob."


async def test_what_is_refused_says_why(site: Site) -> None:
    """A problem document with a stable code and a sentence for each mistake."""
    async with serving(site) as server:
        tool = {**BODY, "steps": [{"tool": "rm_rf"}]}
        for method, path, body, status, code, said in (
            ("PUT", "/x", {**BODY, "body": ""}, 422, "bad_skill", "The skill x is empty"),
            ("PUT", "/x", tool, 422, "bad_skill", "the tool rm_rf, which does not exist here"),
            ("PUT", "/x", {**BODY, "triggers": ["{y}"]}, 422, "bad_skill", "no slot {y}"),
            ("PUT", "/x", {**BODY, "source": "built_in"}, 422, "bad_request", "'source'"),
            ("PUT", "/a%20%2Fb", BODY, 422, "bad_skill", "has a bad name"),
            ("PATCH", "/x", {"enabled": True}, 404, "unknown_skill", "There is no skill x."),
            ("DELETE", "/disk", None, 409, "skill_not_own", "Switch it off instead."),
            ("POST", "", {"skills": []}, 422, "bad_request", "'skills'"),
        ):
            answer, problem = await server.call(method, path, body)
            assert (answer, problem["code"]) == (status, code), problem
            assert said in problem["detail"]
        for n in range(3):
            batch = [{**BODY, "name": f"s{n}-{m}"} for m in range(40)]
            answer, problem = await server.call("POST", "", {"skills": batch})
        assert (answer, problem["code"]) == (409, "too_many_skills")
        assert len((await server.call("GET"))[1]["skills"]) < 100


async def test_the_routes_are_described(site: Site) -> None:
    """Every route is in the OpenAPI document with its answers."""
    async with (
        serving(site) as server,
        server.session.get(f"{server.url}/openapi.json") as response,
    ):
        paths = (await response.json())["paths"]
    assert set(paths["/api/v1/skills"]) == {"get", "post"}
    assert set(paths["/api/v1/skills/{name}"]) == {"get", "put", "patch", "delete"}
    assert "404" in paths["/api/v1/skills/{name}"]["patch"]["responses"]


async def test_a_directory_is_imported(site: Site, tmp_path: Path) -> None:
    """Whole, with notes; a second time it changes nothing, and what is off stays off."""
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/SKILL.md").write_text(f"{FRONT}Ask Bob.")
    (tmp_path / "On Call.md").write_text(
        "---\ndescription: d\nlicense: MIT\n---\nCall \x1b[31mEve."
    )
    async with serving(site) as server:
        out = io.StringIO()
        assert await skills_command.import_skills(server.operator(), tmp_path, out) == 0
        assert out.getvalue().splitlines() == [
            "On Call.md: is called on-call here.",
            "On Call.md: license: not used here.",
            "On Call.md: has no triggers: only a model uses it, not the offline engine.",
            "Imported on-call",
            "Imported deploy",
        ]
        await server.call("PATCH", "/deploy", {"enabled": False})
        out = io.StringIO()
        assert await skills_command.import_skills(server.operator(), tmp_path, out) == 0
        assert "Imported deploy (off)" in out.getvalue()
        out = io.StringIO()
        assert await skills_command.list_skills(server.operator(), out) == 0
        lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
        assert lines[0] == "on-call on team d"
        assert lines[-1] == "deploy off team How we deploy."
        assert any(line.startswith("disk on built in ") for line in lines)
        log = await server.house.rows(
            "SELECT action FROM audit_log WHERE action LIKE 'skill.%' ORDER BY seq"
        )
        assert log == [("skill.saved",), ("skill.saved",), ("skill.off",)]


async def test_a_directory_with_one_mistake_is_not_imported(site: Site, tmp_path: Path) -> None:
    """Each mistake is told with its file and line; what the server refuses is a sentence too."""
    (tmp_path / "deploy.md").write_text(f"{FRONT}Ask Bob.")
    (tmp_path / "typo.md").write_text("---\ndescription: d\ntool: x\nargs: {}\n---\n")
    async with serving(site) as server:
        out = io.StringIO()
        assert await skills_command.import_skills(server.operator(), tmp_path, out) == 1
        assert "typo.md:4: has an unknown key 'args'" in out.getvalue()
        assert "Nothing was imported: 1 of the files is wrong." in out.getvalue()
        (tmp_path / "typo.md").write_text("---\ndescription: d\ntool: x\n---\n")
        with pytest.raises(RequestRefused, match="calls the tool x, which does not exist here"):
            await skills_command.import_skills(server.operator(), tmp_path, out)
        with pytest.raises(RequestRefused, match="cannot be read: No such file"):
            await skills_command.import_skills(server.operator(), tmp_path / "nowhere", out)
        (tmp_path / "empty").mkdir()
        assert await skills_command.import_skills(server.operator(), tmp_path / "empty", out) == 1
        assert (await server.call("GET", "/deploy"))[0] == 404
