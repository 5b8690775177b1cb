"""The fleet: servers over SSH, approvals, artifacts, standing orders, handovers.

Revision: 0005, after 0004. Expands only: a process of the version before goes on working.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES = (
    "standing_orders",
    "order_runs",
    "handovers",
    "artifacts",
    "approvals",
    "approval_steps",
)
_SERVER_COLUMNS = (
    "address",
    "port",
    "login",
    "tags",
    "environment",
    "criticality",
    "jump",
    "identity",
    "identity_file",
    "sealed_key",
    "host_key",
    "sudo",
    "revision",
    "updated_at",
)
_AUDIT_INDEXES = {
    "audit_log_action": ["tenant_id", "action", "seq"],
    "audit_log_actor": ["tenant_id", "actor", "seq"],
    "audit_log_at": ["tenant_id", "at"],
    "audit_log_turn": ["turn_id"],
}
_CONFIG_COLUMNS = ("four_eyes", "freeze_from", "freeze_until", "freeze_reason", "raised")

_APPEND_ONLY = "the audit log is append-only"
_GUARDED = (("audit_log", "UPDATE"), ("audit_log", "DELETE"), ("audit_heads", "DELETE"))
"""No program changes or deletes a row of the audit log, nor deletes the head of a chain."""


def _int(name: str, *, null: bool = False, default: int | None = None) -> sa.Column[int]:
    server_default = None if default is None else sa.text(str(default))
    return sa.Column(
        name, sa.BigInteger(), autoincrement=False, nullable=null, server_default=server_default
    )


def _text(name: str, *, null: bool = False, default: str | None = None) -> sa.Column[str]:
    preset = None if default is None else sa.text(f"'{default}'")
    return sa.Column(name, sa.Text(), nullable=null, server_default=preset)


def _partial_index(name: str, table: str, columns: list[str], *, where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def upgrade() -> None:
    """Expand."""
    _extend()
    _make_approvals()
    _make_orders()
    _guard_audit()


def _extend() -> None:
    with op.batch_alter_table("servers") as servers:
        servers.add_column(_text("address", default=""))
        servers.add_column(_int("port", default=22))
        servers.add_column(_text("login", default=""))
        servers.add_column(_text("tags", default="[]"))
        servers.add_column(_text("environment", default="production"))
        servers.add_column(_text("criticality", default="normal"))
        servers.add_column(_text("jump", default=""))
        servers.add_column(_text("identity", default="agent"))
        servers.add_column(_text("identity_file", default=""))
        servers.add_column(_text("sealed_key", null=True))
        servers.add_column(_text("host_key", default=""))
        servers.add_column(_text("sudo", default="ask"))
        servers.add_column(_int("revision", default=0))
        servers.add_column(_int("updated_at", default=0))
    with op.batch_alter_table("conversations") as conversations:
        conversations.add_column(_int("parked_until", null=True))
    with op.batch_alter_table("turns") as turns:
        turns.add_column(_text("order_id", default=""))
    with op.batch_alter_table("agent_configs") as configs:
        configs.add_column(_int("four_eyes", default=0))
        configs.add_column(_int("freeze_from", null=True))
        configs.add_column(_int("freeze_until", null=True))
        configs.add_column(_text("freeze_reason", default=""))
        configs.add_column(_text("raised", default="{}"))
    for name, columns in _AUDIT_INDEXES.items():
        op.create_index(name, "audit_log", columns)


def _make_approvals() -> None:
    op.create_table(
        "approvals",
        _text("id"),
        _text("tenant_id"),
        _text("turn_id"),
        _text("conversation_id"),
        _text("call_id"),
        _text("digest"),
        _text("tool"),
        _text("level"),
        _text("card"),
        _text("asked_by"),
        _int("four_eyes", default=0),
        _text("on_timeout"),
        _text("status"),
        _text("decided_by", null=True),
        _text("decided_where", null=True),
        _text("comment", default=""),
        _int("created_at"),
        _int("expires_at"),
        _int("decided_at", null=True),
        _int("used_at", null=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("approvals_call", "approvals", ["turn_id", "call_id"], unique=True)
    op.create_index("approvals_tenant", "approvals", ["tenant_id", "created_at"])
    _partial_index(
        "approvals_pending", "approvals", ["tenant_id", "turn_id"], where="status = 'pending'"
    )
    op.create_table(
        "approval_steps",
        _text("approval_id"),
        _int("n"),
        _text("tenant_id"),
        _text("digest"),
        _text("call_id", null=True),
        sa.PrimaryKeyConstraint("approval_id", "n"),
    )
    op.create_table(
        "artifacts",
        _text("id"),
        _text("tenant_id"),
        _text("turn_id"),
        _text("call_id"),
        _text("server"),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        _int("size"),
        _int("total"),
        _int("created_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("artifacts_age", "artifacts", ["created_at"])
    op.create_index("artifacts_turn", "artifacts", ["turn_id"])


def _make_orders() -> None:
    op.create_table(
        "standing_orders",
        _text("id"),
        _text("tenant_id"),
        _text("name"),
        _text("created_by"),
        _text("conversation_id"),
        _text("prompt"),
        _text("cron"),
        _text("timezone"),
        _text("misfire"),
        _int("quiet", default=0),
        _text("condition", default=""),
        _int("budget_tokens", null=True),
        _int("next_run_at", null=True),
        _text("state"),
        _text("problem", default=""),
        _int("failures", default=0),
        _int("revision", default=0),
        _int("created_at"),
        _int("updated_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("standing_orders_tenant", "standing_orders", ["tenant_id", "created_at"])
    _partial_index(
        "standing_orders_due", "standing_orders", ["next_run_at"], where="next_run_at IS NOT NULL"
    )
    op.create_table(
        "order_runs",
        _text("order_id"),
        _int("due_at"),
        _text("tenant_id"),
        _text("state"),
        _text("turn_id", null=True),
        _text("reason", default=""),
        _int("manual", default=0),
        _int("created_at"),
        sa.PrimaryKeyConstraint("order_id", "due_at"),
    )
    _partial_index("order_runs_started", "order_runs", ["turn_id"], where="state = 'started'")
    op.create_table(
        "handovers",
        _text("id"),
        _text("tenant_id"),
        _text("from_user"),
        _text("to_user", null=True),
        _text("conversation_id"),
        _int("since"),
        _text("body"),
        _int("created_at"),
        _int("accepted_at", null=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("handovers_tenant", "handovers", ["tenant_id", "created_at"])


def _guard_audit() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    if postgres:
        op.execute(
            "CREATE FUNCTION it0_append_only() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION '{_APPEND_ONLY}'; END $$"
        )
    for table, event in _GUARDED:
        does = f"BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END"
        events = event
        if postgres:
            events = event.replace("DELETE", "DELETE OR TRUNCATE")
            does = "FOR EACH STATEMENT EXECUTE FUNCTION it0_append_only()"
        name = f"{table}_no_{event.lower()}"
        op.execute(f"CREATE TRIGGER {name} BEFORE {events} ON {table} {does}")
    if not postgres:  # REPLACE deletes without asking the triggers
        op.execute(
            "CREATE TRIGGER audit_log_no_replace BEFORE INSERT ON audit_log WHEN EXISTS"
            " (SELECT 1 FROM audit_log WHERE tenant_id = NEW.tenant_id AND seq = NEW.seq)"
            f" BEGIN SELECT RAISE(ABORT, '{_APPEND_ONLY}'); END"
        )


def _leave_audit() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    for table, event in _GUARDED:
        of_table = f" ON {table}" if postgres else ""
        op.execute(f"DROP TRIGGER {table}_no_{event.lower()}{of_table}")
    if postgres:
        op.execute("DROP FUNCTION it0_append_only()")
    else:
        op.execute("DROP TRIGGER audit_log_no_replace")


def downgrade() -> None:
    """Contract."""
    _leave_audit()
    for table in _TABLES:
        op.drop_table(table)
    for name in _AUDIT_INDEXES:
        op.drop_index(name, table_name="audit_log")
    for table, columns in (
        ("agent_configs", _CONFIG_COLUMNS),
        ("turns", ("order_id",)),
        ("conversations", ("parked_until",)),
        ("servers", _SERVER_COLUMNS),
    ):
        with op.batch_alter_table(table) as altered:
            for column in columns:
                altered.drop_column(column)
