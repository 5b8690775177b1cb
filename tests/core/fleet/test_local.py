from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from core.fleet.host import CommandResult, FileProblem, FileProblemKind, FileRead
from core.fleet.local import LocalHost
from core.protected import ProtectedPaths


@pytest.fixture
def host(tmp_path: Path) -> LocalHost:
    """The local machine, with a protected data directory."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "it0.db").write_text("rows")
    return LocalHost(ProtectedPaths.of(tmp_path / "data"))


async def shell(
    host: LocalHost, script: str, *, timeout_s: float = 10, max_bytes: int = 10_000
) -> CommandResult:
    """Run a script."""
    return await host.run(["sh", "-c", script], timeout_s=timeout_s, max_bytes=max_bytes)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "gone"


async def _gone(pid: int) -> bool:
    for _ in range(500):
        if _state(pid) in {"gone", "Z"}:
            return True
        await asyncio.sleep(0.01)
    return False


async def test_output_and_status(host: LocalHost) -> None:
    """Both streams and the exit status come back; broken bytes are replaced."""
    result = await shell(host, r"printf 'a\377b'; echo oops >&2; exit 3")
    assert (result.stdout, result.stderr.strip(), result.exit_status) == ("a\ufffdb", "oops", 3)
    assert not result.truncated
    assert not result.timed_out


async def test_a_missing_command_is_127(host: LocalHost) -> None:
    """Tools can fall back to something else."""
    result = await host.run(["no-such-command"], timeout_s=5, max_bytes=10)
    assert result.missing


async def test_an_impossible_command_is_a_result(host: LocalHost) -> None:
    """A NUL byte or an endless argument fails like a command, not like a bug."""
    assert (await host.run(["echo", "a\0b"], timeout_s=5, max_bytes=10)).exit_status != 0
    assert (await host.run(["echo", "x" * 3_000_000], timeout_s=5, max_bytes=10)).exit_status != 0


async def test_the_environment_is_clean(host: LocalHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the parent's environment, which holds keys, reaches a command."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-canary")
    result = await host.run(["env"], timeout_s=5, max_bytes=10_000)
    assert "canary" not in result.stdout
    assert "PATH=" in result.stdout
    assert "LANG=C.UTF-8" in result.stdout


async def test_there_is_no_input(host: LocalHost) -> None:
    """A command that reads its input sees the end at once."""
    assert (await host.run(["cat"], timeout_s=5, max_bytes=10)).exit_status == 0


async def test_output_is_bounded_while_it_comes(host: LocalHost) -> None:
    """The first bytes are kept, the rest is read and dropped, and the command ends well."""
    result = await shell(host, "head -c 5000000 /dev/zero | tr '\\0' x", max_bytes=1000)
    assert result.stdout == "x" * 1000
    assert result.truncated
    assert result.exit_status == 0


async def test_a_timeout_kills_the_whole_group(host: LocalHost) -> None:
    """The command and its children are gone; what it said until then is kept."""
    result = await shell(host, "sleep 300 & echo $!; wait", timeout_s=0.5)
    assert result.timed_out
    assert await _gone(int(result.stdout))


async def test_cancelling_kills_the_whole_group(host: LocalHost, tmp_path: Path) -> None:
    """A stopped turn leaves no process behind."""
    note = tmp_path / "pid"
    task = asyncio.create_task(
        shell(host, f"sleep 300 & echo $! >{note}.new; mv {note}.new {note}; wait")
    )
    for _ in range(1000):
        if note.exists():
            break
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _gone(int(note.read_text()))


async def test_a_background_child_does_not_survive_its_command(host: LocalHost) -> None:
    """A child that let go of the pipes is killed when the command is over."""
    result = await shell(host, "sleep 300 >/dev/null 2>&1 & echo $!")
    assert not result.timed_out
    assert await _gone(int(result.stdout))


async def test_the_beginning_and_the_end_of_a_file(host: LocalHost, tmp_path: Path) -> None:
    """A long file is cut on the side that was not asked for, and says so."""
    path = tmp_path / "log"
    path.write_text("0123456789")
    head = await host.read_file(str(path), max_bytes=3)
    tail = await host.read_file(str(path), max_bytes=3, tail=True)
    whole = await host.read_file(str(path), max_bytes=10, tail=True)
    assert isinstance(head, FileRead)
    assert isinstance(tail, FileRead)
    assert isinstance(whole, FileRead)
    assert (head.text, head.truncated, head.size) == ("012", True, 10)
    assert (tail.text, tail.truncated) == ("789", True)
    assert (whole.text, whole.truncated) == ("0123456789", False)


async def test_generated_files_have_an_end_too(host: LocalHost) -> None:
    """A file of /proc tells no size; its beginning and its end can be read all the same."""
    head = await host.read_file("/proc/meminfo", max_bytes=9)
    tail = await host.read_file("/proc/meminfo", max_bytes=20, tail=True)
    assert isinstance(head, FileRead)
    assert isinstance(tail, FileRead)
    assert head.text == "MemTotal:"
    assert tail.text.endswith("kB\n")


async def _kind(host: LocalHost, path: object) -> FileProblemKind | None:
    read = await host.read_file(str(path), max_bytes=100)
    if isinstance(read, FileProblem):
        assert read.sentence.endswith(".")
        return read.kind
    return None


async def test_what_is_not_a_regular_file_is_refused_without_hanging(
    host: LocalHost, tmp_path: Path
) -> None:
    """Directories, FIFOs and devices have no text to show."""
    os.mkfifo(tmp_path / "pipe")
    assert await _kind(host, tmp_path / "pipe") is FileProblemKind.NOT_A_FILE
    assert await _kind(host, tmp_path) is FileProblemKind.NOT_A_FILE
    assert await _kind(host, "/dev/zero") is FileProblemKind.PROTECTED
    (tmp_path / "link").symlink_to("/dev/zero")
    assert await _kind(host, tmp_path / "link") is FileProblemKind.NOT_A_FILE
    assert await _kind(host, tmp_path / "none") is FileProblemKind.NOT_FOUND
    assert await _kind(host, "/tmp/" + "x" * 5000) is FileProblemKind.FAILED


async def test_a_fifo_is_refused_without_its_writer_noticing(
    host: LocalHost, tmp_path: Path
) -> None:
    """A writer that waits for its reader goes on waiting: to look at a file opens nothing."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = await asyncio.create_subprocess_exec(
        *("sh", "-c", f"echo ready; exec 3>{pipe}; echo opened; echo news >&3"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert writer.stdout
    assert await writer.stdout.readline() == b"ready\n"
    told = asyncio.create_task(writer.stdout.readline())
    for _ in range(20):
        assert await _kind(host, pipe) is FileProblemKind.NOT_A_FILE
        await asyncio.sleep(0.01)
    assert not told.done()
    assert await asyncio.to_thread(pipe.read_text) == "news\n"
    assert await told == b"opened\n"
    assert await writer.wait() == 0


async def test_a_file_without_permission(host: LocalHost, tmp_path: Path) -> None:
    """Holding a file takes no permission, reading it does: the sentence says which is missing."""
    (tmp_path / "private").write_text("x")
    (tmp_path / "private").chmod(0)
    expected = None if os.geteuid() == 0 else FileProblemKind.NO_PERMISSION
    assert await _kind(host, tmp_path / "private") is expected


async def test_links_to_protected_files_are_refused(host: LocalHost, tmp_path: Path) -> None:
    """Symbolic links, linked directories, dots through links, hard links: all lead to a no."""
    (tmp_path / "soft").symlink_to(tmp_path / "data" / "it0.db")
    (tmp_path / "door").symlink_to(tmp_path / "data")
    (tmp_path / "deep").mkdir()
    (tmp_path / "data" / "sub").mkdir()
    (tmp_path / "deep" / "in").symlink_to(tmp_path / "data" / "sub")
    os.link(tmp_path / "data" / "it0.db", tmp_path / "hard")
    (tmp_path / "shadow-link").symlink_to("/etc/shadow")
    paths = ("data/it0.db", "soft", "door/it0.db", "deep/in/../it0.db", "hard", "shadow-link")
    for path in paths:
        assert await _kind(host, tmp_path / path) is FileProblemKind.PROTECTED, path


async def test_the_way_through_proc_is_refused(host: LocalHost, tmp_path: Path) -> None:
    """Another process's view of a file is no way around the rules."""
    for path in (f"/proc/self/root{tmp_path}/data/it0.db", "/proc/self/environ"):
        assert await _kind(host, path) is FileProblemKind.PROTECTED


async def test_a_link_that_is_swapped_meanwhile_never_shows_the_secret(
    host: LocalHost, tmp_path: Path
) -> None:
    """What is judged is the opened file, so a race between two targets is harmless."""
    (tmp_path / "harmless").write_text("harmless")
    link, spare = tmp_path / "flip", tmp_path / "spare"
    link.symlink_to(tmp_path / "harmless")
    for turn in range(200):
        target = "data/it0.db" if turn % 2 else "harmless"
        reading = asyncio.create_task(host.read_file(str(link), max_bytes=100))
        spare.symlink_to(tmp_path / target)
        spare.rename(link)
        read = await reading
        assert isinstance(read, FileProblem) or read.text == "harmless"
