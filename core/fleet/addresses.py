"""What a server's address may be: a host name or an IP address, and where it may not lead.

IT0 makes the connection, from inside its own network: an address of a team must not reach the
machine IT0 runs on, or the services that a cloud offers to that machine alone.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final

from core.words import Sentence, sentence

MAX_CHARS: Final = 253
"""Of a host name (RFC 1035, section 2.3.4)."""
_LABEL: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_ENDS_IN_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_METADATA_NAMES: Final = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "metadata.azure.com"}
)
_METADATA: Final = frozenset(
    map(
        ipaddress.ip_address,
        (
            "100.100.100.200",  # Alibaba Cloud
            "168.63.129.16",  # Azure's wire server
            "192.0.0.192",  # Oracle Cloud
            "fd00:ec2::254",  # Amazon
            "fd20:ce::254",  # Google
        ),
    )
)
_EMBEDDING: Final = (
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052
    ipaddress.IPv6Network("::ffff:0:0:0/96"),  # SIIT, RFC 7915
)
"""The last 32 bits are an IPv4 address."""
_TRANSLATED: Final = (
    ipaddress.IPv6Network("64:ff9b:1::/48"),  # RFC 8215: each network embeds as it likes
    ipaddress.IPv6Network("2001::/32"),  # Teredo, RFC 4380
)
"""Where they end is decided by a translator that we do not know."""
_IPV4_BITS: Final = 0xFFFFFFFF
_NOT_OURS: Final = {4: ipaddress.ip_address("192.0.2.1"), 6: ipaddress.ip_address("2001:db8::1")}
"""Of documentation (RFC 5737, RFC 3849)."""
_DISCARD: Final = 9

BAD_ADDRESS: Final = sentence(
    "An address is a host name, an IPv4 or an IPv6 address, without a port or a user."
)


def address_of(written: str) -> str | None:
    """The address as it is stored; None when it is none.

    A name that ends in a number is none: programs read ``127.1`` and ``0x7f000001`` as IPv4
    addresses (inet_aton), and it would pass as a name here.
    """
    bare = written.strip()
    if bare.startswith("[") and bare.endswith("]"):
        bare = bare[1:-1]
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    name = bare.removesuffix(".").casefold()
    labels = name.split(".")
    if not name or len(name) > MAX_CHARS or not all(map(_LABEL.fullmatch, labels)):
        return None
    return None if _ENDS_IN_NUMBER.fullmatch(labels[-1]) else name


def forbidden_address(ip: str) -> str | None:
    """Why a team that does not own this installation may not connect there, or None.

    For an address as it was resolved; the connector asks at each connection, because what a
    name means changes. What is no IP address is forbidden.
    """
    try:
        found = ipaddress.ip_address(ip.strip().strip("[]"))
    except ValueError:
        return "no IP address"
    return _why(found)


def _why(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str | None:
    if isinstance(ip, ipaddress.IPv6Address):
        if inner := _inside(ip):
            return _why(inner)
        ip = ipaddress.IPv6Address(int(ip))  # without its zone
    for applies, why in (
        (ip in _METADATA, "a cloud's metadata service"),
        (ip.is_loopback, "a loopback address"),
        (ip.is_unspecified or (ip.version == 4 and ip.packed[0] == 0), "an unspecified address"),  # noqa: PLR2004  # IPv4
        (ip.is_link_local, "a link-local address"),
        (ip.is_multicast, "a multicast address"),
        (ip.version == 4 and ip.is_reserved, "a reserved address"),  # noqa: PLR2004  # IPv4
        (any(ip in network for network in _TRANSLATED), "a translated address"),
        (_own(ip), "an address of IT0's own machine"),
    ):
        if applies:
            return why
    return None


def _own(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an interface of this machine has the address, as the kernel says now.

    Only a local address can be bound, unless ``ip_nonlocal_bind`` is set.
    """
    if not bindable(ip):
        return False
    return routed_to_itself(ip) if bindable(_NOT_OURS[ip.version]) else True


def bindable(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether a socket of this machine can have the address. Nothing is sent."""
    try:
        with _datagram(ip) as probe:
            probe.bind((str(ip), 0))
    except OSError:  # also where there is no IPv6
        return False
    return True


def routed_to_itself(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether packets to the address would leave from it: it is ours. Nothing is sent."""
    try:
        with _datagram(ip) as probe:
            probe.connect((str(ip), _DISCARD))
            return str(probe.getsockname()[0]) == str(ip)
    except OSError:
        return False


def _datagram(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> socket.socket:
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6  # noqa: PLR2004  # IPv4
    return socket.socket(family, socket.SOCK_DGRAM)


def _inside(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    number = int(ip)
    compatible = number >> 32 == 0 and number > 1
    if compatible or any(ip in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(number & _IPV4_BITS)
    return None


def forbidden_name(address: str) -> Sentence | None:
    """Why a team that does not own this installation may not enter this address, or None."""
    bare = address.casefold().removesuffix(".")
    if bare == "localhost" or bare.endswith((".localhost", ".localdomain")):
        why: str | None = "a loopback address"
    elif bare in _METADATA_NAMES:
        why = "a cloud's metadata service"
    else:
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            return None
        why = forbidden_address(bare)
    if why is None:
        return None
    return sentence(
        "The address {address} cannot be used: it leads into IT0's own machine or network.",
        address=address,
    )
