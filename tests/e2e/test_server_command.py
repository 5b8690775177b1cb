"""``it0 server`` through the whole product, to real OpenSSH servers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from bots.operator import OperatorClient
from bots.operator_servers import ServersClient
from bots.web.auth import operator_token
from cli import build_parser
from core.fleet.key_texts import fingerprint
from fleet_cli import Terminal, carry_out
from tests.bots.api_kit import Api, open_api
from tests.support.sshd import SshdKit, make_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def kit() -> Iterator[SshdKit]:
    """Two servers."""
    with SshdKit() as made:
        made.start("bastion", "web")
        yield made


async def run(api: Api, *typed: object) -> tuple[int, str]:
    """The exit status and what was printed."""
    key = api.core.storage.keys.derive("tokens")
    operator = OperatorClient(base_url=api.url, token_source=lambda: operator_token(key, None))
    out = io.StringIO()
    arguments = build_parser().parse_args(["server", *map(str, typed)])
    terminal = Terminal(out=out, ask=None)
    return await carry_out(ServersClient(client=operator), arguments, terminal), out.getvalue()


async def test_a_server_is_added_trusted_and_answers_in_chat(kit: SshdKit, tmp_path: Path) -> None:
    """With a stored key, through a jump host with a key file; a changed host key stops it all."""
    bastion, web = kit.running
    user = make_server("x").user
    login = ("--user", user)
    async with open_api(tmp_path / "data") as api:
        place = ("127.0.0.1", "--port", bastion.port, *login)
        await run(api, "add", "bastion", *place, "--key", kit.key_file, "--tag", "edge")
        place = ("127.0.0.1", "--port", web.port, *login)
        way = ("--key-file", kit.key_file, "--jump", "bastion", "--tag", "edge")
        await run(api, "add", "web-1", *place, *way)
        status, said = await run(api, "test", "web-1")
        assert status == 1
        assert fingerprint(web.host_key) not in said  # the bastion is not trusted yet
        assert (await run(api, "test", "bastion", "--trust"))[0] == 0
        status, said = await run(api, "test", "web-1", "--trust")
        assert status == 0, said
        assert fingerprint(web.host_key) in said
        assert f"as {user}" in said
        listed = (await api.ask("/servers tag:edge"))["reply"]
        assert "not confirmed" not in listed
        assert fingerprint(web.host_key) in (await api.ask("/servers web"))["reply"]
        wrong = ("--host-key", bastion.host_key)
        await run(api, "add", "moved", *place, "--key", kit.key_file, *wrong)
        status, said = await run(api, "test", "moved", "--trust")
        assert status == 1
        assert "HAS CHANGED" in said
