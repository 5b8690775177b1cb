"""Engines and the agent of a tenant: its configuration, skills, native sessions, exact cost.

Revision: 0003, after 0002. Expands only: a process of the version before goes on working.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = ("skill_switches", "skills", "engine_sessions", "agent_configs")


def _int(name: str, *, null: bool = False, default: int | None = None) -> sa.Column[int]:
    server_default = None if default is None else sa.text(str(default))
    return sa.Column(
        name, sa.BigInteger(), autoincrement=False, nullable=null, server_default=server_default
    )


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)


def upgrade() -> None:
    """Expand."""
    op.add_column("turns", _text("model", null=True))
    op.add_column("model_calls", _int("cost_pico", null=True))
    op.add_column("model_calls", _text("price", null=True))
    op.add_column("model_calls", _int("own_key", default=0))
    deleted = sa.text("deleted_at IS NOT NULL")
    op.create_index(
        "conversations_deleted",
        "conversations",
        ["deleted_at"],
        sqlite_where=deleted,
        postgresql_where=deleted,
    )
    op.create_table(
        "agent_configs",
        _text("tenant_id"),
        _text("billing"),
        _text("api_key", null=True),
        _text("api_key_hint"),
        _text("model", null=True),
        _text("allowed_tools", null=True),
        _text("denied_tools"),
        _int("approval_timeout_s"),
        _text("on_timeout"),
        _text("prompt_addition"),
        _int("version"),
        _int("updated_at"),
        _text("updated_by"),
        sa.PrimaryKeyConstraint("tenant_id"),
    )
    op.create_table(
        "engine_sessions",
        _text("conversation_id"),
        _text("tenant_id"),
        _text("user_id"),
        _text("engine"),
        _text("token"),
        _text("turn_id"),
        _int("updated_at"),
        sa.PrimaryKeyConstraint("conversation_id"),
    )
    op.create_table(
        "skills",
        _text("tenant_id"),
        _text("name"),
        _text("description"),
        _text("body"),
        _text("triggers"),
        _text("steps"),
        _int("enabled"),
        _int("created_at"),
        _int("updated_at"),
        _text("updated_by"),
        sa.PrimaryKeyConstraint("tenant_id", "name"),
    )
    op.create_table(
        "skill_switches",
        _text("tenant_id"),
        _text("name"),
        _int("enabled"),
        _int("updated_at"),
        _text("updated_by"),
        sa.PrimaryKeyConstraint("tenant_id", "name"),
    )


def downgrade() -> None:
    """Contract."""
    for name in _TABLES:
        op.drop_table(name)
    op.drop_index("conversations_deleted", "conversations")
    with op.batch_alter_table("model_calls") as batch:
        for name in ("own_key", "price", "cost_pico"):
            batch.drop_column(name)
    with op.batch_alter_table("turns") as batch:
        batch.drop_column("model")
