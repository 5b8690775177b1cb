"""A write that was ended in the middle: its outcome is read from the file, nothing is left."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from core.fleet.host import CommandResult, FileProblem, FileWritten, HostUnreachable
from core.fleet.local import LocalHost
from core.fleet.writing import Writing
from core.protected import ProtectedPaths

OLD, NEW = b"old\n", b"new\n"
BEFORE, AFTER = 'sync -- "$t"', "sync -- ."
"""The commands right before the new content takes the file's name, and right after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """The local machine, but a write is killed instead of running ``at``, as a timeout does."""

    at: str
    timed_out: bool = True
    then: Callable[[], None] = lambda: None

    async def shell(
        self, command: str, *, timeout_s: float, max_bytes: int, sudo: bool, stdin: bytes
    ) -> CommandResult:
        """Run it."""
        cut = command.replace(self.at, f"kill -KILL $$; {self.at}")
        ran = await LocalHost(ProtectedPaths()).shell(
            cut, timeout_s=timeout_s, max_bytes=max_bytes, sudo=sudo, stdin=stdin
        )
        if cut == command:
            return ran
        assert ran.exit_status < 0
        self.then()
        return replace(ran, timed_out=self.timed_out)


async def _write(host: _Ended, path: Path, was: bytes | None = OLD) -> FileProblem | FileWritten:
    writing = Writing(host=host, protected=ProtectedPaths(), path=str(path), sudo=False)
    expected = None if was is None else hashlib.sha256(was).hexdigest()
    return await writing.write(NEW, expected_sha256=expected)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with the old content."""
    file = tmp_path.resolve() / "conf"
    file.write_bytes(OLD)
    return file


def _no_new_file_beside(path: Path) -> bool:
    return not list(path.parent.glob(".it0-*"))


def _held(path: Path) -> bytes:
    return path.read_bytes()


def _remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("timed_out", [True, False])
async def test_what_was_replaced_is_written_though_it_took_too_long(
    path: Path, *, timed_out: bool
) -> None:
    """The file holds the new content, so that is the answer; the backup is named."""
    written = await _write(_Ended(at=AFTER, timed_out=timed_out), path)
    assert isinstance(written, FileWritten)
    assert _held(path) == NEW
    assert written.sha256 == hashlib.sha256(NEW).hexdigest()
    backup = Path(written.backup)
    assert _held(backup) == OLD
    _remove(backup)
    assert _no_new_file_beside(path)


async def test_what_was_not_replaced_failed_and_leaves_nothing_behind(path: Path) -> None:
    """The old content is there still; the new one, which may be secret, is not left about."""
    problem = await _write(_Ended(at=BEFORE), path)
    assert isinstance(problem, FileProblem)
    assert "did not answer in time" in problem.sentence
    assert _held(path) == OLD
    assert list(path.parent.iterdir()) == [path]


async def test_a_new_file_that_took_too_long(path: Path) -> None:
    """It is there or it is not, and that is said."""
    _remove(path)
    problem = await _write(_Ended(at=BEFORE), path, None)
    assert isinstance(problem, FileProblem)
    assert list(path.parent.iterdir()) == []
    written = await _write(_Ended(at=AFTER), path, None)
    assert isinstance(written, FileWritten)
    assert (written.backup, _held(path)) == ("", NEW)
    assert list(path.parent.iterdir()) == [path]


async def test_what_holds_neither_is_not_known(path: Path) -> None:
    """Somebody else wrote it meanwhile: neither success nor failure is claimed."""
    problem = await _write(_Ended(at=BEFORE, then=lambda: _put(path, b"other\n")), path)
    assert isinstance(problem, FileProblem)
    assert "is not known" in problem.sentence
    assert _held(path) == b"other\n"
    assert _no_new_file_beside(path)


@dataclass(frozen=True, slots=True)
class _Gone:
    """A server that answers nothing after a write was ended."""

    host: _Ended

    async def shell(
        self, command: str, *, timeout_s: float, max_bytes: int, sudo: bool, stdin: bytes
    ) -> CommandResult:
        """Run all but the look at what became of it."""
        if "echo new" in command:
            raise HostUnreachable("It does not answer.")
        return await self.host.shell(
            command, timeout_s=timeout_s, max_bytes=max_bytes, sudo=sudo, stdin=stdin
        )


async def test_what_nobody_can_look_at_is_not_known(path: Path) -> None:
    """A server that went away after the timeout is no failed write."""
    gone = _Gone(_Ended(at=BEFORE))
    writing = Writing(host=gone, protected=ProtectedPaths(), path=str(path), sudo=False)
    problem = await writing.write(NEW, expected_sha256=hashlib.sha256(OLD).hexdigest())
    assert isinstance(problem, FileProblem)
    assert "is not known" in problem.sentence


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)
