"""The rows of servers: how they are read and written, for whoever holds the transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa

from core.fleet.inventory import (
    Criticality,
    Environment,
    Identity,
    Server,
    ServerKind,
    SudoPolicy,
)
from core.fleet.key_texts import private_key as read_private_key
from core.refusals import Rejected
from core.sealing import seal
from storage.database import execute
from storage.rows import integer, optional_text, text

_COLUMNS = (
    "id, tenant_id, name, kind, address, port, login, tags, environment, criticality, jump,"
    " identity, identity_file, host_key, sudo, revision"
)


def sealed_for(tenant_id: str, server_id: str) -> str:
    """What a private key is bound to: copied to another row it does not open."""
    return f"{tenant_id}/{server_id}/ssh_private_key"


def list_servers(conn: sa.Connection, tenant_id: str) -> tuple[Server, ...]:
    """The tenant's servers, by name."""
    rows = execute(
        conn,
        f"SELECT {_COLUMNS} FROM servers WHERE tenant_id = :tenant ORDER BY name",
        tenant=tenant_id,
    ).all()
    return tuple(_server(row) for row in rows)


def _server(row: Sequence[object]) -> Server:
    return Server(
        id=text(row[0]),
        tenant_id=text(row[1]),
        name=text(row[2]),
        kind=ServerKind(text(row[3])),
        address=text(row[4]),
        port=integer(row[5]),
        user=text(row[6]),
        tags=tuple(json.loads(text(row[7]))),
        environment=Environment(text(row[8])),
        criticality=Criticality(text(row[9])),
        jump=text(row[10]),
        identity=Identity(text(row[11])),
        identity_file=text(row[12]),
        host_key=text(row[13]),
        sudo=SudoPolicy(text(row[14])),
        revision=integer(row[15]),
    )


def operator_tenant(conn: sa.Connection) -> str:
    """The operator's own team; empty before the installation."""
    row = execute(conn, "SELECT value FROM installation WHERE key = 'operator_tenant'").first()
    return "" if row is None else text(row[0])


def owns(conn: sa.Connection, tenant_id: str) -> bool:
    """Whether it is the operator's own team."""
    return bool(tenant_id) and operator_tenant(conn) == tenant_id


def sealed(conn: sa.Connection, tenant_id: str, server_id: str) -> str | None:
    """The stored private key behind its fingerprint, or None."""
    row = execute(
        conn,
        "SELECT sealed_key FROM servers WHERE tenant_id = :tenant AND id = :id",
        tenant=tenant_id,
        id=server_id,
    ).first()
    return None if row is None else optional_text(row[0])


def key_hints(conn: sa.Connection, tenant_id: str) -> dict[str, str]:
    """The fingerprints of the stored keys, by the servers' ids."""
    rows = execute(
        conn,
        "SELECT id, sealed_key FROM servers WHERE tenant_id = :tenant AND sealed_key IS NOT NULL",
        tenant=tenant_id,
    ).all()
    return {text(row[0]): text(row[1]).partition(" ")[0] for row in rows}


def save(conn: sa.Connection, server: Server) -> None:
    """Every column but the key's."""
    execute(
        conn,
        "UPDATE servers SET name = :name, address = :address, port = :port, login = :login,"
        " tags = :tags, environment = :environment, criticality = :criticality, jump = :jump,"
        " identity = :identity, identity_file = :file, host_key = :host_key, sudo = :sudo,"
        " revision = :revision, updated_at = {now} WHERE tenant_id = :tenant AND id = :id",
        name=server.name,
        address=server.address,
        port=server.port,
        login=server.user,
        tags=json.dumps(server.tags),
        environment=str(server.environment),
        criticality=str(server.criticality),
        jump=server.jump,
        identity=str(server.identity),
        file=server.identity_file,
        host_key=server.host_key,
        sudo=str(server.sudo),
        revision=server.revision,
        tenant=server.tenant_id,
        id=server.id,
    )


def save_key(conn: sa.Connection, seal_key: bytes, server: Server, key: str) -> None:
    """Seal a new key behind its fingerprint; one that is no longer used is forgotten."""
    if server.identity is Identity.STORED and not key:
        return
    secret = None
    if key:
        read = read_private_key(key)
        hint = "" if isinstance(read, Rejected) else read[1]
        secret = f"{hint} {seal(seal_key, key, sealed_for(server.tenant_id, server.id))}"
    execute(
        conn,
        "UPDATE servers SET sealed_key = :sealed WHERE tenant_id = :tenant AND id = :id",
        sealed=secret,
        tenant=server.tenant_id,
        id=server.id,
    )
