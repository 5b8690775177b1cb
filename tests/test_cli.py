from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import app
from cli import as_invoked, main
from core.messages import Actor, ConversationAddress, InboundMessage
from core.refusals import Rejected
from operate import first_link_code, ready_banner
from settings import Settings
from storage.access import SqlGate
from storage.web_sessions import SqlSessions


def test_hints_show_the_command_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ``it0`` on the PATH a hint can be typed as it stands; with it, it is short."""
    hint = "Run `it0 migrate` first.\n  Chat      it0 chat   in another terminal"
    monkeypatch.setenv("PATH", str(tmp_path))
    here = as_invoked(hint, ".venv/bin/it0")
    assert "`.venv/bin/it0 migrate`" in here
    assert "  .venv/bin/it0 chat " in here
    assert as_invoked(hint, "/somewhere/cli.py") == hint
    (tmp_path / "it0").write_text("#!/bin/sh\n")
    (tmp_path / "it0").chmod(0o755)
    assert as_invoked(hint, ".venv/bin/it0") == hint


def _settings(directory: Path, **more: str) -> Settings:
    return Settings.from_environment({"IT0_DATA_DIR": str(directory), **more}, None)


def _redeem(settings: Settings, code: str, person: str) -> Rejected | tuple[str, str]:
    """What a person of a platform becomes by a code: their address and role."""

    async def work() -> Rejected | tuple[str, str]:
        async with app.open_storage(settings) as storage:
            gate = SqlGate(storage.db, storage.keys.derive("audit"))
            actor = Actor(platform="telegram", workspace="", external_id=person)
            address = ConversationAddress(platform="telegram", workspace="", channel="7", thread="")
            message = InboundMessage(event_id="e", address=address, actor=actor, text="")
            problem = await gate.redeem(message, code)
            if problem is not None:
                return problem
            tenant = (await storage.people.user_by_email(None)).tenant_id
            users = {user.email: str(user.role) for user in await storage.people.users(tenant)}
            return max(users.items())

    return asyncio.run(work())


def test_codes_from_the_terminal_let_people_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``it0 user invite`` and ``it0 link`` print a code that works, and what to do with it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IT0_DATA_DIR", str(tmp_path / "data"))
    settings = _settings(tmp_path / "data")
    assert main(["user", "invite", "zoe@example.com", "--role", "operator"]) == 0
    invited = capsys.readouterr().out
    assert main(["link"]) == 0
    linked = capsys.readouterr().out
    codes = []
    for said in (invited, linked):
        code = re.search(r"^([0-9A-Z]{4}(-[0-9A-Z]{4}){2}) ", said)
        assert code is not None
        assert f"`/link {code[1]}`" in said
        assert f"`/it0 link {code[1]}`" in said
        codes.append(code[1])
    assert _redeem(settings, codes[0], "1") == ("zoe@example.com", "operator")
    assert not isinstance(_redeem(settings, codes[1], "2"), Rejected)
    assert isinstance(_redeem(settings, codes[1], "3"), Rejected)
    capsys.readouterr()
    assert main(["user", "invite", "Zoe@example.com"]) == 1
    assert "`/link`" in capsys.readouterr().err
    assert main(["user", "invite", "not an address"]) == 1
    assert main(["link", "--as", "nobody@example.com"]) == 1
    assert "nobody@example.com" in capsys.readouterr().err


def test_login_prints_a_link_for_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The link alone on its line, at the address of `it0 up`; who it is for; nobody: a sentence."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IT0_DATA_DIR", str(tmp_path / "data"))
    assert main(["login"]) == 0
    link, whose, running = capsys.readouterr().out.splitlines()
    settings = _settings(tmp_path / "data")
    base, _, code = link.partition("/sign-in#")
    assert base == settings.http.url()
    assert "admin@localhost" in whose
    assert "it0 up" in running

    async def use() -> list[bool]:
        async with app.open_storage(settings) as storage:
            sessions = SqlSessions(storage.db, storage.keys.derive("audit"))
            return [await sessions.open(code, "") is not None for _ in range(2)]

    assert asyncio.run(use()) == [True, False]
    assert main(["login", "nobody@example.com"]) == 1
    assert "nobody@example.com" in capsys.readouterr().err


async def test_a_start_prints_a_link_first(tmp_path: Path) -> None:
    """`it0 up` says how to open the page, at the address that it really listens on."""
    async with app.running(_settings(tmp_path), app.Role.UP, port=0) as process:
        lines = (await ready_banner(process, app.Role.UP)).splitlines()
        assert lines[2].startswith(f"  Page      {process.url}/sign-in#")
        assert lines[2].endswith("(opens once, for 30 minutes; `it0 login` makes another)")
        code = lines[2].partition("#")[2].split()[0]
        storage = process.core.storage
        sessions = SqlSessions(storage.db, storage.keys.derive("audit"))
        session = await sessions.open(code, "")
        assert session is not None
        assert session.signed_in.user == process.admin
        assert "sign-in" not in await ready_banner(process, app.Role.SERVE)


async def test_the_first_start_shows_a_code_until_somebody_is_linked(tmp_path: Path) -> None:
    """Only where a chat platform is configured, and only while none of its people is known."""
    settings = _settings(tmp_path)
    async with app.running(settings, app.Role.UP, port=0) as process:
        assert await first_link_code(process, app.Role.UP) == ""
        configured = replace(process, platforms=("telegram",))
        for role in (app.Role.SERVE, app.Role.WORKER):
            assert await first_link_code(configured, role) == ""
        said = await first_link_code(configured, app.Role.UP)
        code = re.search(r"/link ([-0-9A-Z]{14})`", said)
        assert code is not None
        again = await first_link_code(configured, app.Role.TELEGRAM)  # the code before lives on
        assert code[1] not in again
        actor = Actor(platform="telegram", workspace="", external_id="1")
        address = ConversationAddress(platform="telegram", workspace="", channel="1", thread="")
        message = InboundMessage(
            event_id="telegram:1", address=address, actor=actor, text=f"/link {code[1]}"
        )
        assert not isinstance(await process.core.inbox.accept(message), Rejected)
        assert await first_link_code(configured, app.Role.UP) == ""


def test_the_slack_manifest_is_printed_for_a_paste(capsys: pytest.CaptureFixture[str]) -> None:
    """It is one JSON document; without a public https address it is for Socket Mode."""
    assert main(["slack", "manifest", "--name", "Ops"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["display_information"]["name"] == "Ops"
    assert made["settings"]["socket_mode_enabled"] is True


def test_a_name_that_slack_refuses_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence and a status, no traceback."""
    assert main(["slack", "manifest", "--name", "x" * 200]) == 1
    assert "Traceback" not in capsys.readouterr().err
