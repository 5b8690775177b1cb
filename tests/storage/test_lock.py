from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import pytest

from core.errors import It0Error
from storage.lock import (
    LOCK_FILE,
    DataDirectoryExposed,
    DataDirectoryInUse,
    DataDirectoryLock,
    Holder,
    _refuse_exposed,
    holder,
)
from tests.support.processes import Process

ROOT = Path(__file__).parents[2]
_HOLDER = """
import sys, time
from pathlib import Path
from storage.lock import DataDirectoryLock
lock = DataDirectoryLock(Path(sys.argv[1]))
lock.announce("http://127.0.0.1:1")
print("held", flush=True)
time.sleep(60)
"""


def test_second_process_is_refused_by_name(data_dir: Path) -> None:
    """Whoever comes second is told which process holds the directory, and where it listens."""
    with Process([sys.executable, "-c", _HOLDER, str(data_dir)], cwd=ROOT) as process:
        process.wait_for("held")
        with pytest.raises(DataDirectoryInUse, match=f"in use by process {process.pid}"):
            DataDirectoryLock(data_dir)
        assert holder(data_dir) == Holder(pid=process.pid, url="http://127.0.0.1:1")
        process.kill()
    # The dead process's file is still there, and harmless.
    assert json.loads((data_dir / LOCK_FILE).read_text())["url"] == "http://127.0.0.1:1"
    assert holder(data_dir) is None
    DataDirectoryLock(data_dir).release()


def test_holder_of_nothing(data_dir: Path) -> None:
    """Nobody holds a directory that does not exist, or that was released."""
    assert holder(data_dir) is None
    lock = DataDirectoryLock(data_dir)
    assert holder(data_dir) == Holder(pid=os.getpid(), url=None)
    lock.announce("http://x")
    assert holder(data_dir) == Holder(pid=os.getpid(), url="http://x")
    lock.release()
    assert holder(data_dir) is None


def test_unreadable_content_does_not_matter(data_dir: Path) -> None:
    """A lock file that is being rewritten still says that somebody holds the directory."""
    lock = DataDirectoryLock(data_dir)
    (data_dir / LOCK_FILE).write_text("{")
    assert holder(data_dir) == Holder(pid=0, url=None)
    with pytest.raises(DataDirectoryInUse, match="another process"):
        DataDirectoryLock(data_dir)
    lock.release()


def test_asking_does_not_refuse_a_start(data_dir: Path) -> None:
    """Clients that ask all the time who holds the directory do not stop anybody from taking it."""
    DataDirectoryLock(data_dir).release()
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            holder(data_dir)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(50):
            DataDirectoryLock(data_dir).release()
    finally:
        done.set()
        asking.join()


def test_directory_is_private(data_dir: Path) -> None:
    """A data directory is made for its owner alone."""
    DataDirectoryLock(data_dir / "deeper").release()
    assert (data_dir / "deeper").stat().st_mode & 0o777 == 0o700
    assert (data_dir / "deeper" / LOCK_FILE).stat().st_mode & 0o777 == 0o600


def test_unusable_directory(tmp_path: Path) -> None:
    """A path that cannot be a directory is refused with a sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(It0Error, match="cannot be used"):
        DataDirectoryLock(tmp_path / "file" / "data")


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o720, 0o702])
def test_directory_that_others_can_write_is_refused(data_dir: Path, mode: int) -> None:
    """Whoever can write there could bring a key of their own; nothing is put into it."""
    data_dir.mkdir()
    data_dir.chmod(mode)
    with pytest.raises(DataDirectoryExposed, match="chmod go-w") as refusal:
        DataDirectoryLock(data_dir)
    assert str(data_dir) in refusal.value.sentence
    assert list(data_dir.iterdir()) == []


def test_directory_that_others_can_read_is_taken(data_dir: Path) -> None:
    """As a package or an administrator may have made it; the files in it are private."""
    data_dir.mkdir()
    data_dir.chmod(0o755)
    DataDirectoryLock(data_dir).release()
    assert (data_dir / LOCK_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("owner", "refused"), [(12345, True), (0, False), (os.geteuid(), False)])
def test_directory_of_another_user_is_refused(data_dir: Path, owner: int, *, refused: bool) -> None:
    """Its owner could change everything in it; root and we could anyway."""
    status = os.stat_result((0o40700, 1, 1, 2, owner, 0, 4096, 0, 0, 0))
    if not refused:
        _refuse_exposed(data_dir, status)
        return
    with pytest.raises(DataDirectoryExposed, match=rf"belongs to another user \(uid {owner}\)"):
        _refuse_exposed(data_dir, status)
