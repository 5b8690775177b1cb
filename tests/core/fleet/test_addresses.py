"""Where a server's address may lead."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fleet.addresses import (
    address_of,
    bindable,
    forbidden_address,
    forbidden_name,
    routed_to_itself,
)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("Web-1.Example.org.", "web-1.example.org"),
        ("192.0.2.7", "192.0.2.7"),
        ("[2001:DB8::7]", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a_b", "a_b"),
        ("3com", "3com"),
    ],
)
def test_names_and_addresses_are_taken(written: str, stored: str) -> None:
    """In lower case, without brackets and the root's dot."""
    assert address_of(written) == stored


@pytest.mark.parametrize(
    "written",
    [
        "",
        ".",
        "-oProxyCommand=x",
        "a b",
        "a..b",
        "host:22",
        "user@host",
        "ssh://host",
        "a/b",
        "host-",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "192.0.2.256",
        "1.2.3.4.5",
        "a" * 64,
        ".".join(["a" * 60] * 5),
        "bücher.example",
        "a\0b",
        "a\nb",
        "$(x)",
    ],
)
def test_what_is_no_address_is_refused(written: str) -> None:
    """No option, port, user or shell text; nor numbers that inet_aton would read."""
    assert address_of(written) is None


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1",
        "127.255.0.9",
        "0.0.0.0",
        "0.1.2.3",
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "2001:0:7f00:1::1",
        "2001:0:808:808::1",
        "64:ff9b:1::7f00:1",
        "64:ff9b:1:7f00:0:100::",
        "::ffff:0:7f00:1",
        "no address",
        "",
    ],
)
def test_a_guest_reaches_nothing_of_our_own(ip: str) -> None:
    """Also not wrapped into IPv6."""
    assert forbidden_address(ip)


def _own() -> list[str]:
    """This machine's addresses but loopback, as the kernel routes from them."""
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.99"), (socket.AF_INET6, "2001:db8::99")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                # Past the guard of the tests: a datagram socket sends nothing when it connects.
                socket.SocketType.connect(probe, (far, 9))
            except OSError:
                continue
            found.append(str(probe.getsockname()[0]))
    return found


def test_a_guest_reaches_no_address_of_this_machine() -> None:
    """Those of its interfaces, too, and wrapped into IPv6; their neighbours stay allowed."""
    own = [ipaddress.ip_address(it) for it in _own()]
    if not own:
        pytest.skip("this machine has no address but loopback")
    for ip in own:
        assert forbidden_address(str(ip))
        assert forbidden_name(str(ip))
        if ip.version == 4:
            wrapped = int(ip)
            six_to_four = ipaddress.IPv6Address((0x2002 << 112) | (wrapped << 80) | 1)
            nat64 = ipaddress.IPv6Address((0x64_FF9B << 96) | wrapped)
            for outer in (six_to_four, nat64, f"::ffff:{ip}", f"::ffff:0:{ip}"):
                assert forbidden_address(str(outer))


def test_the_kernel_knows_its_own_addresses() -> None:
    """Where any address can be bound, the source of a route tells instead."""
    for tells in (bindable, routed_to_itself):
        assert tells(ipaddress.ip_address("127.0.0.1"))
    assert not bindable(ipaddress.ip_address("192.0.2.7"))
    assert not bindable(ipaddress.ip_address("2001:db8::7"))


@pytest.mark.parametrize("ip", ["192.0.2.7", "10.0.0.1", "8.8.8.8", "2001:db8::1", "fd00::1"])
def test_other_addresses_are_for_everybody(ip: str) -> None:
    """Private networks, too: that is where servers are."""
    assert forbidden_address(ip) is None


@pytest.mark.parametrize(
    "name",
    ["localhost", "LOCALHOST", "a.localhost", "localhost.localdomain", "metadata.google.internal"],
)
def test_names_that_say_where_they_lead_are_refused_at_once(name: str) -> None:
    """Others are looked at when they are resolved."""
    assert forbidden_name(name)
    assert forbidden_name("169.254.169.254")
    assert forbidden_name("web.example.org") is None
    assert forbidden_name("192.0.2.7") is None


@given(st.text(max_size=30))
def test_any_text_is_judged(text: str) -> None:
    """Without an exception; what is taken begins with no dash and is stored as it is stored."""
    stored = address_of(text)
    assert stored is None or (address_of(stored) == stored and not stored.startswith("-"))
    forbidden_address(text)
    forbidden_name(text)
