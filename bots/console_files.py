"""Reads the files of ``--attach``; whatever is wrong is said before anything is sent."""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING

from core.messages import MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS, Attachment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class BadFile(Exception):
    """A file that cannot be attached; the sentence names it."""


def read_files(paths: Sequence[Path]) -> tuple[Attachment, ...]:
    """Read all files. Raises BadFile; what is inside the files is the server's to judge."""
    if len(paths) > MAX_ATTACHMENTS:
        message = f"{len(paths)} files are too many: a message takes at most {MAX_ATTACHMENTS}."
        raise BadFile(message)
    files: list[Attachment] = []
    room = MAX_ATTACHMENT_BYTES
    for path in paths:
        files.append(_read(path, room))
        room -= len(files[-1].data)
    return tuple(files)


def _read(path: Path, room: int) -> Attachment:
    try:
        if path.is_dir():
            problem = f"{path} is a directory; attach a file."
            raise BadFile(problem)
        if path.exists() and not path.is_file():
            problem = f"{path} is not a regular file."
            raise BadFile(problem)
        with path.open("rb") as file:
            data = file.read(room + 1)
    except FileNotFoundError as error:
        raise BadFile(f"There is no file {path}.") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the name is not valid"
        raise BadFile(f"{path} cannot be read: {reason}.") from error
    if len(data) > room:
        raise BadFile(
            f"{path} is too large: the files of a message may have at most "
            f"{MAX_ATTACHMENT_BYTES // 1024 // 1024} MB together."
        )
    if not data:
        raise BadFile(f"{path} is empty.")
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Attachment(name=path.name, media_type=media_type, data=data)
