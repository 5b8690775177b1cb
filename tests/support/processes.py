"""Start, wait for, freeze and kill real processes.

Used by tests, chaos runs and benchmarks. Every wait has a deadline; a process that dies or
stays silent raises ``ProcessFailure`` with the last lines it printed.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_POLL_S = 0.02
_TAIL_LINES = 30


class ProcessFailure(Exception):
    """A process did not do what the test needs; the message ends with its last output."""


def free_port() -> int:
    """Return a TCP port that was free on 127.0.0.1 a moment ago; starting may still race."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Process:
    """A child in its own session, its output (both streams) in a file.

    As a context manager it is stopped at the end: SIGTERM, then SIGKILL for the whole group.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Start it. ``env`` is added to this process's environment."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed in stop()
        self._final_output: str | None = None
        self.command = tuple(command)
        self._popen = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
        self.pid = self._popen.pid

    def __enter__(self) -> Self:
        """Return the running process."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it, whatever its state."""
        self.stop()

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal, or None while it runs."""
        return self._popen.poll()

    def output(self) -> str:
        """Everything it has printed so far."""
        if self._final_output is not None:
            return self._final_output
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode("utf-8", "replace")

    def wait_for(self, pattern: str, *, timeout_s: float = 30.0) -> re.Match[str]:
        """Wait until the output matches the regular expression, and return the match."""
        deadline = time.monotonic() + timeout_s
        while True:
            ended = self.returncode
            match = re.search(pattern, self.output(), re.MULTILINE)
            if match:
                return match
            if ended is not None:
                raise self._failure(f"ended with {ended} before printing {pattern!r}")
            if time.monotonic() > deadline:
                raise self._failure(f"did not print {pattern!r} within {timeout_s:g} s")
            time.sleep(_POLL_S)

    def wait_for_port(self, port: int, *, timeout_s: float = 30.0) -> None:
        """Wait until something accepts connections on 127.0.0.1:port."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            except OSError:
                if self.returncode is not None:
                    raise self._failure(f"ended with {self.returncode}") from None
                if time.monotonic() > deadline:
                    raise self._failure(f"did not listen on {port} in {timeout_s:g} s") from None
                time.sleep(_POLL_S)
            else:
                return

    def wait(self, *, timeout_s: float = 30.0) -> int:
        """Wait until it ends and return its exit status."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise self._failure(f"did not end within {timeout_s:g} s") from None

    def terminate(self) -> None:
        """Send SIGTERM: a polite request to end."""
        self._popen.terminate()

    def kill(self) -> None:
        """Send SIGKILL to the process and all its children, and reap it."""
        self._signal_group(signal.SIGKILL)
        self._popen.wait()

    def freeze(self) -> None:
        """Send SIGSTOP to the group: it is alive, holds its sockets, and does nothing."""
        self._signal_group(signal.SIGSTOP)

    def thaw(self) -> None:
        """Send SIGCONT to the group."""
        self._signal_group(signal.SIGCONT)

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """End it politely, then by force; safe to call again."""
        if self.returncode is None:
            self.thaw()
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout_s)
        self.kill()
        self._final_output = self.output()
        self._log.close()

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    def _failure(self, what: str) -> ProcessFailure:
        tail = "\n".join(self.output().splitlines()[-_TAIL_LINES:])
        return ProcessFailure(f"{' '.join(self.command)} {what}. Its last output:\n{tail}")
