"""``/servers``: the team's servers, those that somebody means, or one in detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from core.commands_text import Handler, answered, code, refused
from core.fleet.inventory import (
    Ambiguous,
    Criticality,
    Environment,
    Identity,
    Inventory,
    Server,
    ServerKind,
    SudoPolicy,
    Unknown,
)
from core.fleet.key_texts import fingerprint
from core.fleet.selection import select
from core.turns import Ending, Turn
from core.words import Words, sentence

MOST_LISTED: Final = 100
"""Lines of one answer."""
_MOST_NAMED: Final = 10
_SSH_PORT: Final = 22

_ENVIRONMENTS: Final = {
    Environment.PRODUCTION: sentence("production"),
    Environment.STAGING: sentence("staging"),
    Environment.DEVELOPMENT: sentence("development"),
}
_CRITICALITIES: Final = {
    Criticality.LOW: sentence("of little weight"),
    Criticality.NORMAL: sentence("of normal weight"),
    Criticality.CRITICAL: sentence("critical"),
}
_SUDO: Final = {
    SudoPolicy.NEVER: sentence("never"),
    SudoPolicy.ASK: sentence("only when somebody approves it"),
    SudoPolicy.ALLOWED: sentence("as the command is judged"),
}
_IDENTITIES: Final = {
    Identity.STORED: sentence("a key that I keep"),
    Identity.AGENT: sentence("the SSH agent"),
    Identity.FILE: sentence("a key file of my machine"),
}


class ServerCommands:
    """Answers ``/servers``."""

    def __init__(self, inventory: Inventory) -> None:
        """Wire the port."""
        self._inventory = inventory

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {"servers": self._servers}

    async def _servers(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        fleet = await self._inventory.servers(turn.tenant_id)
        if not fleet:
            return answered(
                words("No servers are known yet. An admin adds one with `it0 server add`.")
            )
        if not rest.strip():
            return answered(_listed(fleet, words))
        match select(rest, fleet, exact=False):
            case Ambiguous(candidates=names):
                could = ", ".join(map(code, names[:_MOST_NAMED]))
                return refused(words("Several servers could be meant: {names}.", names=could))
            case Unknown(nearest=names):
                return refused(_unknown(names, words))
            case (server,):
                return answered(_details(server, fleet, words))
            case servers:
                return answered(_listed(servers, words))


def _unknown(names: Sequence[str], words: Words) -> str:
    if not names:
        return words("No server and no tag is called that. `/servers` lists them.")
    near = ", ".join(map(code, names))
    return words("No server and no tag is called that. Did you mean {names}?", names=near)


def _listed(servers: Sequence[Server], words: Words) -> str:
    lines = [_line(server, words) for server in servers[:MOST_LISTED]]
    more = len(servers) - MOST_LISTED
    if more > 0:
        lines.append(words("… and {count:,} more: `/servers tag:NAME` lists fewer.", count=more))
    return "\n".join(lines)


def _line(server: Server, words: Words) -> str:
    """Name, environment, weight when it is not the usual one, tags, and what is missing."""
    said = [words.of(_ENVIRONMENTS[server.environment])]
    if server.criticality is not Criticality.NORMAL:
        said.append(words.of(_CRITICALITIES[server.criticality]))
    said += [code(tag) for tag in server.tags]
    if server.kind is ServerKind.LOCAL:
        said.append(words("the machine I run on"))
    elif not server.host_key:
        missing = words("host key not confirmed")
        said.append(f"**{missing}**")
    return f"- {code(server.name)}: {', '.join(said)}"


def _details(server: Server, fleet: Sequence[Server], words: Words) -> str:
    where = words("the machine I run on")
    if server.kind is not ServerKind.LOCAL:
        where = code(_place(server))
        jump = next((other.name for other in fleet if other.id == server.jump), "")
        if jump:
            where = words("{address}, reached through {jump}", address=where, jump=code(jump))
    lines = [
        f"**{code(server.name)}**",
        "- " + words("Address: {address}", address=where),
        "- "
        + words(
            "Environment: {environment}, {criticality}",
            environment=words.of(_ENVIRONMENTS[server.environment]),
            criticality=words.of(_CRITICALITIES[server.criticality]),
        ),
    ]
    if server.tags:
        lines.append("- " + words("Tags: {tags}", tags=", ".join(map(code, server.tags))))
    lines.append("- " + words("Becoming root: {policy}", policy=words.of(_SUDO[server.sudo])))
    if server.kind is not ServerKind.LOCAL:
        how = words.of(_IDENTITIES[server.identity])
        lines += ["- " + words("I get in with: {identity}", identity=how), _key_line(server, words)]
    return "\n".join(lines)


def _key_line(server: Server, words: Words) -> str:
    if server.host_key:
        key = code(fingerprint(server.host_key))
        return "- " + words("Host key: {fingerprint}, confirmed", fingerprint=key)
    return "- " + words(
        "Host key: nobody confirmed one, so nothing runs there. An admin does it with "
        "`it0 server test {name}`.",
        name=server.name,
    )


def _place(server: Server) -> str:
    host = f"[{server.address}]" if ":" in server.address else server.address
    port = "" if server.port == _SSH_PORT else f":{server.port}"
    return f"{server.user}@{host}{port}" if server.user else f"{host}{port}"
