"""What every Host promises, on the local machine and over SSH (a server inside this process)."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from core.fleet.host import FileProblem, FileProblemKind, FileRead, FileWritten, Host
from core.fleet.local import LocalHost
from core.protected import ProtectedPaths
from tests.support.sshd import connector, gone, in_process_server

KEY = asyncssh.generate_private_key("ssh-ed25519")


@pytest.fixture(params=["local", "ssh"])
async def host(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Host]:
    """One implementation of the port, with a protected folder."""
    protected = ProtectedPaths.of(tmp_path / "data")
    if request.param == "local":
        yield LocalHost(protected)
        return
    async with (
        in_process_server(KEY, "inside") as server,
        connector(KEY.export_private_key("openssh"), protected=protected) as connections,
    ):
        yield connections.connect(server)


async def test_text_input_output_and_status(host: Host) -> None:
    """Shell text is run with its input; both streams, the status and all bytes come back."""
    told: list[str] = []
    ran = await host.shell(
        r"cat; printf 'a\377\303'; echo oops >&2; exit 3",
        timeout_s=20,
        max_bytes=1000,
        stdin=b"in ",
        keep_bytes=1000,
        on_output=told.append,
    )
    assert (ran.stdout, ran.stderr, ran.exit_status) == ("in a\ufffd\ufffd", "oops\n", 3)
    assert sorted(ran.whole) == sorted(b"in a\377\303oops\n")
    assert ran.whole_bytes == 11
    assert sorted("".join(told)) == sorted("in a\ufffd\ufffdoops\n")
    assert ran.seconds > 0
    assert not ran.truncated
    assert not ran.timed_out


async def test_words_reach_a_command_as_they_are(host: Host) -> None:
    """No shell reads the words of ``run``, whatever is in them."""
    words = ["a b", "'", '"', "\\'\\\\", "$HOME", "`id`", "$(id)", "*", "", "-n", "\n", "ä;|&"]
    ran = await host.run(["printf", "<%s>", *words], timeout_s=20, max_bytes=1000)
    assert ran.stdout == "".join(f"<{word}>" for word in words)


async def test_a_missing_command_is_127(host: Host) -> None:
    """Tools can fall back to something else."""
    assert (await host.run(["no-such-command"], timeout_s=20, max_bytes=100)).missing
    assert (await host.shell("no-such-command", timeout_s=20, max_bytes=100)).missing


async def test_a_signal_is_a_negative_status(host: Host) -> None:
    """A command that was killed is told from one that failed."""
    ran = await host.shell("kill -TERM $$", timeout_s=20, max_bytes=100)
    assert ran.exit_status == -15


async def test_the_environment_is_clean(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the caller's environment reaches a command; it begins in the root folder."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-canary")
    ran = await host.shell("env; pwd", timeout_s=20, max_bytes=10_000)
    assert "canary" not in ran.stdout
    assert "LC_ALL=C.UTF-8\n" in ran.stdout
    assert ran.stdout.endswith("\n/\n")


async def test_output_is_bounded(host: Host) -> None:
    """Of much output the first bytes are kept, all of it is counted, and the command ends well."""
    ran = await host.shell(
        "head -c 3000000 /dev/zero | tr '\\0' x", timeout_s=60, max_bytes=1000, keep_bytes=2000
    )
    assert (ran.stdout, ran.truncated, ran.exit_status) == ("x" * 1000, True, 0)
    assert (len(ran.whole), ran.whole_bytes) == (2000, 3_000_000)


async def test_a_timeout_ends_all_children(host: Host) -> None:
    """What it said until then is kept; nothing of it runs on."""
    ran = await host.shell("sleep 300 & echo $!; sleep 300", timeout_s=1, max_bytes=100)
    assert ran.timed_out
    assert await gone(int(ran.stdout))


async def test_cancelling_ends_all_children(host: Host) -> None:
    """A stopped turn leaves no process behind."""
    said = asyncio.Event()
    told: list[str] = []

    def on_output(text: str) -> None:
        told.append(text)
        said.set()

    task = asyncio.create_task(
        host.shell(
            "sleep 300 & echo $!; sleep 300", timeout_s=60, max_bytes=100, on_output=on_output
        )
    )
    await said.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(int("".join(told)))


async def _kind(host: Host, path: object) -> FileProblemKind | None:
    read = await host.read_file(str(path), max_bytes=100)
    return read.kind if isinstance(read, FileProblem) else None


async def test_the_beginning_and_the_end_of_a_file(host: Host, tmp_path: Path) -> None:
    """A long file is cut on the side that was not asked for; its size and real path are told."""
    (tmp_path / "log").write_text("0123456789")
    (tmp_path / "link").symlink_to("log")
    head = await host.read_file(str(tmp_path / "link"), max_bytes=3)
    tail = await host.read_file(str(tmp_path / "log"), max_bytes=3, tail=True)
    whole = await host.read_file(str(tmp_path / "log"), max_bytes=10, tail=True)
    assert isinstance(head, FileRead)
    assert isinstance(tail, FileRead)
    assert isinstance(whole, FileRead)
    assert (head.text, head.truncated, head.size) == ("012", True, 10)
    assert head.path == str((tmp_path / "log").resolve())
    assert (tail.text, tail.truncated) == ("789", True)
    assert (whole.text, whole.truncated) == ("0123456789", False)


async def test_generated_files_have_an_end_too(host: Host) -> None:
    """A file of /proc tells no size; both its ends can be read all the same."""
    head = await host.read_file("/proc/meminfo", max_bytes=9)
    tail = await host.read_file("/proc/meminfo", max_bytes=20, tail=True)
    assert isinstance(head, FileRead)
    assert isinstance(tail, FileRead)
    assert head.text == "MemTotal:"
    assert tail.text.endswith("kB\n")
    assert tail.truncated


async def test_only_regular_files_that_are_not_protected(host: Host, tmp_path: Path) -> None:
    """FIFOs, folders and devices are not opened; no link leads to what is protected."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "it0.db").write_text("rows")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "own").symlink_to(tmp_path / "data" / "it0.db")
    (tmp_path / "shadow").symlink_to("/etc/shadow")
    kinds = FileProblemKind
    assert await _kind(host, tmp_path / "pipe") is kinds.NOT_A_FILE
    assert await _kind(host, tmp_path) is kinds.NOT_A_FILE
    assert await _kind(host, tmp_path / "none") is kinds.NOT_FOUND
    assert await _kind(host, tmp_path / "own") is kinds.PROTECTED
    assert await _kind(host, "/etc/shadow") is kinds.PROTECTED
    assert await _kind(host, "/proc/self/environ") is kinds.PROTECTED
    assert await _kind(host, tmp_path / "zero") is kinds.NOT_A_FILE
    assert await _kind(host, tmp_path / "shadow") is kinds.PROTECTED


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def _written(host: Host, path: Path, data: bytes, expected: str | None) -> FileWritten:
    done = await host.write_file(str(path), data, expected_sha256=expected)
    assert isinstance(done, FileWritten), done
    return done


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def _taken_away(path: str) -> tuple[bytes, int]:
    backup = Path(path)
    found = backup.read_bytes(), backup.stat().st_mode
    backup.unlink()
    return found


async def test_a_new_file(host: Host, tmp_path: Path) -> None:
    """It is made only where there is none, and nothing is left beside it."""
    path = tmp_path / "new one's.conf"
    done = await _written(host, path, b"a\0b\n", None)
    assert path.read_bytes() == b"a\0b\n"
    assert (done.sha256, done.backup) == (_digest(b"a\0b\n"), "")
    again = await host.write_file(str(path), b"x", expected_sha256=None)
    assert isinstance(again, FileProblem)
    assert again.kind is FileProblemKind.CHANGED
    assert _names(tmp_path) == [path.name]


async def test_a_file_is_replaced_as_a_whole(host: Host, tmp_path: Path) -> None:
    """Mode and owner stay, and the old content can be had again."""
    path = tmp_path / "app.conf"
    path.write_bytes(b"old")
    path.chmod(0o640)
    owner = 12 if os.geteuid() == 0 else os.geteuid()
    os.chown(path, owner, -1)
    before = path.stat()
    done = await _written(host, path, b"new", _digest(b"old"))
    after = path.stat()
    assert path.read_bytes() == b"new"
    assert (done.path, done.sha256) == (str(path), _digest(b"new"))
    assert (after.st_mode, after.st_uid) == (before.st_mode, owner)
    assert after.st_ino != before.st_ino
    assert _taken_away(done.backup) == (b"old", before.st_mode)


async def test_a_file_that_changed_stays_as_it_is(host: Host, tmp_path: Path) -> None:
    """Nobody's change is overwritten unseen."""
    path = tmp_path / "app.conf"
    path.write_bytes(b"theirs")
    done = await host.write_file(str(path), b"ours", expected_sha256=_digest(b"old"))
    assert isinstance(done, FileProblem)
    assert done.kind is FileProblemKind.CHANGED
    assert path.read_bytes() == b"theirs"
    assert _names(tmp_path) == ["app.conf"]


async def test_no_link_is_followed_when_a_file_is_written(host: Host, tmp_path: Path) -> None:
    """Somebody approved a path: a link on the way, put there since, leads to another file."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old").write_bytes(b"old")
    (tmp_path / "way").symlink_to("real")
    (tmp_path / "link").symlink_to("real/old")
    for name, expected in (("way/new", None), ("way/old", b"old"), ("link", b"old")):
        digest = None if expected is None else _digest(expected)
        done = await host.write_file(str(tmp_path / name), b"x", expected_sha256=digest)
        assert isinstance(done, FileProblem), name
        assert done.kind is FileProblemKind.CHANGED
    assert _names(tmp_path / "real") == ["old"]
    assert (tmp_path / "real" / "old").read_bytes() == b"old"


async def test_what_may_not_be_written(host: Host, tmp_path: Path) -> None:
    """Protected files by any name, folders, devices, and places that do not exist."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "it0.db").write_text("rows")
    (tmp_path / "door").symlink_to(tmp_path / "data")
    (tmp_path / "zero").symlink_to("/dev/zero")

    async def kind(path: object, expected: str | None = None) -> FileProblemKind:
        done = await host.write_file(str(path), b"x", expected_sha256=expected)
        assert isinstance(done, FileProblem), path
        return done.kind

    kinds = FileProblemKind
    assert await kind(tmp_path / "door" / "it0.db", _digest(b"rows")) is kinds.PROTECTED
    assert await kind(tmp_path / "door" / "new") is kinds.PROTECTED
    assert await kind("/etc/shadow") is kinds.PROTECTED
    assert await kind(tmp_path / ".ssh" / "authorized_keys") is kinds.PROTECTED
    assert await kind(tmp_path) is kinds.NOT_A_FILE
    assert await kind(tmp_path / "zero") is kinds.NOT_A_FILE
    assert await kind(tmp_path / "none" / "file") is kinds.NOT_FOUND
    assert await kind("relative") is kinds.PROTECTED
    assert (tmp_path / "data" / "it0.db").read_text() == "rows"
