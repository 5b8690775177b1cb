from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fleet.inventory import Ambiguous, LocalInventory, Server, ServerKind, Unknown, resolve


def server(name: str, kind: ServerKind = ServerKind.SSH) -> Server:
    """A server of the tenant."""
    return Server(id=f"srv_{name}", tenant_id="ten_1", name=name, kind=kind)


FLEET = tuple(map(server, ("web-1", "web-10", "web-2", "prod-db-1", "Cache", "mail.example.org")))


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("web-1", "web-1"),
        ("WEB-1", "web-1"),
        ("web 1", "web-1"),
        ("web_1", "web-1"),
        ("web1", "web-1"),
        ("cache", "Cache"),
        ("db", "prod-db-1"),
        ("prod db", "prod-db-1"),
        ("mail", "mail.example.org"),
        ("Mail.Example.ORG", "mail.example.org"),
    ],
)
def test_a_name_is_understood_forgivingly(wanted: str, name: str) -> None:
    """Case, separators and whole words of a name are enough when only one server fits."""
    assert resolve(wanted, FLEET) == server(name)


def test_two_candidates_are_never_guessed_between() -> None:
    """The candidates are named instead."""
    assert resolve("web", FLEET) == Ambiguous(candidates=("web-1", "web-10", "web-2"))


@pytest.mark.parametrize("wanted", ["web-3", "eb-1", "pro", "", "...", "web-100", "1-web"])
def test_a_near_miss_is_not_a_hit(wanted: str) -> None:
    """Parts of words and near numbers find nothing."""
    assert isinstance(resolve(wanted, FLEET), Unknown)


def test_a_near_miss_is_suggested() -> None:
    """The nearest names are offered, never used."""
    found = resolve("prod-bd-1", FLEET)
    assert isinstance(found, Unknown)
    assert found.nearest[0] == "prod-db-1"


def test_one_digit_off_never_becomes_another_server() -> None:
    """With web-10 alone, web-1 is unknown: digits are whole words."""
    assert isinstance(resolve("web-1", (server("web-10"),)), Unknown)
    assert isinstance(resolve("web-1-2", (server("web-12"),)), Unknown)


def test_changes_need_the_whole_name() -> None:
    """A part of a name is good enough for looking, not for changing."""
    assert isinstance(resolve("db", FLEET, exact=True), Unknown)
    assert resolve("PROD DB 1", FLEET, exact=True) == server("prod-db-1")


@pytest.mark.parametrize("wanted", ["local", "localhost", "this machine", "here", "本机"])
def test_this_machine_is_the_local_one(wanted: str) -> None:
    """Ways to say the server IT0 runs on; without a local server they mean nothing."""
    local = server("it0-box", ServerKind.LOCAL)
    assert resolve(wanted, (*FLEET, local)) == local
    assert isinstance(resolve(wanted, FLEET), Unknown)


@given(st.text(), st.lists(st.text(min_size=1), max_size=5, unique=True))
def test_any_name_is_resolved_to_one_of_the_servers_or_none(wanted: str, names: list[str]) -> None:
    """No text breaks it, and an exact name always wins."""
    servers = tuple(map(server, names))
    found = resolve(wanted, servers)
    assert found in servers or isinstance(found, Ambiguous | Unknown)
    if wanted in names:
        assert found == server(wanted)


async def test_the_local_server_belongs_to_one_tenant() -> None:
    """Another tenant has no server at all."""
    local = server("it0-box", ServerKind.LOCAL)
    inventory = LocalInventory(server=local)
    assert await inventory.servers("ten_1") == (local,)
    assert await inventory.servers("ten_2") == ()
