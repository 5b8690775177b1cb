"""What a server may be, before anything is stored."""

from __future__ import annotations

from typing import Any

import pytest

from core.fleet.inventory import Identity, Server
from core.fleet.registry import NewServer, ServerChanges, checked
from core.refusals import Rejected
from tests.bots.web.servers_kit import PEM, host_key
from tests.core.fleet.fleet_kit import WEB, server


def entered(**more: object) -> NewServer:
    """A server as it is entered."""
    return NewServer(**{"name": "web-1", "address": "192.0.2.1", **more})  # type: ignore[arg-type]  # named by the test


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "-x"},
        {"name": "a b"},
        {"name": "a\n"},
        {"name": "a" * 64},
        {"name": "All"},
        {"name": "bücher"},
        {"address": "-oProxyCommand=x"},
        {"address": "web 1"},
        {"port": 0},
        {"port": 65_536},
        {"user": "-l"},
        {"user": "a b"},
        {"user": "a\n"},
        {"tags": ("a b",)},
        {"tags": ("",)},
        {"tags": ("a" * 64,)},
        {"tags": tuple(map(str, range(31)))},
        {"identity": Identity.STORED},
        {"identity": Identity.FILE, "identity_file": "relative"},
        {"identity": Identity.FILE, "identity_file": "/a\nb"},
        {"identity": Identity.FILE, "identity_file": "/" + "a" * 2_000},
        {"identity": Identity.FILE},
        {"identity_file": "/x"},
        {"identity": Identity.AGENT, "private_key": PEM},
        {"private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\nx"},
        {"host_key": "ssh-ed25519 AAAA"},
    ],
)
def test_what_is_no_server_is_refused(wrong: dict[str, object]) -> None:
    """With a sentence for whoever entered it."""
    refused = checked(entered(**wrong), own=True)
    assert isinstance(refused, Rejected)
    assert refused.code == "bad_server"


@pytest.mark.parametrize(
    "right",
    [
        {"name": "a"},
        {"name": "0_a.B-" + "c" * 57},
        {"user": "_x"},
        {"user": r"DOMAIN\user"},
        {"user": "ann@example.org"},
        {"port": 65_535},
        {"tags": ("边缘", "a.b-c_1")},
        {"identity": Identity.FILE, "identity_file": "/home/ann/.ssh/my key"},
    ],
)
def test_what_is_one_is_taken_as_it_is(right: dict[str, Any]) -> None:
    """Apart from the order of the tags."""
    good = checked(entered(**right), own=True)
    assert isinstance(good, NewServer)
    for name, value in right.items():
        stored = getattr(good, name)
        assert (sorted(stored) == sorted(value)) if name == "tags" else (stored == value)


def test_the_stored_form() -> None:
    """Tags and addresses in lower case, the host key alone, an identity."""
    good = checked(
        entered(tags=("B", "a", "b"), address="Web.Example.org.", host_key=f"web {host_key()} x"),
        own=True,
    )
    assert isinstance(good, NewServer)
    assert (good.tags, good.address, good.host_key) == (("a", "b"), "web.example.org", host_key())
    assert good.identity is Identity.AGENT
    with_key = checked(entered(private_key=PEM), own=False)
    assert isinstance(with_key, NewServer)
    assert with_key.identity is Identity.STORED


def test_a_new_key_means_the_stored_identity() -> None:
    """A file's path goes with its identity; what is not named stays."""
    old = server("web-1")
    assert ServerChanges(private_key=PEM).applied_to(old).identity is Identity.STORED
    filed = Server(
        id="srv_1",
        tenant_id="ten_1",
        name="web-1",
        kind=old.kind,
        identity=Identity.FILE,
        identity_file="/x",
    )
    assert ServerChanges(port=1).applied_to(filed).identity_file == "/x"
    assert ServerChanges(identity=Identity.AGENT).applied_to(filed).identity_file == ""
    assert ServerChanges().applied_to(WEB).tags == WEB.tags
