"""What a team registers: new servers, their changes, the keys to them, and what is refused.

Rules that need no database are here; ``storage.servers`` adds those that do (the name is free,
the plan has room, the jump host exists and leads somewhere).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, Protocol, TypeVar

from core.agent_config import KEEP, Keep
from core.fleet.addresses import BAD_ADDRESS, address_of, forbidden_address, forbidden_name
from core.fleet.host import Host
from core.fleet.inventory import (
    Criticality,
    Environment,
    Identity,
    Server,
    ServerKind,
    SudoPolicy,
)
from core.fleet.key_texts import host_key_line, private_key
from core.refusals import Rejected
from core.tenants import User
from core.words import Sentence, sentence

__all__ = [
    "KEEP",
    "HostProbe",
    "KeyCupboard",
    "NewServer",
    "ServerChanges",
    "ServerDesk",
    "checked",
    "forbidden_address",
    "tags_of",
]

_T = TypeVar("_T")

MAX_PORT: Final = 65_535
MAX_TAGS: Final = 30
MAX_TAG_CHARS: Final = 63
MAX_PATH_CHARS: Final = 1_024
NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62})")
USER: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._@\\-]{0,62}[A-Za-z0-9._$-])?")
_RESERVED: Final = frozenset({"all", "local", "localhost"})
"""Words that already mean something where a server is named; the local server has one."""

UNKNOWN_SERVER: Final = Rejected(
    code="not_found",
    sentence=sentence("There is no such server. `/servers` lists them."),
)
NOT_ADMIN: Final = Rejected(
    code="forbidden",
    sentence=sentence("Only an admin of the team can add, change or remove servers."),
)
CHANGED: Final = Rejected(
    code="changed_meanwhile",
    sentence=sentence("The server was changed meanwhile. Look at it again, then repeat this."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewServer:
    """A server as somebody enters it."""

    name: str
    address: str
    port: int = 22
    user: str = ""
    """Empty: the account that IT0 itself runs as."""
    tags: tuple[str, ...] = ()
    environment: Environment = Environment.PRODUCTION
    criticality: Criticality = Criticality.NORMAL
    jump: str = ""
    """The name or the id of the server that it is reached through."""
    identity: Identity | None = None
    """None: the stored key if there is one, else the SSH agent."""
    identity_file: str = ""
    private_key: str = field(default="", repr=False)
    host_key: str = ""
    sudo: SudoPolicy = SudoPolicy.ASK


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerChanges:
    """What to change; a field that is not named keeps its value."""

    name: str | Keep = KEEP
    address: str | Keep = KEEP
    port: int | Keep = KEEP
    user: str | Keep = KEEP
    tags: tuple[str, ...] | Keep = KEEP
    environment: Environment | Keep = KEEP
    criticality: Criticality | Keep = KEEP
    jump: str | Keep = KEEP
    identity: Identity | Keep = KEEP
    identity_file: str | Keep = KEEP
    private_key: str | Keep = field(default=KEEP, repr=False)
    sudo: SudoPolicy | Keep = KEEP

    def applied_to(self, old: Server) -> NewServer:
        """The server as it would be entered with these changes."""
        key = "" if self.private_key is KEEP else self.private_key
        identity = _new(self.identity, old.identity)
        if key and self.identity is KEEP:
            identity = Identity.STORED
        file = old.identity_file if identity is Identity.FILE else ""
        return NewServer(
            name=_new(self.name, old.name),
            address=_new(self.address, old.address),
            port=_new(self.port, old.port),
            user=_new(self.user, old.user),
            tags=_new(self.tags, old.tags),
            environment=_new(self.environment, old.environment),
            criticality=_new(self.criticality, old.criticality),
            jump=_new(self.jump, old.jump),
            identity=identity,
            identity_file=_new(self.identity_file, file),
            private_key=key,
            host_key=old.host_key,
            sudo=_new(self.sudo, old.sudo),
        )


class ServerDesk(Protocol):
    """Changes the servers of a team, for its admins; each change is an audit row."""

    async def add(self, by: User, new: NewServer) -> Server | Rejected:
        """Register one."""

    async def change(
        self, by: User, server_id: str, changes: ServerChanges, *, revision: int | None = None
    ) -> Server | Rejected:
        """Change one whose revision is still that; a new address or port unpins its host key."""

    async def remove(self, by: User, server_id: str) -> Server | Rejected:
        """Forget one, with its key; not while another one is reached through it."""

    async def confirm_host_key(
        self, by: User, server_id: str, key: str, *, replace: bool = False
    ) -> Server | Rejected:
        """Pin the key that it showed; in place of another one only when told to ``replace``."""


class KeyCupboard(Protocol):
    """Opens the stored private keys, for connections alone."""

    async def private_key(self, server: Server) -> bytes | None:
        """The key in OpenSSH or PEM form, or None. Raises ``CannotUnseal``."""

    async def key_hints(self, tenant_id: str) -> dict[str, str]:
        """The fingerprints of the stored keys, by the servers' ids."""

    async def owns_installation(self, tenant_id: str) -> bool:
        """Whether it is the operator's own team, which may use what IT0's machine has."""


class HostProbe(Protocol):
    """Reaches a server to try it out."""

    async def host_key(self, server: Server) -> str:
        """The key that it shows now, ``type base64``. Raises ``HostUnreachable``."""

    def connect(self, server: Server) -> Host:
        """As ``core.fleet.inventory.HostConnector``."""


def checked(new: NewServer, *, own: bool, had_key: bool = False) -> NewServer | Rejected:
    """The server in its stored form, or why it is none; ``host_key`` is checked, too.

    ``own``: the team is the operator's. ``had_key``: a private key is stored already. What
    comes back has an identity; its key is as it will be sealed.
    """
    address = address_of(new.address)
    if address is None:
        return _bad(BAD_ADDRESS)
    identity = new.identity or (Identity.STORED if new.private_key else Identity.AGENT)
    tags = tags_of(new.tags)
    problem = (
        _bad_name(new.name)
        or _bad_port(new.port)
        or _bad_user(new.user)
        or (tags if isinstance(tags, Sentence) else None)
        or _bad_identity(new, identity, had_key=had_key)
        or (None if own else _not_for_guests(address, identity))
    )
    if problem is not None or isinstance(tags, Sentence):
        return _bad(problem or BAD_ADDRESS)
    key = private_key(new.private_key) if new.private_key else ("", "")
    host_key = host_key_line(new.host_key) if new.host_key.strip() else ""
    for refused in (key, host_key):
        if isinstance(refused, Rejected):
            return refused
    return NewServer(
        name=new.name,
        address=address,
        port=new.port,
        user=new.user,
        tags=tags,
        environment=new.environment,
        criticality=new.criticality,
        jump=new.jump.strip(),
        identity=identity,
        identity_file=new.identity_file if identity is Identity.FILE else "",
        private_key=key[0] if isinstance(key, tuple) else "",
        host_key=host_key if isinstance(host_key, str) else "",
        sudo=new.sudo,
    )


def tags_of(written: Iterable[str]) -> tuple[str, ...] | Sentence:
    """Tags in lower case, each once, in order; or why one is none."""
    found: set[str] = set()
    for tag in written:
        plain = unicodedata.normalize("NFKC", tag).strip().casefold()
        if len(plain) > MAX_TAG_CHARS or not re.fullmatch(r"\w[\w.-]*", plain):
            return sentence(
                "A tag has letters, digits, dots, dashes and underscores, at most {most}.",
                most=MAX_TAG_CHARS,
            )
        found.add(plain)
    if len(found) > MAX_TAGS:
        return sentence("A server has at most {most} tags.", most=MAX_TAGS)
    return tuple(sorted(found))


def local_change(old: Server, changes: ServerChanges) -> Rejected | None:
    """Why the machine IT0 runs on cannot be changed like this, or None."""
    if old.kind is not ServerKind.LOCAL:
        return None
    fixed = (
        changes.name,
        changes.address,
        changes.port,
        changes.user,
        changes.jump,
        changes.identity,
        changes.identity_file,
        changes.private_key,
    )
    if all(value is KEEP for value in fixed):
        return None
    return _bad(
        sentence(
            "This is the machine IT0 runs on: only its tags, environment, criticality and sudo "
            "policy can be changed."
        )
    )


def _bad_name(name: str) -> Sentence | None:
    if NAME.fullmatch(name) is None:
        return sentence(
            "A server's name has 1 to 63 letters, digits, dots, dashes and underscores, and "
            "begins with a letter or a digit."
        )
    if name.casefold() in _RESERVED:
        return sentence("The name {name} means something else already.", name=name)
    return None


def _bad_port(port: int) -> Sentence | None:
    if 1 <= port <= MAX_PORT:
        return None
    return sentence("A port is a number from 1 to {most}.", most=MAX_PORT)


def _bad_user(user: str) -> Sentence | None:
    if not user or USER.fullmatch(user):
        return None
    return sentence("The user must be the name of an account, such as `deploy`.")


def _bad_identity(new: NewServer, identity: Identity, *, had_key: bool) -> Sentence | None:
    if new.private_key and identity is not Identity.STORED:
        return sentence("Give either a private key, a key file or the agent, not several.")
    if identity is Identity.STORED and not new.private_key and not had_key:
        return sentence("A private key is needed: none is stored for this server.")
    path = new.identity_file
    if identity is not Identity.FILE:
        return sentence("A key file needs the identity `file`.") if path else None
    usable = PurePosixPath(path).is_absolute() and path.isprintable()
    if usable and len(path) <= MAX_PATH_CHARS:
        return None
    return sentence("The key file must be an absolute path on the machine IT0 runs on.")


def _not_for_guests(address: str, identity: Identity) -> Sentence | None:
    if identity is not Identity.STORED:
        return sentence(
            "Only the team that runs this installation can use its SSH agent and key files. "
            "Enter a private key for this server."
        )
    return forbidden_name(address)


def _bad(said: Sentence) -> Rejected:
    return Rejected(code="bad_server", sentence=said)


def _new(change: _T | Keep, old: _T) -> _T:
    return old if isinstance(change, Keep) else change
