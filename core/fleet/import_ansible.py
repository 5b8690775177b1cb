"""Servers of an Ansible inventory, in INI or YAML: groups become tags.

What Ansible computes (templates, dynamic inventories, vaults) is not computed here: such an
entry is left out, with the reason. docs.ansible.com/ansible/latest/inventory_guide
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import yaml

from core.fleet.import_model import (
    Harvest,
    Imported,
    NotReadable,
    environment_of,
    identity_for,
    key_file,
    sorted_tags,
)
from core.fleet.registry import NewServer

_RANGE: Final = re.compile(r"\[([0-9]+|[A-Za-z]):([0-9]+|[A-Za-z])(?::([0-9]+))?\]")
_SECTION: Final = re.compile(r"^\[([^\]:]+)(?::(\w+))?\]\s*(?:[#;].*)?$")
_JUMP: Final = re.compile(r"(?:ProxyJump[=\s]+|(?:^|\s)-J\s*)[\"']?([^\s\"']+)")
_MOST_OF_RANGE: Final = 2_000
_MOST_HOSTS: Final = 10_000
_MOST_DEPTH: Final = 30
_MOST_NODES: Final = 50_000
_MOST_CHARS: Final = 200
_IMPLICIT: Final = frozenset({"all", "ungrouped"})
_SECRETS: Final = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")

_NO_YAML: Final = (  # what PyYAML raises for odd texts: ``!!bool x`` is a KeyError
    yaml.YAMLError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    RecursionError,
)

Vars = dict[str, str]


@dataclass(slots=True, kw_only=True)
class _Group:
    hosts: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    variables: Vars = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Inventory:
    groups: dict[str, _Group] = field(default_factory=dict)
    hosts: dict[str, Vars] = field(default_factory=dict)
    full: bool = False

    def group(self, name: str) -> _Group:
        """The group of that name; it is made when it is first named."""
        return self.groups.setdefault(name, _Group())

    def add(self, pattern: str, group: str, variables: Vars) -> None:
        """The hosts of a pattern, in a group."""
        for name in expanded(pattern):
            if name not in self.hosts and len(self.hosts) >= _MOST_HOSTS:
                self.full = True
                return
            self.hosts.setdefault(name, {}).update(variables)
            self.group(group).hosts.append(name)


def read_ansible(text: str, *, home: str, group: str = "") -> Imported:
    """Every host of an inventory, or of one group with those below it.

    Raises ``NotReadable`` when the whole is no inventory, and nothing else.
    """
    if text.lstrip().startswith("$ANSIBLE_VAULT"):
        message = "The file is encrypted: decrypt it with `ansible-vault view` first."
        raise NotReadable(message)
    inventory = _of_yaml(text) if _looks_like_yaml(text) else _of_ini(text)
    harvest = Harvest()
    if inventory.full:
        harvest.note(f"The inventory has more than {_MOST_HOSTS:,} hosts: the rest is left out.")
    parents = _parents(inventory)
    memberships = _memberships(inventory)
    wanted = _below(inventory, group) if group else None
    for name, own in inventory.hosts.items():
        groups = _ancestors(memberships.get(name, ()), parents)
        if wanted is not None and wanted.isdisjoint(groups):
            continue
        variables: Vars = {}
        for one in reversed(groups):  # the farthest first: nearer ones count more
            variables |= inventory.groups[one].variables if one in inventory.groups else {}
        _take(name, {**variables, **own}, groups, home, harvest)
    return harvest.done()


def expanded(pattern: str) -> Iterator[str]:
    """The names of ``web[01:50].example.org``; at most 2,000 of one range."""
    found = _RANGE.search(pattern) if len(pattern) <= _MOST_CHARS else None
    if found is None:
        yield pattern
        return
    first, last, step = found[1], found[2], int(found[3][:6]) if found[3] else 1
    for between in _between(first[:9], last[:9], max(1, step)):
        yield from expanded(pattern[: found.start()] + between + pattern[found.end() :])


def _between(first: str, last: str, step: int) -> Iterator[str]:
    if first.isdigit() and last.isdigit():
        width = len(first) if first.startswith("0") else 0
        for at in range(int(first), min(int(last), int(first) + _MOST_OF_RANGE * step) + 1, step):
            yield str(at).zfill(width)
    elif first.isalpha() and last.isalpha():
        for at in range(ord(first), ord(last) + 1, step):
            yield chr(at)


# -- groups -----------------------------------------------------------------------------------


def _parents(inventory: _Inventory) -> dict[str, list[str]]:
    parents: dict[str, list[str]] = {}
    for name, group in inventory.groups.items():
        for child in group.children:
            parents.setdefault(child, []).append(name)
    return parents


def _memberships(inventory: _Inventory) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, group in inventory.groups.items():
        for host in group.hosts:
            found.setdefault(host, []).append(name)
    return found


def _ancestors(groups: Sequence[str], parents: Mapping[str, Sequence[str]]) -> list[str]:
    """The groups, then theirs, and so on, each once; ``all`` is the last."""
    seen = dict.fromkeys(name for name in groups if name != "all")
    edge = list(seen)
    while edge:
        above = [up for name in edge for up in parents.get(name, ()) if up != "all"]
        edge = [name for name in dict.fromkeys(above) if name not in seen]
        seen |= dict.fromkeys(edge)
    return [*seen, "all"]


def _below(inventory: _Inventory, group: str) -> set[str]:
    """The group with those below it. Raises ``NotReadable`` when there is none."""
    if group not in inventory.groups:
        known = ", ".join(sorted(set(inventory.groups) - _IMPLICIT)[:20]) or "none"
        message = f"There is no group {group[:100]} in the inventory. Its groups: {known}."
        raise NotReadable(message)
    seen, edge = {group}, [group]
    while edge:
        below = [
            child for name in edge if (it := inventory.groups.get(name)) for child in it.children
        ]
        edge = [name for name in dict.fromkeys(below) if name not in seen]
        seen |= set(edge)
    return seen


# -- INI --------------------------------------------------------------------------------------


def _of_ini(text: str) -> _Inventory:
    inventory = _Inventory()
    name, kind = "ungrouped", "hosts"
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if section := _SECTION.match(line):
            name, kind = section[1].strip(), section[2] or "hosts"
            inventory.group(name)
            continue
        match kind:
            case "hosts":
                _host_line(line, name, inventory)
            case "children":
                child = line.split("#")[0].strip()
                inventory.group(child)
                inventory.group(name).children.append(child)
            case "vars":
                key, _, value = line.partition("=")
                inventory.group(name).variables[key.strip()] = _bare(value)
    return inventory


def _host_line(line: str, group: str, inventory: _Inventory) -> None:
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a quote that is not closed
        words = line.split()
    if not words:
        return
    pattern, variables = words[0], {}
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if equals:
            variables[key] = value
    host, colon, port = pattern.rpartition(":")
    if colon and port.isdigit() and ":" not in host and "]" not in port:
        pattern = host
        variables.setdefault("ansible_port", port)
    inventory.add(pattern, group, variables)


def _bare(value: str) -> str:
    value = value.strip()
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value


# -- YAML -------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Takes tags that Ansible knows (``!vault``, ``!unsafe``) for text that is not read."""


def _secret(_loader: _Loader, _suffix: str, _node: yaml.Node) -> str:
    return "{{ not read }}"


_Loader.add_multi_constructor("!", _secret)


def _looks_like_yaml(text: str) -> bool:
    lines = (line for line in text.splitlines() if line.strip() and line.lstrip()[0] not in "#;")
    first = next(lines, "")
    return first.startswith("---") or bool(re.match(r"^[\w\"'.-]+\s*:\s*(?:#.*|\{.*)?$", first))


def _of_yaml(text: str) -> _Inventory:
    try:
        loaded = yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader
    except _NO_YAML as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where is not None else ""
        message = f"The file is no YAML that can be read{line}."
        raise NotReadable(message) from None
    inventory = _Inventory()
    if not isinstance(loaded, dict):
        message = "The file is no inventory: it has no groups."
        raise NotReadable(message)
    walk = _Walk(inventory=inventory)
    for name, body in loaded.items():
        walk.group(str(name)[:_MOST_CHARS], body, 0)
    return inventory


@dataclass(slots=True, kw_only=True)
class _Walk:
    """Walks the groups; bounded, because aliases of YAML may share or contain themselves."""

    inventory: _Inventory
    nodes: int = 0

    def group(self, name: str, body: object, depth: int) -> None:
        """A group with its hosts, variables and children."""
        self.nodes += 1
        made = self.inventory.group(name)
        if not isinstance(body, dict) or depth > _MOST_DEPTH or self.nodes > _MOST_NODES:
            return
        hosts, variables, children = (body.get(key) for key in ("hosts", "vars", "children"))
        for pattern, own in _entries(hosts):
            self.nodes += 1
            if self.nodes > _MOST_NODES:
                return
            self.inventory.add(pattern, name, _texts(own))
        made.variables |= _texts(variables)
        for child, below in _entries(children):
            made.children.append(child)
            self.group(child, below, depth + 1)


def _entries(value: object) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [(str(key)[:_MOST_CHARS], own) for key, own in value.items()]
    if isinstance(value, list):
        return [(str(key)[:_MOST_CHARS], None) for key in value if isinstance(key, str)]
    return []


def _texts(value: object) -> Vars:
    if not isinstance(value, dict):
        return {}
    return {str(key): str(own) for key, own in value.items() if isinstance(own, str | int)}


# -- hosts ------------------------------------------------------------------------------------


def _take(name: str, variables: Vars, groups: Sequence[str], home: str, harvest: Harvest) -> None:
    def said(*keys: str) -> str:
        return next((variables[key].strip() for key in keys if variables.get(key)), "")

    address = said("ansible_host", "ansible_ssh_host") or name
    port = said("ansible_port", "ansible_ssh_port") or "22"
    user = said("ansible_user", "ansible_ssh_user")
    key = said("ansible_ssh_private_key_file", "ansible_private_key_file")
    arguments = f"{said('ansible_ssh_common_args')} {said('ansible_ssh_extra_args')}"
    why = _why_not(said("ansible_connection") or "ssh", (address, port, user, key, arguments))
    if why:
        harvest.leave(name, why)
        return
    jump = _JUMP.search(arguments)
    if jump and any(char in jump[1] for char in ",@:"):
        harvest.leave(name, "Its ProxyJump names several hosts, a user or a port.")
        return
    if any(variables.get(secret) for secret in _SECRETS):
        harvest.note("Passwords are not taken over: IT0 logs in with keys.")
    path = key_file(key, home, {}) if key else None
    if key and path is None:
        harvest.note(f"The key file of {name[:63]} has no absolute path: the SSH agent is used.")
    tags = sorted_tags([one for one in groups if one not in _IMPLICIT], harvest)
    harvest.take(
        NewServer(
            name=name,
            address=address,
            port=int(port),
            user=user,
            tags=tags,
            environment=environment_of(tags),
            jump=jump[1] if jump else "",
            identity=identity_for(path),
            identity_file=path or "",
        )
    )


def _why_not(connection: str, values: tuple[str, str, str, str, str]) -> str:
    if connection == "local":
        return "It is the machine of whoever runs Ansible (ansible_connection=local)."
    if connection not in {"ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh"}:
        return f"It is not reached by SSH (ansible_connection={connection[:40]})."
    if any("{{" in value or "{%" in value for value in values):
        return "A template or a secret says where it is or how to get in; IT0 computes none."
    if "ProxyCommand" in values[4]:
        return "It is reached by a ProxyCommand; IT0 knows jump hosts alone."
    if not (values[1].isascii() and values[1].isdigit() and len(values[1]) <= 5):  # noqa: PLR2004  # 65535
        return f"{values[1][:20]} is no port."
    return ""
