"""One command on one channel of an SSH connection: begun, followed, ended.

Whoever waits may go (a timeout, a cancellation); the command is then killed on the server over a
second channel, because OpenSSH passes no signals to processes of root.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import time
from collections.abc import Sequence
from enum import Enum, auto

import asyncssh

from core.fleet.host import CommandResult, ConnectionLost, HostUnreachable
from core.fleet.output import Output
from core.fleet.wrapping import (
    Begun,
    Unmarked,
    ending_text,
    is_posix,
    lean,
    sudo_refused,
    wrapped,
    wrapped_as_root,
)
from core.words import sentence

START_S = 8.0
"""How long a server may take to open a channel and begin a command."""
END_S = 5.0
"""How long it may take to end one."""
_QUIET_S = 2.0
"""A command that has ended gets so long without output before its background children, which
hold its streams, are ended too."""
_TRY_AGAIN_S = 0.1
_WINDOW = 2 * 1024 * 1024


class NotBegun(Exception):
    """The connection is broken and the server never saw the command: it may be sent again."""


class _Over(Enum):
    CLOSED = auto()
    LINGERS = auto()
    TIMEOUT = auto()
    STOPPED = auto()


class _Session(asyncssh.SSHClientSession[bytes]):
    """Takes what the server sends; asyncssh calls it, all in one thread."""

    def __init__(self, output: Output, marks: Sequence[Sequence[Unmarked]]) -> None:
        self._output = output
        self._marks = marks
        self._loop = asyncio.get_running_loop()
        self.sent = False
        """Whether the server may have been told to begin."""
        self.status: int | None = None
        self.over: asyncio.Future[_Over] = self._loop.create_future()
        self.said_marks = asyncio.Event()
        self.exited = asyncio.Event()
        """The command has ended, or nobody will ever tell."""
        self.closed = asyncio.Event()

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """The channel is open; what asyncssh sends next is the command."""
        del chan
        self.sent = True

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Take output, without the mark and the noise before it."""
        error = datatype == asyncssh.EXTENDED_DATA_STDERR
        for mark in self._marks[error]:
            data = mark.feed(data)
        if error and not self.said_marks.is_set() and self._marks[1][-1].line is not None:
            self.said_marks.set()
        if data:
            self._output.add(data, error=error)

    def eof_received(self) -> bool:
        """Keep our side open: the command may still read its input."""
        return True

    def exit_status_received(self, status: int) -> None:
        """Note how the command ended; its output may still be under way."""
        self.status = status
        self.exited.set()
        self._loop.call_later(_QUIET_S, self._quiet, self._output.came)

    def exit_signal_received(
        self,
        signal: str,
        core_dumped: bool,  # noqa: FBT001  # asyncssh's signature
        msg: str,
        lang: str,
    ) -> None:
        """Note which signal ended it."""
        del core_dumped, msg, lang
        self.exit_status_received(-_number_of(signal))

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is closed, in peace or with the connection."""
        del exc
        self.closed.set()
        self.exited.set()
        self.said_marks.set()
        self.end(_Over.CLOSED)

    def end(self, why: _Over) -> None:
        """Wake up whoever waits; the first reason counts."""
        if not self.over.done():
            self.over.set_result(why)

    def _quiet(self, came: int) -> None:
        if self._output.came == came:
            self.end(_Over.LINGERS)
        elif not self.over.done():
            self._loop.call_later(_QUIET_S, self._quiet, self._output.came)


class Call:
    """One command. ``run`` it once; ``stop`` makes ``run`` end it and return soon."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        output: Output,
        timeout_s: float,
        sudo: bool = False,
        stdin: bytes = b"",
        looks: bool = False,
    ) -> None:
        """``output`` gets what the command says; ``looks``: it changes nothing, make it quick."""
        token = secrets.token_hex(8)
        outer, mark = f"{token}-", f"{token}+"
        self._output, self._timeout_s, self._sudo = output, timeout_s, sudo
        self._stdin = stdin
        self._out, self._before, self._behind = (
            Unmarked(name.encode()) for name in (mark, outer, mark)
        )
        self._text = (
            wrapped_as_root(argv, mark=mark, outer=outer, timeout_s=timeout_s)
            if sudo
            else wrapped(argv, mark=mark, timeout_s=timeout_s)
        )
        quick = looks and not sudo and not argv[0].startswith("-")
        self._lean = lean(argv, mark=mark, timeout_s=timeout_s) if quick else self._text
        self._session: _Session | None = None
        self._stopped = False

    @property
    def begun(self) -> bool:
        """Whether a channel was asked for: from then on ``stop``, do not cancel."""
        return self._session is not None

    @property
    def posix(self) -> bool:
        """Whether the account's login shell turned out to be a POSIX shell."""
        return is_posix(self._behind.line or b"")

    def stop(self) -> None:
        """End the command; whoever wanted its result is gone."""
        self._stopped = True
        if self._session is not None:
            self._session.end(_Over.STOPPED)

    async def run(
        self, connection: asyncssh.SSHClientConnection, server: str, *, posix: bool
    ) -> CommandResult:
        """Run it on a server of this name, with a login shell of which we know whether it is one.

        Raises NotBegun, HostUnreachable, ConnectionLost.
        """
        if posix:
            self._text = self._lean
        began = time.monotonic()
        errors = (self._before, self._behind) if self._sudo else (self._behind,)
        session = self._session = _Session(self._output, ((self._out,), errors))
        channel = await self._start(connection, session, server)
        timer = asyncio.get_running_loop().call_later(self._timeout_s, session.end, _Over.TIMEOUT)
        if self._stopped:
            session.end(_Over.STOPPED)
        try:
            over = await session.over
            ended = over is _Over.CLOSED or await self._end(connection, session)
        finally:
            timer.cancel()
            channel.close()
        if session.status is None and (over is _Over.CLOSED or not ended):
            raise ConnectionLost(
                sentence(
                    "The connection to {server} broke while a command ran; whether it"
                    " ended, and how, is not known.",
                    server=server,
                )
            )
        return self._result(session, server, over, time.monotonic() - began)

    def _result(self, session: _Session, server: str, over: _Over, seconds: float) -> CommandResult:
        status = -signal.SIGKILL if session.status is None else session.status
        timed_out = over is _Over.TIMEOUT
        result = self._output.result(status, timed_out=timed_out, seconds=seconds)
        if self._behind.line is not None or timed_out:
            return result
        if self._sudo and self._before.line is not None:
            return sudo_refused(result, self._behind, server)
        noise = bytes(self._out.noise or self._behind.noise or self._before.noise)
        said = " ".join(noise.decode("utf-8", "replace").split())[:200]
        raise HostUnreachable(
            sentence(
                "{server} lets us log in but runs no commands for this account ({said}).",
                server=server,
                said=said or f"exit status {status}",
            )
        )

    async def _start(
        self, connection: asyncssh.SSHClientConnection, session: _Session, server: str
    ) -> asyncssh.SSHClientChannel[bytes]:
        """Open a channel and send the command and its input."""
        give_up = time.monotonic() + START_S
        while True:
            try:
                async with asyncio.timeout(START_S):
                    channel, _ = await connection.create_session(
                        lambda: session, self._text, encoding=None, window=_WINDOW
                    )
            except (asyncssh.Error, OSError, TimeoutError) as error:
                if session.sent:
                    raise _refused_or_lost(connection, error, server) from error
                if connection.is_closed() or isinstance(error, TimeoutError):
                    raise NotBegun from error
                if time.monotonic() > give_up:
                    raise HostUnreachable(_no_channel(server)) from error
                await asyncio.sleep(_TRY_AGAIN_S)
            else:
                with contextlib.suppress(OSError):
                    if self._stdin:
                        channel.write(self._stdin)
                    channel.write_eof()
                return channel

    async def _end(self, connection: asyncssh.SSHClientConnection, session: _Session) -> bool:
        """Kill the command with all that belongs to it; return whether that was done."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await session.said_marks.wait()
                marks = (self._before.line, self._behind.line)
                text = ending_text(*(Begun.of(line or b"") for line in marks), sudo=self._sudo)
                if text is None or session.closed.is_set():
                    return session.status is not None
                if not await _ran(connection, text):
                    return False
                await session.exited.wait()
                return not session.closed.is_set() or session.status is not None
        return False


async def _ran(connection: asyncssh.SSHClientConnection, text: str) -> bool:
    """Run a command of our own whose output does not matter; the caller bounds it.

    The server may have no channel left while many commands end at once: it is asked again.
    """
    session = _Session(Output(max_bytes=0), ((), (Unmarked(b"-"),)))
    while True:
        try:
            channel, _ = await connection.create_session(lambda: session, text, encoding=None)
            break
        except asyncssh.ChannelOpenError:
            if connection.is_closed():
                return False
            await asyncio.sleep(_TRY_AGAIN_S)
        except (asyncssh.Error, OSError):
            return False
    try:
        await session.exited.wait()
    finally:
        channel.close()
    return session.status is not None


def _refused_or_lost(
    connection: asyncssh.SSHClientConnection, error: Exception, server: str
) -> HostUnreachable:
    """What it means that the command was sent and then the channel failed."""
    if isinstance(error, asyncssh.ChannelOpenError) and not connection.is_closed():
        return HostUnreachable(
            sentence("{server} lets us log in but refuses to run commands.", server=server)
        )
    return ConnectionLost(
        sentence(
            "The connection to {server} broke as a command was sent; whether it was begun"
            " is not known.",
            server=server,
        )
    )


def _no_channel(server: str) -> str:
    return sentence(
        "{server} opens no more sessions on our connection (MaxSessions in its sshd_config).",
        server=server,
    )


def _number_of(name: str) -> int:
    """The number of a signal by its SSH name; an unknown one counts as SIGKILL."""
    return signal.Signals.__members__.get(f"SIG{name}", signal.SIGKILL).value
