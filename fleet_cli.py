"""``it0 server``: the operator registers servers, tries them out and confirms their host keys.

On SQLite the process that runs holds the data directory, so that every command is a request to
it (or to one that is embedded for the moment).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from billing_cli import table

if TYPE_CHECKING:
    from bots.operator_servers import ServerRow, ServersClient, TrialRow
    from core.fleet.registry import NewServer
    from settings import Settings

Ask = Callable[[str], bool]
"""Asks a person at the terminal."""

_MAX_KEY_BYTES: Final = 64 * 1024
_MAX_LIST_BYTES: Final = 8 * 1024 * 1024
"""More than the importer takes, so that it can say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """Where the answers go, and whom to ask; None: nobody is there."""

    out: TextIO
    ask: Ask | None


def add_server(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    """The options of every subcommand; ``arguments.action`` says which one it is."""
    parser = commands.add_parser("server", help="the servers of your fleet")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_add(actions)
    _add_change(actions)
    listing = actions.add_parser("list", help="list them")
    listing.add_argument("select", nargs="*", metavar="WORDS", help="such as tag:edge; default all")
    listing.add_argument("--json", action="store_true", help="print them as JSON")
    test = actions.add_parser("test", help="connect to one, and say how that went")
    test.add_argument("name", metavar="NAME")
    test.add_argument("--trust", action="store_true", help="confirm a first host key unseen")
    trust = actions.add_parser("trust", help="confirm the host key that a server shows now")
    trust.add_argument("name", metavar="NAME")
    trust.add_argument("--replace", action="store_true", help="also in place of another one")
    importing = actions.add_parser(
        "import", help="register those of an OpenSSH config or an Ansible inventory"
    )
    importing.add_argument("file", metavar="FILE", type=Path)
    importing.add_argument("--dry-run", action="store_true", help="only show what would be done")
    importing.add_argument(
        "--group", metavar="G", default="", help="of an inventory, this group alone"
    )
    remove = actions.add_parser("remove", help="forget one, with its key")
    remove.add_argument("name", metavar="NAME")
    return parser


def _add_add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    add = actions.add_parser("add", help="register a server")
    add.add_argument("name", metavar="NAME")
    add.add_argument("address", metavar="ADDRESS", help="a host name or an IP address")
    _add_facts(add)
    add.add_argument("--host-key", metavar="LINE", help="its host key, as ssh-keyscan shows it")


def _add_change(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    change = actions.add_parser("change", help="change what is registered of a server")
    change.add_argument("name", metavar="NAME")
    change.add_argument("--rename", metavar="NEW", help="another name")
    change.add_argument("--address", metavar="ADDRESS", help="a host name or an IP address")
    _add_facts(change)


def _add_facts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, metavar="N", help="at first 22")
    parser.add_argument("--user", metavar="USER", help="the account; at first IT0's own name")
    parser.add_argument(
        "--tag", metavar="TAG", action="append", default=[], help="may be repeated; '' for none"
    )
    parser.add_argument("--environment", choices=["production", "staging", "development"])
    parser.add_argument("--criticality", choices=["low", "normal", "critical"])
    parser.add_argument("--jump", metavar="NAME", help="what it is reached through; '' for nothing")
    key = parser.add_mutually_exclusive_group()
    key.add_argument(
        "--key", type=Path, metavar="FILE", help="a private key that IT0 keeps, sealed"
    )
    key.add_argument("--agent", action="store_true", help="the SSH agent (at first)")
    key.add_argument("--key-file", type=Path, metavar="PATH", help="a key that stays in its file")
    parser.add_argument("--sudo", choices=["never", "ask", "allowed"], help="at first ask")


async def servers(settings: Settings, arguments: argparse.Namespace) -> int:
    """``it0 server``. Raises ``It0Error`` with a sentence."""
    # --help must not import the product.
    from bots.operator import RequestRefused  # noqa: PLC0415
    from bots.operator_servers import ServersClient  # noqa: PLC0415
    from core.errors import It0Error  # noqa: PLC0415
    from reach import connected  # noqa: PLC0415

    terminal = Terminal(out=sys.stdout, ask=_ask if sys.stdin.isatty() else None)
    async with connected(settings) as server:
        try:
            return await carry_out(ServersClient(client=server.operator()), arguments, terminal)
        except (RequestRefused, ValueError) as problem:
            raise It0Error(str(problem)) from problem


async def carry_out(
    client: ServersClient, arguments: argparse.Namespace, terminal: Terminal
) -> int:
    """Do what was asked and say it. Raises ``RequestRefused``, ``ValueError``, ``OSError``."""
    match arguments.action:
        case "add":
            return await _add(client, arguments, terminal)
        case "change":
            return await _change(client, arguments, terminal)
        case "list":
            return await _list(client, arguments, terminal)
        case "test":
            return await _test(client, arguments.name, terminal, trust=arguments.trust)
        case "trust":
            return await _trust(client, arguments.name, terminal, replace=arguments.replace)
        case "import":
            return await _import(client, arguments, terminal)
        case "remove":
            await client.remove(arguments.name)
            return _say([f"{arguments.name} is removed, with its key."], terminal)
        case action:
            message = f"There is no action {action}."
            raise ValueError(message)


async def _add(client: ServersClient, arguments: argparse.Namespace, terminal: Terminal) -> int:
    row = await client.add(_entered(arguments))
    lines = [f"{row['name']} is added ({_place(row)})."]
    if row["host_key_fingerprint"] is None:
        lines.append(f"Confirm its host key: `it0 server test {row['name']}`")
    return _say(lines, terminal)


async def _change(client: ServersClient, arguments: argparse.Namespace, terminal: Terminal) -> int:
    wanted = _entered(arguments)
    if not wanted:
        message = "Say what to change, such as --user or --tag; `it0 server change --help`"
        raise ValueError(message)
    row = await client.change(arguments.name, wanted)
    lines = [f"{row['name']} is changed ({_place(row)})."]
    if row["kind"] == "ssh" and row["host_key_fingerprint"] is None:
        lines.append(f"Confirm its host key: `it0 server test {row['name']}`")
    return _say(lines, terminal)


def _entered(arguments: argparse.Namespace) -> dict[str, object]:
    """Only what was named: the server has the defaults."""
    named: dict[str, object] = {
        "name": arguments.rename if arguments.action == "change" else arguments.name,
        "address": arguments.address,
        "port": arguments.port,
        "user": arguments.user,
        "tags": [tag for tag in arguments.tag if tag] if arguments.tag else None,
        "environment": arguments.environment,
        "criticality": arguments.criticality,
        "jump": arguments.jump,
        "sudo": arguments.sudo,
        "host_key": getattr(arguments, "host_key", None),
    }
    if arguments.key is not None:
        named["private_key"] = _read_key(arguments.key)
    if arguments.agent:
        named["identity"] = "agent"
    if arguments.key_file is not None:
        named["identity"] = "file"
        named["identity_file"] = str(arguments.key_file.expanduser().absolute())
    return {name: value for name, value in named.items() if value is not None}


def _read_key(file: Path) -> str:
    with file.open("rb") as opened:
        data = opened.read(_MAX_KEY_BYTES)
    try:
        return data.decode()
    except UnicodeDecodeError:
        message = f"{file} is no private key: it is no text."
        raise ValueError(message) from None


async def _list(client: ServersClient, arguments: argparse.Namespace, terminal: Terminal) -> int:
    rows = await client.servers(" ".join(arguments.select))
    if arguments.json:
        return _say([json.dumps(rows, indent=2)], terminal)
    if not rows:
        return _say(["There are no servers yet. `it0 server add NAME ADDRESS`"], terminal)
    head = ("NAME", "ADDRESS", "ENVIRONMENT", "CRITICALITY", "TAGS", "HOST KEY")
    cells = [
        (
            row["name"],
            _place(row),
            row["environment"],
            row["criticality"],
            ",".join(row["tags"]) or "-",
            _trusted(row),
        )
        for row in rows
    ]
    return _say(table(head, cells), terminal)


async def _test(client: ServersClient, name: str, terminal: Terminal, *, trust: bool) -> int:
    """1 unless IT0 got in."""
    tried = await client.trial(name)
    if tried["host_key"] and not tried["confirmed"] and not tried["changed"]:
        _say([f"{name} shows the host key {_key(tried)}"], terminal)
        asked = f"Is that the key of {name}? Compare it with the machine's own."
        if not trust and (terminal.ask is None or not terminal.ask(asked)):
            return _say([f"It is not confirmed. `it0 server trust {name}` does it."], terminal, 1)
        await client.confirm(name, tried["host_key"], replace=False)
        tried = await client.trial(name)
    lines = [f"Host key   {_key(tried)} (confirmed)"] if tried["confirmed"] else []
    if tried["reached"]:
        lines += [
            f"Reached    as {tried['user'] or 'nobody known'}, {tried['latency_ms']} ms a command",
            f"Sudo       {_sudo(tried)}",
        ]
    if tried["problem"]:
        lines.append(tried["problem"])
    return _say(lines, terminal, 0 if tried["reached"] and not tried["problem"] else 1)


async def _trust(client: ServersClient, name: str, terminal: Terminal, *, replace: bool) -> int:
    tried = await client.trial(name)
    if not tried["host_key"]:
        return _say([tried["problem"] or f"{name} needs no host key."], terminal, 1)
    _say([f"{name} shows the host key {_key(tried)}"], terminal)
    if not tried["confirmed"]:
        asked = f"Is that the key of {name}? Compare it with the machine's own."
        if terminal.ask is not None and not terminal.ask(asked):
            return _say(["Nothing is changed."], terminal, 1)
        await client.confirm(name, tried["host_key"], replace=replace)
    return _say([f"{name} is trusted with it."], terminal)


# -- import -----------------------------------------------------------------------------------


async def _import(client: ServersClient, arguments: argparse.Namespace, terminal: Terminal) -> int:
    """1 when something was refused; what is left out, and why, is said either way."""
    from core.fleet.importing import read_servers  # noqa: PLC0415  # --help needs no YAML

    read = read_servers(_read_list(arguments.file), home=str(Path.home()), group=arguments.group)
    known = {row["name"].casefold() for row in await client.servers()}
    lines = [f"- {it.name}: left out. {it.why}" for it in read.left_out]
    added = refused = 0
    for new in read.found:
        why = _already(new, known)
        if not why and not arguments.dry_run:
            why = await _registered(client, new)
            refused += bool(why)
        if why:
            lines.append(f"- {new.name}: left out. {why}")
            continue
        known.add(new.name.casefold())
        added += 1
        lines.append(f"+ {new.name}: {_described(new)}")
    would = "would be added" if arguments.dry_run else "added"
    left = len(read.left_out) + len(read.found) - added
    lines += [f"Note: {note}" for note in read.notes]
    lines.append(f"{added} {would}, {left} left out.")
    if added and not arguments.dry_run:
        lines.append("Confirm their host keys: `it0 server test NAME`")
    return _say(lines, terminal, 1 if refused else 0)


def _read_list(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_MAX_LIST_BYTES)


def _already(new: NewServer, known: set[str]) -> str:
    if new.name.casefold() in known:
        return "A server of that name is registered already."
    if new.jump and new.jump.casefold() not in known:
        return f"Its jump host {new.jump} is not registered."
    return ""


async def _registered(client: ServersClient, new: NewServer) -> str:
    """Why it was refused; empty when it was not."""
    from bots.operator import RequestRefused  # noqa: PLC0415  # --help must not import it

    body: dict[str, object] = {
        "name": new.name,
        "address": new.address,
        "port": new.port,
        "user": new.user,
        "tags": list(new.tags),
        "environment": str(new.environment),
        "jump": new.jump,
        "identity": None if new.identity is None else str(new.identity),
        "identity_file": new.identity_file,
    }
    try:
        await client.add(body)
    except RequestRefused as problem:
        return str(problem)
    return ""


def _described(new: NewServer) -> str:
    place = _at(new.user, new.address, new.port, new.jump)
    key = f", key {new.identity_file}" if new.identity_file else ""
    tags = f", tags {', '.join(new.tags)}" if new.tags else ""
    return f"{place}, {new.environment}{tags}{key}"


# -- what is shown ----------------------------------------------------------------------------


def _key(tried: TrialRow) -> str:
    if not tried["host_key"]:
        return "none needed"
    return f"{tried['host_key'].split()[0]} {tried['fingerprint']}"


def _sudo(tried: TrialRow) -> str:
    match tried["sudo"]:
        case None:
            return "never, by its policy"
        case True:
            return "works without a password"
        case _:
            return "does not work without a password"


def _place(row: ServerRow) -> str:
    if row["kind"] == "local":
        return "the machine IT0 runs on"
    return _at(row["user"], row["address"], row["port"], row["jump"])


def _at(user: str, address: str, port: int, jump: str) -> str:
    host = f"[{address}]" if ":" in address else address
    shown = "" if port == 22 else f":{port}"  # noqa: PLR2004  # SSH's own
    login = f"{user}@" if user else ""
    return f"{login}{host}{shown}" + (f" via {jump}" if jump else "")


def _trusted(row: ServerRow) -> str:
    if row["kind"] == "local":
        return "-"
    return "confirmed" if row["host_key"] else "NOT CONFIRMED"


def _ask(question: str) -> bool:
    return input(f"{question} [y/N] ").strip().casefold() in {"y", "yes"}


def _say(lines: Iterable[str], terminal: Terminal, status: int = 0) -> int:
    from bots.console_terminal import safe_text  # noqa: PLC0415  # --help needs no terminal

    for line in lines:
        print(safe_text(line), file=terminal.out)
    return status
