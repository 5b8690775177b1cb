"""One process per data directory: a lock that dies with its holder.

The lock file also tells clients where the holder listens. Its content means nothing unless
the lock is held.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from core.errors import It0Error

LOCK_FILE = "it0.lock"
_TRIES = 5
_PAUSE_S = 0.02


class DataDirectoryInUse(It0Error):
    """Another process holds the data directory."""

    code = "data_directory_in_use"


class DataDirectoryExposed(It0Error):
    """Another user of the machine could change what is in the data directory."""

    code = "data_directory_exposed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that holds the lock."""

    pid: int
    url: str | None
    """Where it serves HTTP, once it does."""


class DataDirectoryLock:
    """Holds a data directory until ``release`` or the end of the process."""

    def __init__(self, data_dir: Path) -> None:
        """Take the lock.

        Raises ``DataDirectoryInUse``, ``DataDirectoryExposed`` when another user could change
        what is in the directory, or ``It0Error`` when it cannot be made.
        """
        self._path = data_dir / LOCK_FILE
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_exposed(data_dir, data_dir.stat())
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise It0Error(
                f"The data directory {data_dir} cannot be used: {error.strerror}. Give IT0 "
                "another one with IT0_DATA_DIR, or correct its permissions."
            ) from error
        try:
            _take(self._descriptor)
        except BlockingIOError:
            os.close(self._descriptor)
            found = holder(data_dir)
            who = f"process {found.pid}" if found and found.pid else "another process"
            raise DataDirectoryInUse(
                f"The data directory {data_dir} is in use by {who}. Stop it, talk to it with "
                "`it0 chat`, or give this one another IT0_DATA_DIR."
            ) from None
        except OSError as error:
            os.close(self._descriptor)
            raise It0Error(
                f"The data directory {data_dir} cannot be locked: {error.strerror}. Put it on "
                "a local disk (IT0_DATA_DIR)."
            ) from error
        self._write(None)

    def announce(self, url: str) -> None:
        """Tell clients where this process serves HTTP."""
        self._write(url)

    def release(self) -> None:
        """Give the directory back."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def _write(self, url: str | None) -> None:
        content = json.dumps({"pid": os.getpid(), "url": url}).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, content, 0)


def _refuse_exposed(data_dir: Path, status: os.stat_result) -> None:
    """Whoever may write here could put another key or another database in place of ours."""
    if status.st_uid not in {0, os.geteuid()}:
        raise DataDirectoryExposed(
            f"The data directory {data_dir} belongs to another user (uid {status.st_uid}). Run IT0 "
            "as that user, change the owner, or give IT0 another one with IT0_DATA_DIR."
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise DataDirectoryExposed(
            f"Other users can write to the data directory {data_dir}. Take that permission away "
            f"(chmod go-w {shlex.quote(str(data_dir))}), or give IT0 another one with IT0_DATA_DIR."
        )


def _take(descriptor: int) -> None:
    """Take the lock; one that is held for a moment by whoever asks for its holder is waited for."""
    for _ in range(_TRIES - 1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_S)
        else:
            return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder(data_dir: Path) -> Holder | None:
    """The process that holds the directory now; None when none does."""
    path = data_dir / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            data = json.loads(os.pread(descriptor, 4096, 0))
            return Holder(pid=int(data["pid"]), url=data["url"])
        except (ValueError, KeyError, TypeError):
            return Holder(pid=0, url=None)
    finally:
        os.close(descriptor)
    return None
