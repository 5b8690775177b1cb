"""``it0 server``: what is typed, asked of the server, and said."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bots.operator import RequestRefused
from cli import build_parser
from core.fleet.key_texts import fingerprint
from fleet_cli import Terminal, carry_out
from storage.plan_limits import switch
from tests.bots.web.servers_kit import LOCKED, PEM, Rack, host_key, rack
from tests.support.core_fixtures import sqlite_template
from tests.support.core_kit import copy_sqlite

__all__ = ["sqlite_template"]


@pytest.fixture
async def fleet(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Rack]:
    """The servers' API."""
    async with rack(copy_sqlite(sqlite_template, tmp_path / "data")) as opened:
        yield opened


async def run(fleet: Rack, *typed: str, says: bool | None = None) -> tuple[int, str]:
    """The exit status and what was printed; ``says`` is what a person at the terminal answers."""
    out = io.StringIO()
    arguments = build_parser().parse_args(["server", *typed])
    terminal = Terminal(out=out, ask=None if says is None else lambda _asked: says)
    return await carry_out(fleet.client(), arguments, terminal), out.getvalue()


async def test_a_server_is_added_listed_and_removed(fleet: Rack, tmp_path: Path) -> None:
    """Everything that was typed is listed; the private key is in no answer."""
    file = tmp_path / "key"
    file.write_text(PEM)
    status, said = await run(
        fleet,
        *("add", "web-1", "192.0.2.7", "--port", "2222", "--user", "deploy", "--tag", "Edge"),
        *("--tag", "eu", "--environment", "staging", "--criticality", "critical"),
        *("--key", str(file), "--sudo", "never", "--host-key", host_key()),
    )
    assert (status, said) == (0, "web-1 is added (deploy@192.0.2.7:2222).\n")
    status, said = await run(fleet, "add", "db-1", "db.example.org", "--jump", "web-1")
    assert said.splitlines() == [
        "db-1 is added (db.example.org via web-1).",
        "Confirm its host key: `it0 server test db-1`",
    ]
    _, listed = await run(fleet, "list")
    assert [line.split()[0] for line in listed.splitlines()] == ["NAME", "db-1", "local", "web-1"]
    assert "NOT CONFIRMED" in listed.splitlines()[1]
    assert "edge,eu" in listed
    _, listed = await run(fleet, "list", "--json", "tag:edge")
    (row,) = json.loads(listed)
    assert (row["name"], row["sudo"], row["criticality"]) == ("web-1", "never", "critical")
    assert row["key_fingerprint"].startswith("SHA256:")
    with pytest.raises(RequestRefused, match="the way to db-1"):
        await run(fleet, "remove", "web-1")
    assert (await run(fleet, "remove", "db-1"))[0] == 0
    assert (await run(fleet, "remove", "web-1"))[0] == 0


async def test_what_is_registered_can_be_changed(fleet: Rack) -> None:
    """Only what is named changes; an empty word takes away; nothing named is said."""
    await run(fleet, "add", "gate", "192.0.2.1")
    await run(fleet, "add", "web-1", "192.0.2.7", "--user", "deploy", "--tag", "edge")
    status, said = await run(
        fleet,
        *("change", "web-1", "--rename", "web-9", "--address", "192.0.2.9", "--port", "2222"),
        *("--jump", "gate", "--tag", "eu", "--tag", "new", "--sudo", "never"),
    )
    assert (status, said.splitlines()[0]) == (
        0,
        "web-9 is changed (deploy@192.0.2.9:2222 via gate).",
    )
    (row,) = await fleet.client().servers("web-9")
    assert (row["tags"], row["sudo"], row["criticality"]) == (["eu", "new"], "never", "normal")
    await run(fleet, "change", "web-9", "--jump", "", "--tag", "", "--criticality", "critical")
    (row,) = await fleet.client().servers("web-9")
    assert (row["tags"], row["jump"], row["criticality"]) == ([], "", "critical")
    with pytest.raises(ValueError, match="Say what to change"):
        await run(fleet, "change", "web-9")
    with pytest.raises(RequestRefused):
        await run(fleet, "change", "nobody", "--port", "23")


async def test_a_key_with_a_passphrase_says_what_to_do(fleet: Rack, tmp_path: Path) -> None:
    """Nobody would be there to type it."""
    file = tmp_path / "key"
    file.write_text(LOCKED)
    with pytest.raises(RequestRefused, match="ssh-keygen -p"):
        await run(fleet, "add", "web-1", "192.0.2.7", "--key", str(file))
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="no private key"):
        await run(fleet, "add", "web-1", "192.0.2.7", "--key", str(file))


async def test_a_key_file_is_named_by_its_whole_path(fleet: Rack, tmp_path: Path) -> None:
    """IT0 may run from another directory."""
    await run(fleet, "add", "web-1", "192.0.2.7", "--key-file", str(tmp_path / "id"))
    (row,) = await fleet.client().servers("web-1")
    assert (row["identity"], row["identity_file"]) == ("file", str(tmp_path / "id"))


async def test_a_first_key_is_confirmed_by_a_person(fleet: Rack) -> None:
    """Nothing runs before; afterwards the trial says how it went."""
    await run(fleet, "add", "web-1", "192.0.2.7")
    for says in (None, False):
        status, said = await run(fleet, "test", "web-1", says=says)
        assert status == 1
        assert fingerprint(host_key()) in said
        assert fleet.machines.host.ran == []
    status, said = await run(fleet, "test", "web-1", says=True)
    assert status == 0
    assert "as deploy" in said
    assert (await run(fleet, "test", "web-1"))[0] == 0


async def test_a_first_key_is_confirmed_unseen_when_told(fleet: Rack) -> None:
    """``--trust`` asks nobody, and does nothing about a key that changed."""
    await run(fleet, "add", "web-1", "192.0.2.7")
    assert (await run(fleet, "test", "web-1", "--trust"))[0] == 0
    fleet.machines.key = host_key(2)
    status, said = await run(fleet, "test", "web-1", "--trust", says=True)
    assert status == 1
    assert "HAS CHANGED" in said
    with pytest.raises(RequestRefused, match="another host key"):
        await run(fleet, "trust", "web-1")
    assert (await run(fleet, "trust", "web-1", "--replace", says=False))[0] == 1
    status, said = await run(fleet, "trust", "web-1", "--replace")
    assert said.splitlines() == [
        f"web-1 shows the host key ssh-ed25519 {fingerprint(host_key(2))}",
        "web-1 is trusted with it.",
    ]
    assert (await run(fleet, "test", "web-1"))[0] == 0


async def test_a_server_out_of_reach_fails(fleet: Rack) -> None:
    """The sentence says which."""
    await run(fleet, "add", "web-1", "192.0.2.7")
    fleet.machines.host.unreachable = "web-1 does not answer."
    for action in ("test", "trust"):
        status, said = await run(fleet, action, "web-1")
        assert (status, said) == (1, "web-1 does not answer.\n")


SSH_CONFIG = """
Host bastion web-1
    User deploy
Host web-1
    HostName 192.0.2.7
    ProxyJump bastion
    IdentityFile ~/.ssh/web
Host web-2
    ProxyJump nobody
Host odd
    ProxyCommand x
"""


async def test_an_import_says_what_it_would_do_then_does_it(fleet: Rack, tmp_path: Path) -> None:
    """One bad entry does not stop the others; a second time there is nothing left to add."""
    file = tmp_path / "config"
    file.write_text(SSH_CONFIG)
    expected = [
        "- odd: left out. It is reached by a ProxyCommand; IT0 knows jump hosts alone.",
        "+ bastion: deploy@bastion, production",
        "- web-2: left out. Its jump host nobody is not registered.",
        f"+ web-1: deploy@192.0.2.7 via bastion, production, key {Path.home()}/.ssh/web",
    ]
    status, said = await run(fleet, "import", str(file), "--dry-run")
    assert (status, said.splitlines()) == (0, [*expected, "2 would be added, 2 left out."])
    assert len(await fleet.client().servers()) == 1
    status, said = await run(fleet, "import", str(file))
    assert said.splitlines()[:-1] == [*expected, "2 added, 2 left out."]
    web, *_ = await fleet.client().servers("web-1")
    assert (web["jump"], web["identity"], web["user"]) == ("bastion", "file", "deploy")
    status, said = await run(fleet, "import", str(file))
    assert (status, said.splitlines()[-1]) == (0, "0 added, 4 left out.")


async def test_an_import_goes_on_behind_what_the_server_refuses(
    fleet: Rack, tmp_path: Path
) -> None:
    """The plan has room for some; the exit status says that not all came in."""
    await fleet.storage.db.transaction(switch, on=True)
    file = tmp_path / "hosts"
    file.write_text("[edge]\nweb[1:3] ansible_host=192.0.2.7\n[other]\nx\n")
    status, said = await run(fleet, "import", str(file), "--group", "edge")
    assert status == 1
    assert "+ web2: 192.0.2.7, production, tags edge\n" in said
    assert "- web3: left out. The Free plan allows 3 servers" in said
    assert "x" not in {row["name"] for row in await fleet.client().servers()}
    with pytest.raises(ValueError, match="no group"):
        await run(fleet, "import", str(file), "--group", "nobody")
    with pytest.raises(FileNotFoundError):
        await run(fleet, "import", str(tmp_path / "none"))
