"""Making and erasing directories where a hostile child may have planted links.

A child owns its leaf directories and may put anything into them while we work, so nothing is
reached by a path through them: each step is opened relative to the one before it, and a link
is never followed. Blocking; everything raises OSError.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PRIVATE = 0o700
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ERASE_TRIES = 3


@contextmanager
def opened(name: str, *, within: int | None = None) -> Iterator[int]:
    """The descriptor of a directory, which must not be a link."""
    descriptor = os.open(name, _DIRECTORY, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def ensured(name: str, *, within: int, mode: int, owner: int) -> Iterator[int]:
    """The descriptor of a directory of this owner, made if need be.

    What is there under the name but is no directory, or belongs to another user (IT0 was
    started as somebody else before), is erased first: all of it can be rebuilt.
    """
    if not _is_owned_by(owner, name, within):
        erase(name, within=within)
    with suppress(FileExistsError):
        os.mkdir(name, PRIVATE, dir_fd=within)
    with opened(name, within=within) as descriptor:
        if os.fstat(descriptor).st_uid != owner:
            os.fchown(descriptor, owner, owner)
        os.fchmod(descriptor, mode)
        yield descriptor


def _is_owned_by(owner: int, name: str, within: int) -> bool:
    try:
        with opened(name, within=within) as descriptor:
            return os.fstat(descriptor).st_uid == owner
    except OSError:
        return False


def erase(name: str, *, within: int) -> bool:
    """Erase a tree, or whatever else has this name. Says whether there was anything.

    ``rmtree`` never follows links; a child that still writes gets the better of it only so
    many times.
    """
    found = False
    for left in reversed(range(_ERASE_TRIES)):
        try:
            status = os.stat(name, dir_fd=within, follow_symlinks=False)
            found = True
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(name, dir_fd=within)
                return True
            shutil.rmtree(name, dir_fd=within)
        except FileNotFoundError:
            return found
        except OSError:
            if not left:
                raise
    return found


def write_new(name: str, text: str, *, within: int, owner: int) -> None:
    """Write a private file of this owner; ``FileExistsError`` if the name is taken."""
    with os.fdopen(os.open(name, _FILE, 0o600, dir_fd=within), "w", encoding="utf-8") as file:
        os.fchown(file.fileno(), owner, owner if owner != os.geteuid() else -1)
        file.write(text)
