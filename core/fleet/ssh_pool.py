"""Connections that stay open for a while and are shared by all who need them.

One per server and revision of its entry. Whoever comes while it is being made waits for the same
attempt. A jump host's connection is held for as long as one goes through it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

import asyncssh

from core.errors import It0Error
from core.fleet.host import CommandResult, HostUnreachable
from core.fleet.inventory import Server, ServerKind
from core.fleet.ssh_dial import CONNECT_S, Dialer
from core.words import sentence

MOST_HOPS = 3
"""Jump hosts on the way to a server."""
MOST_CHANNELS = 8
"""Commands at once on a connection; sshd's default MaxSessions is 10, two are for ending them."""

_TRIES = 3
"""A connection may be closed to make room before whoever waited for it gets hold of it."""

Key = tuple[str, str, int, tuple[str | int, ...]]
"""Tenant, id and revision, and what a login depends on, should an entry lack a new revision."""


class ServerLookup(Protocol):
    """Finds a server of the same tenant by its id."""

    async def server(self, tenant_id: str, server_id: str) -> Server | None:
        """None if the tenant has no such server."""


@dataclass(slots=True, eq=False)
class Link:
    """One open connection and who uses it."""

    key: Key
    connection: asyncssh.SSHClientConnection
    below: Link | None
    """The jump host's link that this one goes through."""
    users: int = 0
    broken: bool = False
    """Nothing more is begun on it."""
    dropped: bool = False
    posix: bool = False
    """Whether the account's login shell is known to be a POSIX shell."""
    channels: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_CHANNELS))
    timer: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """Whether commands can still be begun on it."""
        below = self.below is None or self.below.usable
        return below and not self.broken and not self.connection.is_closed()


class SshPool:
    """All connections of this process."""

    def __init__(self, dialer: Dialer, servers: ServerLookup, *, idle_s: float, most: int) -> None:
        """Close a connection that nobody used for ``idle_s``; never have more than ``most``."""
        self._dialer, self._servers = dialer, servers
        self._idle_s, self._most = idle_s, most
        self._links: dict[Key, Link] = {}
        """In the order in which they were last used."""
        self._attempts: dict[Key, asyncio.Task[Link]] = {}
        self._tasks: set[asyncio.Task[None] | asyncio.Task[CommandResult]] = set()
        self._released = asyncio.Event()
        self._dialing = 0
        """Attempts that have their place among the connections."""

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self._links)

    @asynccontextmanager
    async def lease(self, server: Server) -> AsyncIterator[Link]:
        """Hold the connection to a server, with room for one command. Raises HostUnreachable."""
        with _nothing_begun(server):
            link = await self._held(server)
        try:
            async with link.channels:
                yield link
        finally:
            self._release(link)

    @asynccontextmanager
    async def way_to(self, server: Server) -> AsyncIterator[asyncssh.SSHClientConnection | None]:
        """Hold the connection to a server's jump host; None if it is reached directly."""
        with _nothing_begun(server):
            route = await self._route(server)
            link = await self._open(route[:-1]) if len(route) > 1 else None
        if link is None:
            yield None
            return
        try:
            yield link.connection
        finally:
            self._release(link)

    def discard(self, link: Link) -> None:
        """Begin nothing more on a connection; it is closed when its last user is done."""
        link.broken = True
        if self._links.get(link.key) is link:
            del self._links[link.key]
            self._released.set()

    def adopt(self, task: asyncio.Task[CommandResult]) -> None:
        """Let a command that nobody waits for come to its end; ``aclose`` waits for it."""
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def aclose(self) -> None:
        """Close all connections and wait until they are closed."""
        for attempt in list(self._attempts.values()):
            attempt.cancel()
        await asyncio.gather(*self._attempts.values(), return_exceptions=True)
        for link in reversed(list(self._links.values())):
            self._drop(link)
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _held(self, server: Server) -> Link:
        """Return the connection to a server, held."""
        link = self._links.get(_key(server))
        if link is not None and link.usable:
            return self._hold(link)
        return await self._open(await self._route(server))

    async def _route(self, server: Server) -> tuple[Server, ...]:
        """Return all servers on the way, the first one to connect to first."""
        route = [server]
        while route[0].jump:
            found = await self._servers.server(server.tenant_id, route[0].jump)
            if found is None or found.kind is not ServerKind.SSH:
                raise HostUnreachable(
                    sentence(
                        "{server} is reached through a jump host that does not exist any more.",
                        server=route[0].name,
                    )
                )
            if any(found.id == one.id for one in route):
                raise HostUnreachable(
                    sentence("The jump hosts of {server} form a loop.", server=server.name)
                )
            route.insert(0, found)
            if len(route) > MOST_HOPS + 1:
                raise HostUnreachable(
                    sentence(
                        "{server} is behind more than {most} jump hosts.",
                        server=server.name,
                        most=MOST_HOPS,
                    )
                )
        return tuple(route)

    async def _open(self, route: tuple[Server, ...]) -> Link:
        """Return the connection at a route's end, held; make what is missing of it."""
        key = _key(route[-1])
        for _ in range(_TRIES):
            link = self._links.get(key)
            if link is None or not link.usable:
                attempt = self._attempts.get(key)
                if attempt is None:
                    attempt = asyncio.create_task(self._make(route), name="ssh-connect")
                    self._attempts[key] = attempt
                    attempt.add_done_callback(lambda done: self._attempted(key, done))
                link = await asyncio.shield(attempt)
            if link.usable:
                return self._hold(link)
        raise HostUnreachable(closed_at_once(route[-1].name))

    def _attempted(self, key: Key, attempt: asyncio.Task[Link]) -> None:
        """Forget an attempt, also one whose waiters have all gone.

        Its connection was held, so that nobody who looks for room closes it before its waiters
        wake up: they are next, and this is the last moment to let go of it.
        """
        self._attempts.pop(key, None)
        if attempt.cancelled() or attempt.exception():
            self._released.set()
        else:
            asyncio.get_running_loop().call_soon(self._release, attempt.result())

    async def _make(self, route: tuple[Server, ...]) -> Link:
        server = route[-1]
        below = await self._open(route[:-1]) if len(route) > 1 else None
        try:
            await self._room(server)
            try:
                through = below.connection if below else None
                connection = await self._dialer.connect(server, through)
            finally:
                self._dialing -= 1
        except BaseException:
            if below:
                self._release(below)
            raise
        link = Link(key=_key(server), connection=connection, below=below, users=1)
        for old in [one for one in self._links.values() if one.key[:2] == link.key[:2]]:
            self.discard(old)
            self._settle(old)
        self._links[link.key] = link
        return link

    async def _room(self, server: Server) -> None:
        """Take a place among the connections, which whoever dials gives back.

        Wait until there is one; close the longest idle connection for it. Who still waits counts
        for nothing, else those who wait together would wait for each other.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(CONNECT_S):
                while len(self._links) + self._dialing >= self._most:
                    idle = next((link for link in self._links.values() if not link.users), None)
                    if idle is not None:
                        self._drop(idle)
                        continue
                    self._released.clear()
                    await self._released.wait()
                self._dialing += 1
                return
        raise HostUnreachable(
            sentence(
                "{server} must wait: {most} connections are open and all are in use.",
                server=server.name,
                most=self._most,
            )
        )

    def _hold(self, link: Link) -> Link:
        link.users += 1
        if link.timer:
            link.timer.cancel()
            link.timer = None
        if self._links.get(link.key) is link:
            self._links[link.key] = self._links.pop(link.key)
        return link

    def _release(self, link: Link) -> None:
        link.users -= 1
        self._settle(link)
        self._released.set()

    def _settle(self, link: Link) -> None:
        """Close what nobody uses: at once if it is broken or old, else after a while."""
        if link.users:
            return
        if not link.usable:
            self._drop(link)
        elif link.timer is None:
            link.timer = asyncio.get_running_loop().call_later(self._idle_s, self._drop, link)

    def _drop(self, link: Link) -> None:
        """Close a connection; whoever still uses it sees it break."""
        if link.dropped:
            return
        link.dropped = True
        self.discard(link)
        if link.timer:
            link.timer.cancel()
            link.timer = None
        link.connection.close()
        task = asyncio.create_task(self._close(link), name="ssh-close")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def _close(self, link: Link) -> None:
        """Wait until a connection is closed; hang up on a server that does not say goodbye."""
        try:
            with suppress(TimeoutError, asyncssh.Error, OSError):
                async with asyncio.timeout(CONNECT_S):
                    await link.connection.wait_closed()
        finally:
            link.connection.abort()
            if link.below:
                self._release(link.below)

    def _ended(self, task: asyncio.Task[None] | asyncio.Task[CommandResult]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()


@contextmanager
def _nothing_begun(server: Server) -> Iterator[None]:
    """Make what fails before a command is begun (the key's storage, say) tell just that."""
    try:
        yield
    except HostUnreachable:
        raise
    except It0Error as error:
        raise HostUnreachable(
            sentence(
                "{server} was not contacted: {reason}", server=server.name, reason=error.sentence
            )
        ) from error


def closed_at_once(server: str) -> str:
    """The sentence about a server that lets us in and hangs up."""
    return sentence("{server} closes every connection at once.", server=server)


def _key(server: Server) -> Key:
    login = (
        *(server.address, server.port, server.user, server.jump, server.host_key),
        *(server.identity, server.identity_file),
    )
    return server.tenant_id, server.id, server.revision, login
