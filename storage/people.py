"""Tenants, users, identities, tokens and servers."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from core.errors import NotFound
from core.fleet.inventory import Server
from core.ids import new_id
from core.names import plain_name
from core.tenants import Role, Tenant, User
from core.words import sentence
from storage.database import Database, execute
from storage.derived import live_parent
from storage.plan_limits import full
from storage.rows import text
from storage.server_rows import list_servers

LOCAL_PLATFORM = "it0"
"""The platform of identities that the installation itself vouches for (API, terminal)."""


class SqlPeople:
    """Who there is. Every method that names a tenant sees that tenant alone."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def install(self, *, tenant_name: str, admin_email: str) -> User:
        """Create the first tenant, its admin and its local server; later calls find them."""
        return await self._db.transaction(_install, tenant_name, admin_email)

    async def add_tenant(self, name: str, *, engine: str | None = None) -> Tenant:
        """Create a tenant without users."""
        return await self._db.transaction(_add_tenant, name, engine)

    async def add_user(self, tenant_id: str, *, email: str, name: str, role: Role) -> User | str:
        """Create a user with an API identity; a sentence when the address is taken.

        Or when the team has as many people as its plan allows.
        """
        return await self._db.transaction(_add_user, tenant_id, email, name, role)

    async def users(self, tenant_id: str) -> tuple[User, ...]:
        """The tenant's users, by address."""
        return await self._db.read(_users, tenant_id)

    async def user_by_email(self, email: str | None) -> User:
        """The user of that address in any tenant, or the first admin. Raises ``NotFound``."""
        return await self._db.read(_user_by_email, email)

    async def save_token(
        self, user: User, token_id: str, *, expires_ms: int, parent: str | None = None
    ) -> None:
        """Remember a token that was issued, so that it can be revoked, with its parent.

        Raises ``NotFound`` when the parent is no live token or session any more.
        """
        await self._db.transaction(_save_token, user, token_id, expires_ms, parent)

    async def token_user(self, token_id: str, user_id: str) -> User | None:
        """The user of a live token, with the role of this moment."""
        return await self._db.read(_token_user, token_id, user_id)

    async def servers(self, tenant_id: str) -> tuple[Server, ...]:
        """The tenant's servers, by name (``core.fleet.inventory.Inventory``)."""
        return await self._db.read(list_servers, tenant_id)


def _install(conn: sa.Connection, tenant_name: str, admin_email: str) -> User:
    # Of processes that start together, all but one wait here and find what that one made.
    execute(
        conn,
        "INSERT INTO installation (key, value) VALUES ('operator_tenant', '')"
        " ON CONFLICT DO NOTHING",
    )
    first = execute(conn, "SELECT value FROM installation WHERE key = 'operator_tenant'{row}").one()
    if text(first[0]):
        return _first_admin(conn, text(first[0]))
    tenant = _add_tenant(conn, tenant_name, None)
    execute(
        conn,
        "UPDATE installation SET value = :tenant WHERE key = 'operator_tenant'",
        tenant=tenant.id,
    )
    execute(
        conn,
        "INSERT INTO servers (id, tenant_id, name, kind, created_at)"
        " VALUES (:id, :tenant, 'local', 'local', {now})",
        id=new_id("srv"),
        tenant=tenant.id,
    )
    admin = insert_user(conn, tenant.id, admin_email, admin_email.partition("@")[0], Role.ADMIN)
    if isinstance(admin, str):
        raise TypeError(admin)
    return admin


def _first_admin(conn: sa.Connection, tenant_id: str) -> User:
    row = execute(
        conn,
        _USER + " WHERE tenant_id = :tenant AND role = 'admin' AND disabled_at IS NULL"
        " ORDER BY created_at, id LIMIT 1",
        tenant=tenant_id,
    ).first()
    if row is None:
        raise NotFound(
            sentence("This installation has no admin. Add one: it0 user add EMAIL --role admin")
        )
    return user_of_row(row)


def _add_tenant(conn: sa.Connection, name: str, engine: str | None) -> Tenant:
    tenant = Tenant(id=new_id("ten"), name=name, engine=engine)
    execute(
        conn,
        "INSERT INTO tenants (id, name, engine, created_at) VALUES (:id, :name, :engine, {now})",
        id=tenant.id,
        name=name,
        engine=engine,
    )
    return tenant


def _add_user(conn: sa.Connection, tenant_id: str, email: str, name: str, role: Role) -> User | str:
    crowd = full(conn, tenant_id)
    if crowd is not None:
        return crowd.sentence
    return insert_user(conn, tenant_id, email, name, role)


def insert_user(
    conn: sa.Connection, tenant_id: str, email: str, name: str, role: Role
) -> User | str:
    """Insert a user with their own identity; a sentence when the address is taken."""
    email = email.casefold()
    name = plain_name(name) or email.partition("@")[0]
    user = User(id=new_id("usr"), tenant_id=tenant_id, email=email, name=name, role=role)
    row = execute(
        conn,
        "INSERT INTO users (id, tenant_id, email, name, role, created_at)"
        " VALUES (:id, :tenant, :email, :name, :role, {now}) ON CONFLICT DO NOTHING RETURNING id",
        id=user.id,
        tenant=tenant_id,
        email=email,
        name=name,
        role=str(role),
    ).first()
    if row is None:
        return sentence("{email} is a user of this team already.", email=email)
    execute(
        conn,
        "INSERT INTO identities (platform, workspace, external_id, tenant_id, user_id, created_at)"
        " VALUES (:platform, '', :id, :tenant, :id, {now})",
        platform=LOCAL_PLATFORM,
        id=user.id,
        tenant=tenant_id,
    )
    return user


_USER = "SELECT id, tenant_id, email, name, role FROM users"


def user_of_row(row: Sequence[object]) -> User:
    """The user of a row of id, tenant, address, name and role."""
    return User(
        id=text(row[0]),
        tenant_id=text(row[1]),
        email=text(row[2]),
        name=text(row[3]),
        role=Role(text(row[4])),
    )


def _users(conn: sa.Connection, tenant_id: str) -> tuple[User, ...]:
    rows = execute(
        conn,
        _USER + " WHERE tenant_id = :tenant AND disabled_at IS NULL ORDER BY email",
        tenant=tenant_id,
    ).all()
    return tuple(user_of_row(row) for row in rows)


def _user_by_email(conn: sa.Connection, email: str | None) -> User:
    operator = execute(conn, "SELECT value FROM installation WHERE key = 'operator_tenant'").first()
    tenant_id = "" if operator is None else text(operator[0])
    if email is None:
        return _first_admin(conn, tenant_id)
    rows = execute(
        conn,
        _USER + " WHERE email = :email AND disabled_at IS NULL"
        " ORDER BY CASE WHEN tenant_id = :tenant THEN 0 ELSE 1 END, created_at LIMIT 1",
        email=email.casefold(),
        tenant=tenant_id,
    ).first()
    if rows is None:
        raise NotFound(
            sentence("There is no user {email}. `it0 user list` shows who there is.", email=email)
        )
    return user_of_row(rows)


def _save_token(
    conn: sa.Connection, user: User, token_id: str, expires_ms: int, parent: str | None
) -> None:
    if parent is not None and not live_parent(conn, user.tenant_id, parent):
        raise NotFound(sentence("What this token was to be made with has been revoked."))
    execute(
        conn,
        "INSERT INTO api_tokens (id, tenant_id, user_id, created_at, expires_at, parent)"
        " VALUES (:id, :tenant, :user, {now}, :expires, :parent)",
        id=token_id,
        tenant=user.tenant_id,
        user=user.id,
        expires=expires_ms,
        parent=parent,
    )


def _token_user(conn: sa.Connection, token_id: str, user_id: str) -> User | None:
    row = execute(
        conn,
        "SELECT u.id, u.tenant_id, u.email, u.name, u.role FROM api_tokens k"
        " JOIN users u ON u.id = k.user_id WHERE k.id = :id AND k.user_id = :user"
        " AND k.revoked_at IS NULL AND k.expires_at > {now} AND u.disabled_at IS NULL",
        id=token_id,
        user=user_id,
    ).first()
    return None if row is None else user_of_row(row)
