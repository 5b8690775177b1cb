"""A command on the machine on which IT0 runs, in a session of its own that dies with the call."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.fleet.host import NOT_INSTALLED, CommandResult
from core.fleet.output import Output
from core.fleet.wrapping import Begun, Unmarked, ending, sudo_refused, wrapped_as_root

_CHUNK = 65_536
_DRAIN_S = 2.0
"""How long a killed command's pipes may take to close before they are abandoned."""
_SUDO_S = 8.0
"""How long sudo may take to end a command of root."""


@dataclass(slots=True)
class LocalCommand:
    """One command with its output."""

    argv: Sequence[str]
    output: Output
    environment: Mapping[str, str]
    stdin: bytes = b""
    out_mark: Unmarked | None = None
    err_marks: tuple[Unmarked, ...] = ()
    """Taken away from the beginning of the streams, in this order."""
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)

    async def run(self, *, timeout_s: float) -> CommandResult:
        """Run it; what cannot be started is a result too, as a shell would say it."""
        began = time.monotonic()
        try:
            process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=asyncio.subprocess.PIPE if self.stdin else asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self.environment,
                cwd="/",
                start_new_session=True,
            )
        except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
            return CommandResult(exit_status=NOT_INSTALLED, stdout="", stderr=f"{error.strerror}")
        except (OSError, ValueError) as error:
            return CommandResult(exit_status=NOT_INSTALLED - 1, stdout="", stderr=str(error))
        timed_out = await self._collect(process, timeout_s)
        status = process.returncode
        return self.output.result(
            -signal.SIGKILL if status is None else status,
            timed_out=timed_out,
            seconds=time.monotonic() - began,
        )

    async def _collect(self, process: asyncio.subprocess.Process, timeout_s: float) -> bool:
        """Read both streams to their ends; return whether that took too long."""
        assert process.stdout is not None  # noqa: S101  # both are pipes
        assert process.stderr is not None  # noqa: S101
        streams = asyncio.gather(
            self._drain(process.stdout, error=False),
            self._drain(process.stderr, error=True),
            _give(process, self.stdin),
        )
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(streams)
                await process.wait()
        except TimeoutError:
            return True
        finally:
            await self._end(process, streams)
        return False

    async def _drain(self, stream: asyncio.StreamReader, *, error: bool) -> None:
        marks = self.err_marks if error else (self.out_mark,) if self.out_mark else ()
        while data := await stream.read(_CHUNK):
            for mark in marks:
                data = mark.feed(data)  # each takes its share away
            if data:
                self.output.add(data, error=error)

    async def _end(
        self, process: asyncio.subprocess.Process, streams: asyncio.Future[tuple[None, None, None]]
    ) -> None:
        """Kill what is left of the group (a finished command's background children too)."""
        if self.err_marks and process.returncode is None:
            await self._end_as_root()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await process.wait()
                await asyncio.shield(streams)
        if not streams.done():
            streams.cancel()
            await asyncio.gather(streams, return_exceptions=True)

    async def _end_as_root(self) -> None:
        command = ending(*(Begun.of(mark.line or b"") for mark in self.err_marks))
        if command is None:
            return
        killer = await asyncio.create_subprocess_exec(
            *("sudo", "-n", "--", *command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=self.environment,
        )
        try:
            async with asyncio.timeout(_SUDO_S):
                await killer.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                killer.kill()


async def run_as_root(
    argv: Sequence[str],
    output: Output,
    environment: Mapping[str, str],
    stdin: bytes,
    timeout_s: float,
) -> CommandResult:
    """Run a command through ``sudo -n``, in such a way that its processes can be ended."""
    token = secrets.token_hex(8)
    outer, mark = f"{token}-", f"{token}+"
    text = wrapped_as_root(argv, mark=mark, outer=outer, timeout_s=timeout_s)
    out, before, behind = (Unmarked(name.encode()) for name in (mark, outer, mark))
    command = LocalCommand(
        argv=("/bin/sh", "-c", text),
        output=output,
        environment=environment,
        stdin=stdin,
        out_mark=out,
        err_marks=(before, behind),
    )
    result = await command.run(timeout_s=timeout_s)
    if behind.line is None and not result.timed_out:
        return sudo_refused(result, behind, "this machine")
    return result


async def _give(process: asyncio.subprocess.Process, data: bytes) -> None:
    """Write the input; a command that does not read it has its reasons."""
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        await process.stdin.drain()
        process.stdin.close()
