"""The browser page: sessions, sign-in links, why an engine answered, news of conversations.

Revision: 0006, after 0005. Expands only: a process of the version before goes on working.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _int(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=null)


def _text(name: str, *, null: bool = False, default: str | None = None) -> sa.Column[str]:
    server_default = None if default is None else sa.text(f"'{default}'")
    return sa.Column(name, sa.Text(), nullable=null, server_default=server_default)


def _create_partial(name: str, table: str, columns: list[str], where: str) -> None:
    """An index without the rows that its questions are never about."""
    op.create_index(
        name,
        table,
        columns,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )


def upgrade() -> None:
    """Expand."""
    op.add_column("turns", _text("engine_reason", default=""))
    op.add_column("conversations", _int("renamed_at", null=True))
    op.create_table(
        "web_sessions",
        _text("id"),
        _text("tenant_id"),
        _text("user_id"),
        _text("series_hash"),
        _text("token_hash"),
        _text("next_hash", null=True),
        _text("previous_hash", null=True),
        _int("offered_at", null=True),
        _int("rotated_at"),
        _int("created_at"),
        _int("seen_at"),
        _int("expires_at"),
        _int("ends_at"),
        _int("revoked_at", null=True),
        _text("browser", default=""),
        _text("parent", null=True),
        _text("made_by", default=""),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("web_sessions_series", "web_sessions", ["series_hash"], unique=True)
    op.create_index("web_sessions_user", "web_sessions", ["tenant_id", "user_id"])
    op.create_index("web_sessions_age", "web_sessions", ["expires_at"])
    _create_partial(
        "web_sessions_revoked", "web_sessions", ["revoked_at"], "revoked_at IS NOT NULL"
    )
    op.create_index("web_sessions_maker", "web_sessions", ["tenant_id", "made_by"])
    op.create_index("web_sessions_parent", "web_sessions", ["parent"])
    op.create_table(
        "sign_in_codes",
        _text("hash"),
        _text("tenant_id"),
        _text("user_id"),
        _text("created_by"),
        _int("created_at"),
        _int("expires_at"),
        _int("ends_at", null=True),
        _int("used_at", null=True),
        _text("parent", null=True),
        _text("attempt", null=True),
        _text("session_id", null=True),
        sa.PrimaryKeyConstraint("hash"),
    )
    op.create_index("sign_in_codes_user", "sign_in_codes", ["tenant_id", "user_id"])
    op.create_index("sign_in_codes_age", "sign_in_codes", ["expires_at"])
    op.create_index("sign_in_codes_parent", "sign_in_codes", ["parent"])
    table, person = "conversations", ["tenant_id", "user_id"]
    _create_partial("conversations_busy", table, person, "done_seq < last_seq")
    _create_partial(
        "conversations_renamed", table, [*person, "renamed_at"], "renamed_at IS NOT NULL"
    )
    _create_partial("conversations_gone", table, [*person, "deleted_at"], "deleted_at IS NOT NULL")


def downgrade() -> None:
    """Contract."""
    op.drop_index("conversations_gone", "conversations")
    op.drop_index("conversations_renamed", "conversations")
    op.drop_index("conversations_busy", "conversations")
    op.drop_table("sign_in_codes")
    op.drop_table("web_sessions")
    with op.batch_alter_table("conversations") as altered:
        altered.drop_column("renamed_at")
    with op.batch_alter_table("turns") as altered:
        altered.drop_column("engine_reason")
