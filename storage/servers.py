"""The servers of each team; their private keys are sealed to the team and the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import sqlalchemy as sa

from core.audit import AuditEntry
from core.fleet.inventory import Identity, Server, ServerKind
from core.fleet.key_texts import fingerprint, host_key_line
from core.fleet.registry import (
    CHANGED,
    KEEP,
    NOT_ADMIN,
    UNKNOWN_SERVER,
    NewServer,
    ServerChanges,
    checked,
    local_change,
    tags_of,
)
from core.ids import new_id
from core.refusals import Rejected
from core.sealing import unseal
from core.tenants import Role, User
from core.words import sentence
from storage.audit import append_audit
from storage.database import Database, execute
from storage.plan_limits import servers_full
from storage.rows import text
from storage.server_rows import (
    key_hints,
    list_servers,
    operator_tenant,
    owns,
    save,
    save_key,
    sealed,
    sealed_for,
)

MOST_JUMPS = 5
"""Hosts between IT0 and a server."""


class SqlServers:
    """Implements ``Inventory``, ``ServerDesk`` and ``KeyCupboard``."""

    def __init__(self, db: Database, key: bytes, audit_key: bytes) -> None:
        """``key`` seals the private keys (``Keys.derive("servers")``)."""
        self._db = db
        self._keys = _Keys(seal=key, audit=audit_key)

    # -- core.fleet.inventory.Inventory ---------------------------------------------------------

    async def servers(self, tenant_id: str) -> tuple[Server, ...]:
        """See the port."""
        return await self._db.read(list_servers, tenant_id)

    async def server(self, tenant_id: str, server_id: str) -> Server | None:
        """One of the tenant's servers by its id."""
        return next((it for it in await self.servers(tenant_id) if it.id == server_id), None)

    # -- core.fleet.registry.ServerDesk ---------------------------------------------------------

    async def add(self, by: User, new: NewServer) -> Server | Rejected:
        """See the port."""
        return await self._db.transaction(_add, self._keys, by, new)

    async def change(
        self, by: User, server_id: str, changes: ServerChanges, *, revision: int | None = None
    ) -> Server | Rejected:
        """See the port."""
        return await self._db.transaction(
            _change, self._keys, by, server_id, changes, revision=revision
        )

    async def remove(self, by: User, server_id: str) -> Server | Rejected:
        """See the port."""
        return await self._db.transaction(_remove, self._keys, by, server_id)

    async def confirm_host_key(
        self, by: User, server_id: str, key: str, *, replace: bool = False
    ) -> Server | Rejected:
        """See the port."""
        return await self._db.transaction(_confirm, self._keys, by, server_id, key, again=replace)

    # -- core.fleet.registry.KeyCupboard --------------------------------------------------------

    async def private_key(self, server: Server) -> bytes | None:
        """See the port."""
        stored = await self._db.read(sealed, server.tenant_id, server.id)
        if stored is None:
            return None
        secret = stored.rpartition(" ")[2]
        return unseal(self._keys.seal, secret, sealed_for(server.tenant_id, server.id)).encode()

    async def key_hints(self, tenant_id: str) -> dict[str, str]:
        """See the port."""
        return await self._db.read(key_hints, tenant_id)

    async def operator_tenant(self) -> str:
        """The team that owns the installation; empty when there is none yet."""
        return await self._db.read(operator_tenant)

    async def owns_installation(self, tenant_id: str) -> bool:
        """See the port."""
        return await self._db.read(owns, tenant_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """The key that seals private keys, and the one that chains audit rows."""

    seal: bytes
    audit: bytes


# -- changes ----------------------------------------------------------------------------------


def _fleet(conn: sa.Connection, by: User) -> dict[str, Server] | Rejected:
    """The team's servers by id, for its admin alone; nobody else changes one until the commit.

    The role is the one of this moment. The team's row stands for all its servers: names, jump
    hosts and the plan's limit are about more than one of them.
    """
    execute(conn, "SELECT id FROM tenants WHERE id = :tenant{row}", tenant=by.tenant_id).first()
    row = execute(
        conn,
        "SELECT role FROM users WHERE id = :id AND tenant_id = :tenant AND disabled_at IS NULL",
        id=by.id,
        tenant=by.tenant_id,
    ).first()
    if row is None or Role(text(row[0])) is not Role.ADMIN:
        return NOT_ADMIN
    return {server.id: server for server in list_servers(conn, by.tenant_id)}


def _add(conn: sa.Connection, keys: _Keys, by: User, new: NewServer) -> Server | Rejected:
    fleet = _fleet(conn, by)
    if isinstance(fleet, Rejected):
        return fleet
    good = checked(new, own=owns(conn, by.tenant_id))
    if isinstance(good, Rejected):
        return good
    made = _entry(new_id("srv"), by.tenant_id, good)
    problem = _clash(made, fleet) or servers_full(conn, by.tenant_id)
    if problem is not None:
        return problem
    placed = _placed(made, good.jump, fleet)
    if isinstance(placed, Rejected):
        return placed
    execute(
        conn,
        "INSERT INTO servers (id, tenant_id, name, kind, created_at)"
        " VALUES (:id, :tenant, :name, 'ssh', {now})",
        id=placed.id,
        tenant=placed.tenant_id,
        name=placed.name,
    )
    save(conn, placed)
    save_key(conn, keys.seal, placed, good.private_key)
    detail: dict[str, str | int] = {"key": int(bool(good.private_key)), **_told(placed, _WEIGHT)}
    if placed.host_key:
        detail["fingerprint"] = fingerprint(placed.host_key)
    _note(conn, keys, by, "server.added", placed, detail)
    return placed


def _change(
    conn: sa.Connection,
    keys: _Keys,
    by: User,
    server_id: str,
    changes: ServerChanges,
    *,
    revision: int | None,
) -> Server | Rejected:
    fleet = _fleet(conn, by)
    if isinstance(fleet, Rejected):
        return fleet
    old = fleet.get(server_id)
    if old is None:
        return UNKNOWN_SERVER
    if revision is not None and revision != old.revision:
        return CHANGED
    changed = _changed(conn, old, changes, fleet)
    if isinstance(changed, Rejected):
        return changed
    new, key = changed
    if new == old and not key:
        return old
    new = replace(new, revision=old.revision + 1)
    save(conn, new)
    save_key(conn, keys.seal, new, key)
    fields = [name for name in _SHOWN if getattr(old, name) != getattr(new, name)]
    detail = _told(new, [name for name in fields if name != "host_key"])
    fields += ["private_key"] if key else []
    _note(conn, keys, by, "server.changed", new, {**detail, "fields": ",".join(fields)})
    return new


def _told(server: Server, fields: Iterable[str]) -> dict[str, str | int]:
    """These fields as they are on the record."""
    told: dict[str, str | int] = {}
    for name in fields:
        value: object = getattr(server, name)
        told[name] = ",".join(server.tags) if name == "tags" else str(value)
    return told


_WEIGHT = ("environment", "criticality", "sudo")
"""What says how carefully a server is treated."""
_SHOWN = (
    "name",
    "address",
    "port",
    "user",
    "tags",
    "environment",
    "criticality",
    "jump",
    "identity",
    "identity_file",
    "host_key",
    "sudo",
)


def _changed(
    conn: sa.Connection, old: Server, changes: ServerChanges, fleet: Mapping[str, Server]
) -> tuple[Server, str] | Rejected:
    """The server after the change, and a private key that is to be stored with it."""
    if old.kind is ServerKind.LOCAL:
        return _changed_local(old, changes)
    had_key = sealed(conn, old.tenant_id, old.id) is not None
    own = owns(conn, old.tenant_id)
    good = checked(changes.applied_to(old), own=own, had_key=had_key)
    if isinstance(good, Rejected):
        return good
    entry = replace(_entry(old.id, old.tenant_id, good), revision=old.revision)
    if (entry.address, entry.port) != (old.address, old.port):
        entry = replace(entry, host_key="")  # another machine answers there
    clash = _clash(entry, fleet)
    placed = clash or _placed(entry, good.jump, fleet)
    return placed if isinstance(placed, Rejected) else (placed, good.private_key)


def _changed_local(old: Server, changes: ServerChanges) -> tuple[Server, str] | Rejected:
    problem = local_change(old, changes)
    if problem is not None:
        return problem
    tags = old.tags if changes.tags is KEEP else tags_of(changes.tags)
    if isinstance(tags, str):
        return Rejected(code="bad_server", sentence=tags)
    new = replace(
        old,
        tags=tags,
        environment=old.environment if changes.environment is KEEP else changes.environment,
        criticality=old.criticality if changes.criticality is KEEP else changes.criticality,
        sudo=old.sudo if changes.sudo is KEEP else changes.sudo,
    )
    return new, ""


def _remove(conn: sa.Connection, keys: _Keys, by: User, server_id: str) -> Server | Rejected:
    fleet = _fleet(conn, by)
    if isinstance(fleet, Rejected):
        return fleet
    gone = fleet.get(server_id)
    if gone is None:
        return UNKNOWN_SERVER
    if gone.kind is ServerKind.LOCAL:
        said = sentence("The machine IT0 runs on stays: it cannot be removed.")
        return Rejected(code="server_needed", sentence=said)
    behind = sorted(server.name for server in fleet.values() if server.jump == gone.id)
    if behind:
        said = sentence(
            "{name} is the way to {others}: give them another jump host first, or none.",
            name=gone.name,
            others=", ".join(behind[:5]) + (" …" if behind[5:] else ""),
        )
        return Rejected(code="server_needed", sentence=said)
    execute(
        conn,
        "DELETE FROM servers WHERE tenant_id = :tenant AND id = :id",
        tenant=by.tenant_id,
        id=server_id,
    )
    _note(conn, keys, by, "server.removed", gone, {})
    return gone


def _confirm(  # as the port
    conn: sa.Connection, keys: _Keys, by: User, server_id: str, key: str, *, again: bool
) -> Server | Rejected:
    fleet = _fleet(conn, by)
    if isinstance(fleet, Rejected):
        return fleet
    old = fleet.get(server_id)
    if old is None:
        return UNKNOWN_SERVER
    if old.kind is ServerKind.LOCAL:
        said = sentence("The machine IT0 runs on needs no host key: it is not reached by SSH.")
        return Rejected(code="bad_server", sentence=said)
    line = host_key_line(key)
    if isinstance(line, Rejected):
        return line
    if line == old.host_key:
        return old
    if old.host_key and not again:
        said = sentence(
            "{name} was confirmed with another host key ({fingerprint}). Somebody may sit in "
            "between. If the machine was really set up anew, an admin confirms the new key with "
            "`it0 server trust {name} --replace`.",
            name=old.name,
            fingerprint=fingerprint(old.host_key),
        )
        return Rejected(code="host_key_changed", sentence=said)
    new = replace(old, host_key=line, revision=old.revision + 1)
    save(conn, new)
    detail: dict[str, str | int] = {"fingerprint": fingerprint(line)}
    if old.host_key:
        detail["replaced"] = fingerprint(old.host_key)
    _note(conn, keys, by, "server.host_key", new, detail)
    return new


# -- rules over several servers ---------------------------------------------------------------


def _entry(server_id: str, tenant_id: str, good: NewServer) -> Server:
    """The server of a checked entry, not yet with its jump host."""
    return Server(
        id=server_id,
        tenant_id=tenant_id,
        name=good.name,
        kind=ServerKind.SSH,
        address=good.address,
        port=good.port,
        user=good.user,
        tags=good.tags,
        environment=good.environment,
        criticality=good.criticality,
        identity=good.identity or Identity.AGENT,
        identity_file=good.identity_file,
        host_key=good.host_key,
        sudo=good.sudo,
    )


def _clash(server: Server, fleet: Mapping[str, Server]) -> Rejected | None:
    for other in fleet.values():
        if other.id != server.id and other.name.casefold() == server.name.casefold():
            said = sentence("There is a server named {name} already.", name=other.name)
            return Rejected(code="server_exists", sentence=said)
    return None


def _placed(server: Server, jump: str, fleet: Mapping[str, Server]) -> Server | Rejected:
    """The server behind its jump host, named by id or name; every way ends without a circle."""
    if not jump:
        return replace(server, jump="")
    named = [s for s in fleet.values() if jump == s.id or jump.casefold() == s.name.casefold()]
    if not named or named[0].kind is ServerKind.LOCAL:
        said = sentence("There is no server named {name} to jump through.", name=jump[:63])
        return Rejected(code="bad_server", sentence=said)
    after = replace(server, jump=named[0].id)
    whole = {**fleet, after.id: after}
    for start in whole.values():
        at, hops = start, 0
        while at.jump and at.jump in whole:
            at, hops = whole[at.jump], hops + 1
            if hops > MOST_JUMPS:
                said = sentence(
                    "That way leads in a circle, or over more than {most} jump hosts.",
                    most=MOST_JUMPS,
                )
                return Rejected(code="bad_server", sentence=said)
    return after


def _note(
    conn: sa.Connection,
    keys: _Keys,
    by: User,
    action: str,
    server: Server,
    more: dict[str, str | int],
) -> None:
    detail: dict[str, str | int] = {**more, "server": server.id, "name": server.name}
    if server.address:
        detail["address"] = f"{server.address}:{server.port}"
    entry = AuditEntry(actor=by.id, action=action, turn_id="", detail=detail)
    append_audit(conn, keys.audit, by.tenant_id, entry)
