"""Connecting to one server: our keys, its pinned key, and a sentence for all that goes wrong.

Nothing of the account that IT0 runs as is used: no ``~/.ssh/config``, no known hosts, no default
keys, no agent unless the server's entry says so, and never agent forwarding.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import asyncssh

from core.fleet.addresses import forbidden_address
from core.fleet.host import HostUnreachable
from core.fleet.inventory import Identity, Server
from core.words import Sentence, sentence

CONNECT_S = 8.0
_KEEPALIVE_S = 15
_KEEPALIVES = 3
"""Unanswered keepalives after which a connection counts as broken."""
_HOST_KEYS = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""Which of a server's keys is taken for its pin, the preferred first."""
_CLIENT = "IT0"

Keys = Sequence[asyncssh.SSHKeyPair | asyncssh.SSHKey]


class PrivateKeys(Protocol):
    """Keeps the private keys of servers with ``Identity.STORED``."""

    async def private_key(self, server: Server) -> bytes | None:
        """The key in OpenSSH or PEM form, without a passphrase; None if there is none."""


class _Client(asyncssh.SSHClient):
    """Looks at the peer before a byte is sent, and remembers a key that is not the pinned one."""

    def __init__(self, *, public_only: bool) -> None:
        self._public_only = public_only
        self.refused_address = ""
        self.wrong_key: asyncssh.SSHKey | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        """Refuse addresses that only this machine can reach, whatever name led there."""
        peer = conn.get_extra_info("peername")
        if self._public_only and peer and forbidden_address(str(peer[0])):
            self.refused_address = str(peer[0])
            conn.abort()

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Refuse every key that is not the pinned one; asyncssh asks only about those."""
        del host, addr, port
        self.wrong_key = key
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialer:
    """Makes connections."""

    keys: PrivateKeys
    operator_tenant: str
    """The team that owns this machine: it alone may use the machine's own keys and agent, and
    addresses that only this machine reaches. Empty: nobody."""
    agent_path: str
    """The socket of the SSH agent; empty: there is none."""

    async def connect(
        self, server: Server, through: asyncssh.SSHClientConnection | None
    ) -> asyncssh.SSHClientConnection:
        """Return a connection whose server proved that it has the pinned key.

        Raises HostUnreachable.
        """
        if not server.host_key:
            raise HostUnreachable(await self._unpinned(server, through))
        pinned = _pinned(server)
        public = self._public_only(server, through)
        client = _Client(public_only=public)
        try:
            async with self._identities(server) as identities:
                # Before anything is opened: a refusal must not tell whether something listens.
                at = await _allowed_address(server) if public else server.address
                connection = await _connected(server, at, through, client, pinned, identities)
        except (asyncssh.Error, OSError, TimeoutError, ValueError) as error:
            if client.refused_address:
                raise HostUnreachable(_own_address(server, client.refused_address)) from error
            if client.wrong_key is not None:
                raise HostUnreachable(_changed(server, pinned, client.wrong_key)) from error
            raise HostUnreachable(_why(server, error, through=through is not None)) from error
        if client.refused_address:
            connection.abort()
            raise HostUnreachable(_own_address(server, client.refused_address))
        return connection

    async def host_key(self, server: Server, through: asyncssh.SSHClientConnection | None) -> str:
        """The server's present public key as a ``type base64`` line. Raises HostUnreachable."""
        return _line(await self._present(server, through))

    async def _present(
        self, server: Server, through: asyncssh.SSHClientConnection | None
    ) -> asyncssh.SSHKey:
        try:
            async with asyncio.timeout(CONNECT_S):
                public = self._public_only(server, through)
                key = await asyncssh.get_server_host_key(
                    await _allowed_address(server) if public else server.address,
                    server.port,
                    tunnel=through,
                    server_host_key_algs=_HOST_KEYS,
                    client_version=_CLIENT,
                    config=[],
                )
        except (asyncssh.Error, OSError, TimeoutError, ValueError) as error:
            raise HostUnreachable(_why(server, error, through=through is not None)) from error
        if key is None:
            raise HostUnreachable(sentence("{server} shows no host key.", server=server.name))
        return key

    async def _unpinned(
        self, server: Server, through: asyncssh.SSHClientConnection | None
    ) -> Sentence:
        present = await self._present(server, through)
        return sentence(
            "Nobody has confirmed the host key of {server} yet. It shows {fingerprint}; compare"
            " that on the server (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then run:"
            " it0 server test {server}",
            server=server.name,
            fingerprint=fingerprint_of(present),
        )

    def _public_only(self, server: Server, through: asyncssh.SSHClientConnection | None) -> bool:
        return through is None and not self._is_operators(server)

    def _is_operators(self, server: Server) -> bool:
        return bool(self.operator_tenant) and server.tenant_id == self.operator_tenant

    @asynccontextmanager
    async def _identities(self, server: Server) -> AsyncIterator[Keys]:
        """The keys that we may show to this server, usable inside. Raises HostUnreachable."""
        if server.identity is Identity.STORED:
            data = await self.keys.private_key(server)
            if data is None:
                raise HostUnreachable(
                    sentence("There is no private key for {server}.", server=server.name)
                )
            yield [_key(server, data)]
            return
        if not self._is_operators(server):
            raise HostUnreachable(
                sentence(
                    "{server} is to be reached with a key of the machine that IT0 runs on; only"
                    " the operator's own team may do that. Give it a key of its own.",
                    server=server.name,
                )
            )
        if server.identity is Identity.FILE:
            yield [await asyncio.to_thread(_key_file, server)]
            return
        if not self.agent_path:
            raise HostUnreachable(
                sentence(
                    "{server} is to be reached with the SSH agent, but IT0 was started without"
                    " one (SSH_AUTH_SOCK).",
                    server=server.name,
                )
            )
        async with asyncssh.connect_agent(self.agent_path) as agent:
            yield await _agent_keys(server, agent)


async def _connected(
    server: Server,
    address: str,
    through: asyncssh.SSHClientConnection | None,
    client: _Client,
    pinned: asyncssh.SSHKey,
    identities: Keys,
) -> asyncssh.SSHClientConnection:
    """Connect with our keys and nothing else; raises what asyncssh raises."""
    return await asyncssh.connect(
        address,
        server.port,
        username=server.user,
        tunnel=through,
        client_factory=lambda: client,
        known_hosts=([pinned], [], []),
        server_host_key_algs=_algorithms(pinned),
        client_keys=identities,
        agent_path=None,
        agent_forwarding=False,
        preferred_auth="publickey",
        disable_trivial_auth=True,
        gss_host=None,
        x509_trusted_certs=None,
        client_version=_CLIENT,
        connect_timeout=CONNECT_S,
        login_timeout=CONNECT_S,
        keepalive_interval=_KEEPALIVE_S,
        keepalive_count_max=_KEEPALIVES,
        config=[],
    )


async def _agent_keys(server: Server, agent: asyncssh.SSHAgentClient) -> Keys:
    keys = await agent.get_keys()
    if not keys:
        raise HostUnreachable(
            sentence("The SSH agent has no key for {server}.", server=server.name)
        )
    return list(keys)


def _algorithms(pinned: asyncssh.SSHKey) -> list[str]:
    """What a server may sign with: as its pinned key does, or, to be told apart, another one."""
    own = [name for name in _HOST_KEYS if name.encode() in pinned.sig_algorithms]
    own = own or [pinned.algorithm.decode()]
    return [*own, *(name for name in _HOST_KEYS if name not in own)]


def fingerprint_of(key: asyncssh.SSHKey | str) -> str:
    """``SHA256:...``, as ssh-keygen shows it, of a key or of its ``type base64`` line."""
    if isinstance(key, str):
        key = asyncssh.import_public_key(key)
    return key.get_fingerprint("sha256")


def _line(key: asyncssh.SSHKey) -> str:
    return " ".join(key.export_public_key("openssh").decode("ascii").split()[:2])


def _pinned(server: Server) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_public_key(server.host_key)
    except (asyncssh.KeyImportError, ValueError) as error:
        raise HostUnreachable(
            sentence(
                "The host key that was noted for {server} cannot be read. Confirm it anew: it0"
                " server trust {server} --replace",
                server=server.name,
            )
        ) from error


def _key(server: Server, data: bytes) -> asyncssh.SSHKey:
    try:
        return asyncssh.import_private_key(data)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise HostUnreachable(
            sentence(
                "The private key of {server} cannot be read; it must have no passphrase.",
                server=server.name,
            )
        ) from error


def _key_file(server: Server) -> asyncssh.SSHKey:
    try:
        with open(server.identity_file, "rb") as file:  # noqa: PTH123  # text of the inventory
            return _key(server, file.read(100_000))
    except OSError as error:
        raise HostUnreachable(
            sentence(
                "The key file of {server} cannot be read: {detail}.",
                server=server.name,
                detail=error.strerror or "",
            )
        ) from error


async def _allowed_address(server: Server) -> str:
    """An address that the server's name means now, and where it may be reached.

    The connection goes to this very address: asked again, the name could mean another one.
    """
    async with asyncio.timeout(CONNECT_S):
        found = await asyncio.get_running_loop().getaddrinfo(
            server.address, server.port, type=socket.SOCK_STREAM
        )
    addresses = [str(address[0]) for *_, address in found]
    for address in addresses:
        if forbidden_address(address):
            raise HostUnreachable(_own_address(server, address))
    return addresses[0]


def _own_address(server: Server, address: str) -> Sentence:
    return sentence(
        "{server} is at {address}, an address of the machine that IT0 runs on; only the"
        " operator's own team may use that.",
        server=server.name,
        address=address,
    )


def _changed(server: Server, pinned: asyncssh.SSHKey, present: asyncssh.SSHKey) -> Sentence:
    return sentence(
        "THE HOST KEY OF {server} HAS CHANGED. Confirmed was {pinned}, now it shows {present}."
        " Somebody may be in between, or the server was installed anew; I did not log in. If"
        " you know why it changed, run: it0 server trust {server} --replace",
        server=server.name,
        pinned=fingerprint_of(pinned),
        present=fingerprint_of(present),
    )


def _why(server: Server, error: Exception, *, through: bool) -> Sentence:
    """The sentence for a failed connection."""
    where = f"{server.address}:{server.port}"
    match error:
        case asyncssh.PermissionDenied():
            return sentence(
                "{server} refused the login as {user}: our key is not among its authorized keys.",
                server=server.name,
                user=server.user,
            )
        case TimeoutError():
            return sentence(
                "{server} ({where}) did not answer within {seconds} seconds.",
                server=server.name,
                where=where,
                seconds=round(CONNECT_S),
            )
        case ConnectionRefusedError():
            return sentence(
                "{server} refused the connection: nothing listens at {where}.",
                server=server.name,
                where=where,
            )
        case socket.gaierror():
            return sentence(
                "{server} cannot be found: the name {address} does not resolve.",
                server=server.name,
                address=server.address,
            )
        case asyncssh.ChannelOpenError() if through:
            return sentence(
                "{server} ({where}) cannot be reached from its jump host.",
                server=server.name,
                where=where,
            )
    return sentence(
        "{server} ({where}) cannot be reached: {detail}.",
        server=server.name,
        where=where,
        detail=_detail(error),
    )


def _detail(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number in errno.errorcode:
        return f"{errno.errorcode[number]}, {getattr(error, 'strerror', '')}"
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
