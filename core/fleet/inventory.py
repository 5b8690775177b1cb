"""Which servers a tenant has, and which one a person means.

Names are matched forgivingly (case, spaces, dashes, a part of the name) but never guessed:
two candidates are an ``Ambiguous``, a near miss is an ``Unknown`` with suggestions.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from core.fleet.host import Host


class ServerKind(StrEnum):
    """How a server is reached."""

    LOCAL = "local"
    """The machine IT0 runs on; it belongs to the operator's own tenant alone."""
    SSH = "ssh"


class Environment(StrEnum):
    """What a server is for."""

    PRODUCTION = "production"
    STAGING = "staging"
    DEVELOPMENT = "development"


class Criticality(StrEnum):
    """How bad it is when the server fails."""

    LOW = "low"
    NORMAL = "normal"
    CRITICAL = "critical"
    """Changes need a second pair of eyes."""


class SudoPolicy(StrEnum):
    """Whether IT0 may become root there; passwords are never given to sudo."""

    NEVER = "never"
    ASK = "ask"
    """Only with a human's approval (level L2), whatever the command."""
    ALLOWED = "allowed"
    """As the command itself is judged."""


class Identity(StrEnum):
    """What IT0 shows to the server to get in."""

    STORED = "stored"
    """A private key that IT0 keeps, sealed."""
    AGENT = "agent"
    """The SSH agent of the account that IT0 runs as (``SSH_AUTH_SOCK``); operator's team only."""
    FILE = "file"
    """A key file of the machine that IT0 runs on; operator's team only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A machine of a tenant. ``name`` is unique inside the tenant."""

    id: str
    tenant_id: str
    name: str
    kind: ServerKind
    address: str = ""
    """Host name or IP address; empty for the local machine."""
    port: int = 22
    user: str = ""
    tags: tuple[str, ...] = ()
    """Lower case; a tag is a group that can be addressed."""
    environment: Environment = Environment.PRODUCTION
    criticality: Criticality = Criticality.NORMAL
    jump: str = ""
    """The id of the server that it is reached through; empty: directly."""
    identity: Identity = Identity.AGENT
    identity_file: str = ""
    """The path of the key, with ``Identity.FILE``."""
    host_key: str = ""
    """The pinned public key, ``type base64`` as in ``known_hosts``; empty: nobody confirmed one."""
    sudo: SudoPolicy = SudoPolicy.ASK
    revision: int = 0
    """Grows with each change of the entry; a pooled connection of an older one is closed."""


class Inventory(Protocol):
    """Knows the servers."""

    async def servers(self, tenant_id: str) -> tuple[Server, ...]:
        """The tenant's servers in the order of their names; empty for a stranger."""


class HostConnector(Protocol):
    """Turns an inventory entry into something that can be looked at."""

    def connect(self, server: Server) -> Host:
        """Return the host; a connection is made when the first command needs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalInventory:
    """The inventory of an installation that has only its own machine."""

    server: Server

    async def servers(self, tenant_id: str) -> tuple[Server, ...]:
        """The local server for the tenant that owns it, nothing for all others."""
        return (self.server,) if tenant_id == self.server.tenant_id else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ambiguous:
    """More than one server could be meant."""

    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """No server could be meant."""

    nearest: tuple[str, ...]
    """Names that look similar; only ever shown, never used."""


_HERE = frozenset(
    {"local", "localhost", "here", "this", "thismachine", "thisserver", "thishost", "127001"}
    | {"本机", "本地", "这台", "这台服务器", "这台机器", "这里"}
)
_WORD = re.compile(r"[^\W\d_]+|\d+")


def resolve(
    wanted: str, servers: Sequence[Server], *, exact: bool = False
) -> Server | Ambiguous | Unknown:
    """Find the server that is meant by ``wanted``.

    Tried in this order, each deciding only with a single hit: the name as it stands, the
    name without regard to case and separators, "this machine", and, unless ``exact``
    (for calls that change something), whole leading or inner words of the name
    (``db`` finds ``prod-db-1``; ``web-1`` never finds ``web-10``).
    """
    same = [server for server in servers if server.name == wanted]
    words = _words(wanted)
    loose = [server for server in servers if words and _words(server.name) == words]
    local = [server for server in servers if server.kind is ServerKind.LOCAL]
    parts = [] if exact else [server for server in servers if _has_words(server.name, wanted)]
    for found in (same, loose, local if "".join(words) in _HERE else [], parts):
        if len(found) == 1:
            return found[0]
        if found:
            return Ambiguous(candidates=tuple(server.name for server in found))
    names = {server.name.casefold(): server.name for server in servers}
    near = difflib.get_close_matches(wanted.casefold()[:100], names, n=3, cutoff=0.6)
    return Unknown(nearest=tuple(names[name] for name in near))


def _words(name: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", name).casefold())


def _has_words(name: str, wanted: str) -> bool:
    words, part = _words(name), _words(wanted)
    return bool(part) and any(
        words[start : start + len(part)] == part for start in range(len(words) - len(part) + 1)
    )
