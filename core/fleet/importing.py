"""Lists of servers that people have already: OpenSSH configurations and Ansible inventories."""

from __future__ import annotations

import re
from typing import Final

from core.fleet.import_ansible import read_ansible
from core.fleet.import_model import Imported, LeftOut, NotReadable
from core.fleet.import_openssh import read_openssh

__all__ = ["MAX_BYTES", "Imported", "LeftOut", "NotReadable", "read_servers"]

MAX_BYTES: Final = 4 * 1024 * 1024
_OPENSSH: Final = re.compile(
    r"^\s*(?:Host|Match|Include)(?:\s*=\s*|\s+)[^\s=:]", re.MULTILINE | re.IGNORECASE
)

_SECTION: Final = re.compile(r"^\s*\[", re.MULTILINE)
"""An OpenSSH configuration has no line that begins with a bracket; an INI file has."""


def read_servers(data: bytes, *, home: str, group: str = "") -> Imported:
    """What a file holds; what it is shows in its content. Raises ``NotReadable``.

    ``group``: of an Ansible inventory, the servers of this group and of those below it alone.
    """
    if len(data) > MAX_BYTES:
        message = f"The file is too large: at most {MAX_BYTES // 1024 // 1024} MB are read."
        raise NotReadable(message)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        message = "The file is no text in UTF-8."
        raise NotReadable(message) from None
    if _SECTION.search(text) or not _OPENSSH.search(text):
        return read_ansible(text, home=home, group=group)
    if group:
        message = "An OpenSSH configuration has no groups: leave --group out."
        raise NotReadable(message)
    return read_openssh(text, home=home)
