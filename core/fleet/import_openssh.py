"""Servers of an OpenSSH client configuration (ssh_config(5))."""

from __future__ import annotations

import fnmatch
import re
import shlex
from dataclasses import dataclass, field
from typing import Final

from core.fleet.import_model import Harvest, Imported, identity_for, key_file
from core.fleet.registry import NewServer

_LINE: Final = re.compile(r"^\s*(?P<key>[A-Za-z]+)(?:\s*=\s*|\s+)(?P<value>.*?)\s*$")
_READ: Final = frozenset(
    {"hostname", "port", "user", "identityfile", "proxyjump", "proxycommand", "hostkeyalias"}
)
_DEFAULT_PORT: Final = 22
_MOST_PATTERNS: Final = 100
_MOST_BLOCKS: Final = 20_000


@dataclass(slots=True, kw_only=True)
class _Block:
    """A ``Host`` line with its patterns, and what follows; the first value of a word counts."""

    patterns: list[str]
    values: dict[str, str] = field(default_factory=dict)

    def matches(self, alias: str) -> bool:
        """Whether one pattern fits and no negated one does."""
        fits = False
        for pattern in self.patterns:
            if pattern.startswith("!"):
                if fnmatch.fnmatchcase(alias, _glob(pattern[1:])):
                    return False
            elif fnmatch.fnmatchcase(alias, _glob(pattern)):
                fits = True
        return fits


def read_openssh(text: str, *, home: str) -> Imported:
    """Every ``Host`` without a wildcard is a server; patterns give defaults.

    ``home`` is the home directory of whoever the configuration belongs to. Never raises.
    """
    harvest = Harvest()
    blocks = _blocks(text, harvest)
    aliases = list(
        dict.fromkeys(
            pattern
            for block in blocks
            for pattern in block.patterns
            if not any(char in pattern for char in "*?!")
        )
    )
    for alias in aliases:
        values: dict[str, str] = {}
        for block in blocks:
            if block.matches(alias):
                values = {**block.values, **values}
        _take(alias, values, home, harvest)
    return harvest.done()


def _blocks(text: str, harvest: Harvest) -> list[_Block]:
    blocks = [_Block(patterns=["*"])]
    for line in text.splitlines():
        found = _LINE.match(line)
        if found is None or line.lstrip().startswith("#") or len(blocks) > _MOST_BLOCKS:
            continue
        key, value = found["key"].casefold(), found["value"]
        match key:
            case "host":
                blocks.append(_Block(patterns=_words(value)[:_MOST_PATTERNS]))
            case "match":
                harvest.note("Match blocks are not read: what they say is left out.")
                blocks.append(_Block(patterns=_words(value) if value == "all" else []))
                if value.strip().casefold() == "all":
                    blocks[-1].patterns = ["*"]
            case "include":
                harvest.note(f"Include {value[:100]} is not followed: import that file, too.")
            case _ if key in _READ:
                blocks[-1].values.setdefault(key, value)
    return blocks


def _take(alias: str, values: dict[str, str], home: str, harvest: Harvest) -> None:
    if values.get("proxycommand", "none").casefold() != "none" and "proxyjump" not in values:
        harvest.leave(alias, "It is reached by a ProxyCommand; IT0 knows jump hosts alone.")
        return
    port = _unquoted(values.get("port", str(_DEFAULT_PORT)))
    jump = _jump(_unquoted(values.get("proxyjump", "none")))
    address = _unquoted(values.get("hostname", alias)).replace("%h", alias).replace("%%", "%")
    user = _unquoted(values.get("user", ""))
    if jump is None:
        why = "Its ProxyJump names several hosts, a user or a port: give the jump host an entry."
        harvest.leave(alias, why)
        return
    if not (port.isascii() and port.isdigit() and len(port) <= 5):  # noqa: PLR2004  # 65535
        harvest.leave(alias, f"{port[:20]} is no port.")
        return
    path = None
    if "identityfile" in values and values["identityfile"].casefold() != "none":
        tokens = {"%d": home, "%h": address, "%n": alias, "%r": user, "%%": "%"}
        path = key_file(_unquoted(values["identityfile"]), home, tokens)
        if path is None:
            harvest.note(f"The key file of {alias[:63]} cannot be told: the SSH agent is used.")
    harvest.take(
        NewServer(
            name=alias,
            address=address,
            port=int(port),
            user=user,
            jump=jump,
            identity=identity_for(path),
            identity_file=path or "",
        )
    )


def _jump(written: str) -> str | None:
    """The alias of the one jump host; empty for none, None for what is more than an alias."""
    if written.casefold() == "none" or not written:
        return ""
    return None if any(char in written for char in ",@:/ ") else written


def _words(value: str) -> list[str]:
    try:
        return shlex.split(value, comments=False)
    except ValueError:  # a quote that is not closed
        return value.replace('"', "").split()


def _unquoted(value: str) -> str:
    """The first word; OpenSSH allows quotes around it."""
    words = _words(value)
    return words[0] if words else ""


def _glob(pattern: str) -> str:
    """ssh_config's patterns know ``*`` and ``?`` alone."""
    return pattern.replace("[", "[[]")
