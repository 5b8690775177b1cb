"""Which servers are meant: forgiving for a look, never guessed for a change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fleet.inventory import Ambiguous, Criticality, Environment, Server, Unknown
from core.fleet.selection import MAX_CHARS, select
from tests.core.fleet.fleet_kit import LOCAL, server

STAGING = Environment.STAGING
WEB_1, WEB_2 = server("web-1", "web", "edge"), server("web-2", "web", environment=STAGING)
DB = replace(server("prod-db-1", "db"), criticality=Criticality.CRITICAL)
CACHE = server("cache", "edge", environment=STAGING)
FLEET = (CACHE, LOCAL, DB, WEB_1, WEB_2)


def names(wanted: str, *, exact: bool, fleet: tuple[Server, ...] = FLEET) -> list[str]:
    """The names of what is selected; a question is none."""
    found = select(wanted, fleet, exact=exact)
    return [one.name for one in found] if isinstance(found, tuple) else []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("web-1", ["web-1"]),
        ("WEB 1", ["web-1"]),
        ("`web-1`", ["web-1"]),
        ("this machine", ["local"]),
        ("web-2, web-1", ["web-1", "web-2"]),
        ("web-1 and cache", ["cache", "web-1"]),
        ("web-1\nweb-2", ["web-1", "web-2"]),
        ("web-1、cache", ["cache", "web-1"]),
        ("all", ["cache", "local", "prod-db-1", "web-1", "web-2"]),
        ("every server", ["cache", "local", "prod-db-1", "web-1", "web-2"]),
        ("所有服务器", ["cache", "local", "prod-db-1", "web-1", "web-2"]),
        ("tag:edge", ["cache", "web-1"]),
        ("#Edge", ["cache", "web-1"]),
        ("all edge servers", ["cache", "web-1"]),
        ("the edge servers", ["cache", "web-1"]),
        ("edge", ["cache", "web-1"]),
        ("所有edge服务器", ["cache", "web-1"]),
        ("env:staging", ["cache", "web-2"]),
        ("staging", ["cache", "web-2"]),
        ("all staging machines", ["cache", "web-2"]),
        ("staging edge servers", ["cache"]),
        ("all critical servers", ["prod-db-1"]),
        ("criticality:critical", ["prod-db-1"]),
        ("web and db", ["prod-db-1", "web-1", "web-2"]),
        ("all except local", ["cache", "prod-db-1", "web-1", "web-2"]),
        ("all edge servers but not cache", ["web-1"]),
        ("name:web-1", ["web-1"]),
        ("WEB-2.example.org", ["web-2"]),
        ("srv_cache", ["cache"]),
        ("the whole fleet", ["cache", "local", "prod-db-1", "web-1", "web-2"]),
        ("the staging edge server", ["cache"]),
    ],
)
def test_what_is_said_in_full_is_enough_for_a_change(wanted: str, expected: list[str]) -> None:
    """Names, groups, environments and all; a look understands the same."""
    assert names(wanted, exact=True) == expected
    assert names(wanted, exact=False) == expected


@pytest.mark.parametrize("wanted", ["prod", "ca*", "*-1", "prod db", "db servers, prod"])
def test_a_part_of_a_name_is_enough_for_a_look_alone(wanted: str) -> None:
    """A change asks, or knows nothing of that name."""
    prod = replace(DB, tags=(), environment=STAGING)
    fleet = (prod, CACHE, server("db", environment=STAGING))
    assert names(wanted, exact=False, fleet=fleet)
    assert names(wanted, exact=True, fleet=fleet) == []


def test_several_with_a_word_in_their_names_are_a_look_alone() -> None:
    """The plural lists them; the word alone is a question."""
    fleet = (server("web-1"), server("web-2"), server("db"))
    assert names("web servers", exact=False, fleet=fleet) == ["web-1", "web-2"]
    candidates = Ambiguous(candidates=("web-1", "web-2"))
    assert select("web servers", fleet, exact=True) == candidates
    assert select("web", fleet, exact=False) == candidates


def test_a_word_that_is_a_name_and_a_group_is_a_question_for_a_change() -> None:
    """It says how to name either; a look takes the server."""
    fleet = (server("edge"), WEB_1)
    asked = select("edge", fleet, exact=True)
    assert asked == Ambiguous(candidates=("name:edge", "tag:edge"))
    assert names("edge", exact=False, fleet=fleet) == ["edge"]
    assert names("name:edge", exact=True, fleet=fleet) == ["edge"]
    assert names("tag:edge", exact=True, fleet=fleet) == ["web-1"]
    alone = (server("edge", "edge"), WEB_1)
    assert isinstance(select("edge", alone, exact=True), Ambiguous)
    assert names("edge", exact=True, fleet=(server("edge", "edge"),)) == ["edge"]


@pytest.mark.parametrize("name", ["box", "servers", "fleet", "everything", "machine"])
def test_a_server_may_be_named_like_all_of_them(name: str) -> None:
    """A change never goes everywhere for it; a look goes there."""
    fleet = (server(name), WEB_1)
    assert names(name, exact=True, fleet=fleet) in ([], [name])
    assert names(name, exact=False, fleet=fleet) == [name]
    assert names(f"name:{name}", exact=True, fleet=fleet) == [name]


def test_nothing_but_a_word_for_all_means_all_to_a_change() -> None:
    """A noun alone does not; nor does one server of several."""
    for wanted in ("servers", "the machine", "box"):
        assert names(wanted, exact=True) == []
        assert len(names(wanted, exact=False)) == len(FLEET)
    asked = select("the edge server", FLEET, exact=True)
    assert asked == Ambiguous(candidates=("cache", "web-1"))
    assert names("the edge server", exact=False) == ["cache", "web-1"]
    same = (WEB_1, replace(WEB_2, address=WEB_1.address))
    assert select(WEB_1.address, same, exact=True) == Ambiguous(candidates=("web-1", "web-2"))


def test_a_tag_that_is_an_environment_too_is_a_question_for_a_change() -> None:
    """Unless both are the same servers; a look takes both."""
    fleet = (server("a", "staging"), server("b", environment=STAGING))
    asked = select("staging", fleet, exact=True)
    assert asked == Ambiguous(candidates=("tag:staging", "env:staging"))
    assert names("staging", exact=False, fleet=fleet) == ["a", "b"]
    same = (server("a", "staging", environment=STAGING), server("b"))
    assert names("staging", exact=True, fleet=same) == ["a"]


@pytest.mark.parametrize("wanted", ["", "   ", ",", "tag:", "tag:none", "web-1, nobody", "web-100"])
def test_what_is_not_known_selects_nothing(wanted: str) -> None:
    """Not even the part that would be known."""
    assert isinstance(select(wanted, FLEET, exact=False), Unknown)


def test_near_names_and_tags_are_suggested() -> None:
    """They are shown, never used."""
    assert select("cahce", FLEET, exact=False) == Unknown(nearest=("cache",))
    assert select("tag:egde", FLEET, exact=True) == Unknown(nearest=("tag:edge",))


def test_all_but_all_is_nothing() -> None:
    """There is no empty selection."""
    assert select("all except all", FLEET, exact=True) == Unknown(nearest=())
    assert select("all", (), exact=False) == Unknown(nearest=())


WORDS = st.sampled_from(
    [
        "all",
        "the",
        "server",
        "web",
        "1",
        "-",
        "edge",
        "prod",
        "db",
        "servers",
        ",",
        "and",
        "except",
        "tag:",
        "#",
        "*",
    ]
)
TAGS = st.lists(st.sampled_from(["edge", "web", "prod", "staging"]), max_size=2, unique=True)
NAMES = st.from_regex(r"[a-z0-9]{1,4}(-[a-z0-9]{1,3})?", fullmatch=True)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Server, ...]:
    """A few servers with names that differ in more than case."""
    listed = draw(st.lists(NAMES, max_size=6, unique=True))
    return tuple(
        server(name, *draw(TAGS), environment=draw(st.sampled_from(list(Environment))))
        for name in sorted(listed)
    )


@given(wanted=st.text(max_size=40) | st.lists(WORDS, max_size=8).map(" ".join), fleet=fleets())
def test_anything_is_answered_with_servers_of_the_fleet(
    wanted: str, fleet: tuple[Server, ...]
) -> None:
    """Never an exception, never an empty selection; what a change takes, a look takes, too."""
    change, look = (select(wanted, fleet, exact=exact) for exact in (True, False))
    for found in (change, look):
        if isinstance(found, tuple):
            assert found
            assert list(found) == [one for one in fleet if one in found]
    if isinstance(change, tuple):
        assert isinstance(look, tuple)
        assert set(change) <= set(look)


@given(fleet=fleets())
def test_a_change_never_reaches_another_server_than_the_named_one(
    fleet: tuple[Server, ...],
) -> None:
    """A whole name selects that server, or asks; with ``name:`` it never reaches another one."""
    for one in fleet:
        for wanted in (one.name, f"name:{one.name}"):
            found = select(wanted, fleet, exact=True)
            assert found == (one,) or isinstance(found, Ambiguous)


def test_a_long_text_is_cut() -> None:
    """What nobody types costs nothing."""
    assert isinstance(select(" " * 100_000 + "web-1", FLEET, exact=False), Unknown)
    assert isinstance(select("web-1, " * MAX_CHARS, FLEET, exact=False), tuple | Unknown)
