"""People and places of chat platforms: several tenants a person, links, codes, remote files.

Revision: 0002, after 0001. Expands only: a process of the version before goes on working. The
primary key of ``identities`` grows by the tenant.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


_OF_TURNS = (("sender", ""), ("source_ref", ""), ("language", ""), ("files", "[]"), ("album", ""))


def _int(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=null)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def upgrade() -> None:
    """Expand."""
    op.add_column("users", _text("language", null=True))
    for name, default in _OF_TURNS:
        op.add_column(
            "turns",
            sa.Column(name, sa.Text(), nullable=False, server_default=sa.text(f"'{default}'")),
        )
    waiting = sa.text("status = 'queued' AND album <> ''")
    op.create_index(
        "turns_album", "turns", ["album"], sqlite_where=waiting, postgresql_where=waiting
    )
    chosen = sa.Column("chosen_at", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    op.add_column("identities", chosen)
    _key_of_identities(["platform", "workspace", "external_id", "tenant_id"])
    _create_tables()


def downgrade() -> None:
    """Contract. Of a person in several tenants the oldest membership stays."""
    for name in ("shares", "feedback", "installs", "pairings", "codes", "links"):
        op.drop_table(name)
    op.execute(
        "DELETE FROM identities WHERE EXISTS (SELECT 1 FROM identities o"
        " WHERE o.platform = identities.platform AND o.workspace = identities.workspace"
        " AND o.external_id = identities.external_id AND (o.created_at < identities.created_at"
        " OR (o.created_at = identities.created_at AND o.tenant_id < identities.tenant_id)))"
    )
    _key_of_identities(["platform", "workspace", "external_id"])
    with op.batch_alter_table("identities") as batch:
        batch.drop_column("chosen_at")
    op.drop_index("turns_album", "turns")
    with op.batch_alter_table("turns") as batch:
        for name, _default in _OF_TURNS:
            batch.drop_column(name)
    with op.batch_alter_table("users") as batch:
        batch.drop_column("language")


def _key_of_identities(columns: list[str]) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("identities_pkey", "identities", type_="primary")
        op.create_primary_key("identities_pkey", "identities", columns)
        return
    naming = {"pk": "%(table_name)s_pkey"}
    with op.batch_alter_table("identities", naming_convention=naming) as batch:
        batch.drop_constraint("identities_pkey", type_="primary")
        batch.create_primary_key("identities_pkey", columns)


def _create_tables() -> None:
    op.create_table(
        "links",
        *(_text(name) for name in ("platform", "group_id", "tenant_id", "user_id")),
        _int("created_at"),
        sa.PrimaryKeyConstraint("platform", "group_id"),
    )
    op.create_index("links_tenant", "links", ["tenant_id"])
    op.create_table(
        "codes",
        *(_text(name) for name in ("hash", "tenant_id", "kind")),
        *(_text(name, null=True) for name in ("user_id", "email", "role")),
        _text("created_by"),
        _int("created_at"),
        _int("expires_at"),
        _int("used_at", null=True),
        _text("used_by", null=True),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_index("codes_tenant", "codes", ["tenant_id"])
    op.create_index("codes_age", "codes", ["expires_at"])
    op.create_table(
        "pairings",
        *(_text(name) for name in ("code", "platform", "workspace", "external_id")),
        _text("tenant_id", null=True),
        _text("name"),
        _int("created_at"),
        _int("expires_at"),
        sa.PrimaryKeyConstraint("code"),
    )
    actor = ["platform", "workspace", "external_id"]
    op.create_index("pairings_actor", "pairings", actor, unique=True)
    op.create_index("pairings_age", "pairings", ["expires_at"])
    op.create_table(
        "installs",
        *(_text(name) for name in ("platform", "workspace", "sealed")),
        _int("created_at"),
        _int("updated_at"),
        _int("revoked_at", null=True),
        sa.PrimaryKeyConstraint("platform", "workspace"),
    )
    op.create_table(
        "feedback",
        *(_text(name) for name in ("turn_id", "user_id", "tenant_id")),
        _int("good"),
        _int("created_at"),
        sa.PrimaryKeyConstraint("turn_id", "user_id"),
    )
    op.create_index("feedback_tenant", "feedback", ["tenant_id", "created_at"])
    op.create_table(
        "shares",
        *(_text(name) for name in ("conversation_id", "user_id", "tenant_id")),
        _int("created_at"),
        sa.PrimaryKeyConstraint("conversation_id", "user_id"),
    )
    op.create_index("shares_user", "shares", ["tenant_id", "user_id"])
