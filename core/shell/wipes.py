"""What nobody may run: commands that destroy a system, a disk or everything in it (L3)."""

from __future__ import annotations

import posixpath
import re

from core.risk import Level
from core.shell.findings import Findings, shown
from core.shell.words import DYN, HOME, Word, words_of

_TOPS = words_of(
    "/ /bin /boot /dev /etc /home /lib /lib32 /lib64 /opt /proc /root /run /sbin /srv /sys /usr "
    "/var "
    "/usr/bin /usr/lib /usr/lib64 /usr/local /usr/sbin /usr/share /var/lib /var/log ~"
)
_DATA = words_of("/opt /srv")
"""Nothing of the system is there: whose it is may well be one application's."""
_EVERYTHING = re.compile(r"[\ue001\ue002\ue003*]|\.\ue001|\.\ue003[^/]*\ue001?")
_DELETES = frozenset({"rm", "shred", "srm", "unlink", "wipe"})
_MARKS_ALL = frozenset({"chmod", "chown", "chgrp", "setfacl", "chattr", "chcon"})
_ALWAYS = {
    "blkdiscard": "throws away a whole disk",
    "mkswap": "overwrites a disk",
    "badblocks": "may overwrite a disk",
}
_DISKS = {
    "wipefs": re.compile(r"-\w*a\w*|--all|-o.*|--offset.*|-f|--force"),
    "sgdisk": re.compile(r"-\w*[zZo]\w*|--zap.*|--clear"),
    "hdparm": re.compile(r"--security-.*|--trim.*|--make-bad.*|--write-sector.*|--dco.*"),
    "nvme": re.compile(r"format|sanitize|write.*"),
    "cryptsetup": re.compile(r"luksFormat|luksErase|erase|reencrypt|luksKillSlot"),
    "sfdisk": re.compile(r"--delete|--wipe.*"),
    "zpool": re.compile(r"destroy|labelclear"),
}
SUSPECTS = frozenset(
    {*_DELETES, *_MARKS_ALL, *_ALWAYS, *_DISKS, "mv", "dd", "find", "rsync", "tee"}
)
"""Programs worth looking for behind a program that is not known."""


def check_wipe(name: str, words: list[Word], findings: Findings) -> None:
    """Note a command that destroys what cannot be brought back."""
    args = words[1:]
    values = [word.value for word in args]
    why = ""
    if "--no-preserve-root" in values or any(
        len(value) > 8 and "--no-preserve-root".startswith(value)  # noqa: PLR2004  # abbreviated
        for value in values
    ):
        why = "switches off the guard of the root directory"
    elif name.startswith("mkfs") or name in {"mke2fs", "mkntfs", "mkdosfs", "mkexfatfs"}:
        why = "makes a new file system over what is there"
    elif name in _ALWAYS:
        why = _ALWAYS[name]
    elif name in _DISKS and any(_DISKS[name].fullmatch(value) for value in values):
        why = "wipes a disk"
    elif _destroys_tops(name, args, findings):
        why = "wipes a whole tree of the system"
    if why:
        findings.add(Level.L3, f"{shown(words)} {why}")


def _destroys_tops(name: str, args: list[Word], findings: Findings) -> bool:
    options = [word.value for word in args if word.value.startswith("-")]
    recursive = any(
        option.startswith("--recursive"[: max(4, len(option))])
        if option.startswith("--")
        else re.search("[rR]", option)
        for option in options
    )
    operands = [word for word in args if not word.value.startswith("-")]
    if name in _DELETES:
        return any(is_top(word, findings, whole=bool(recursive)) for word in operands)
    if name in _MARKS_ALL:
        return bool(recursive) and any(
            is_top(word, findings, whole=True) and word.value.rstrip("/") not in _DATA
            for word in operands
        )
    if name == "mv":
        return any(is_top(word, findings, whole=True) for word in operands[:-1])
    if name == "rsync":
        gone = any(option.startswith(("--del", "--remove-s")) for option in options)
        return gone and any(is_top(word, findings, whole=True) for word in operands)
    return False


def is_top(word: Word, findings: Findings, *, whole: bool) -> bool:
    """Whether it means a top directory (``whole``) or everything in one."""
    for value in word.alternatives():
        for path in _places(value, findings):
            folder, _, last = path.rpartition("/")
            if _EVERYTHING.fullmatch(last) and _top(folder or "/"):
                return True
            if whole and _top(path):
                return True
    return False


def _places(value: str, findings: Findings) -> list[str]:
    if value.endswith(DYN) and value.rstrip(DYN) in {"/", ""}:
        return [value.rstrip(DYN)] if value.rstrip(DYN) else []
    if value.startswith(("/", "~", HOME)):
        return [value]
    return [f"{each}/{value}" for each in findings.dirs]


def _top(path: str) -> bool:
    path = path.replace(HOME, "/root").replace(DYN, "")
    if path.startswith("~"):
        return path.rstrip("/").count("/") == 0
    return posixpath.normpath("/" + path.lstrip("/")) in _TOPS


def is_fork_bomb(calls: dict[str, set[str]], spreads: set[str]) -> str:
    """The name of a function that starts itself again and again, side by side; or empty."""
    for name in spreads:
        seen: set[str] = set()
        queue = list(calls.get(name, ()))
        while queue:
            each = queue.pop()
            if each == name:
                return name
            if each not in seen:
                seen.add(each)
                queue += calls.get(each, ())
    return ""
