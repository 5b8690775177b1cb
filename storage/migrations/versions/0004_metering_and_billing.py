"""Metering and billing: quota, usage, subscriptions, invoices, ledger, payments.

Revision: 0004, after 0003. Expands only: a process of the version before goes on working.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TABLES = (
    "webhook_events",
    "usage_days",
    "subscriptions",
    "quotes",
    "quota_counters",
    "processed_events",
    "plan_versions",
    "plan_segments",
    "payments",
    "outbox",
    "ledger_transactions",
    "ledger_entries",
    "invoices",
    "invoice_lines",
    "invoice_counters",
    "idempotency_keys",
    "credit_notes",
    "budgets",
    "budget_counters",
    "billing_accounts",
)
_CALL_COLUMNS = (
    "reserved_tokens",
    "period_start",
    "lease_until",
    "released_at",
    "budgets",
    "order_id",
    "position",
)


def _int(name: str, *, null: bool = False, default: int | None = None) -> sa.Column[int]:
    server_default = None if default is None else sa.text(str(default))
    return sa.Column(
        name, sa.BigInteger(), autoincrement=False, nullable=null, server_default=server_default
    )


def _partial_index(
    name: str, table: str, columns: list[str], *, where: str, unique: bool = False
) -> None:
    condition = sa.text(where)
    op.create_index(
        name,
        table,
        columns,
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
    )


def _text(name: str, *, null: bool = False, default: str | None = None) -> sa.Column[str]:
    preset = None if default is None else sa.text(f"'{default}'")
    return sa.Column(name, sa.Text(), nullable=null, server_default=preset)


def upgrade() -> None:
    """Expand."""
    _make_invoices()
    _make_ledger_and_payments()
    _make_subscriptions()
    _extend_calls()


def _make_invoices() -> None:
    op.create_table(
        "billing_accounts",
        _text("tenant_id"),
        _text("currency"),
        _text("name"),
        _text("address"),
        _text("tax_number"),
        _text("email"),
        _int("tax_rate", default=0),
        _int("updated_at"),
        sa.PrimaryKeyConstraint("tenant_id"),
    )
    op.create_table(
        "budget_counters",
        _text("tenant_id"),
        _text("scope"),
        _text("subject"),
        _int("period_start"),
        _int("used", default=0),
        _int("reserved", default=0),
        sa.PrimaryKeyConstraint("tenant_id", "scope", "subject", "period_start"),
    )
    op.create_table(
        "budgets",
        _text("tenant_id"),
        _text("scope"),
        _text("subject"),
        _int("tokens"),
        _int("updated_at"),
        _text("updated_by"),
        sa.PrimaryKeyConstraint("tenant_id", "scope", "subject"),
    )
    op.create_table(
        "credit_notes",
        _text("id"),
        _text("tenant_id"),
        _text("invoice_id"),
        _text("number"),
        _text("currency"),
        _int("subtotal"),
        _int("tax"),
        _int("total"),
        _text("reason"),
        _text("created_by"),
        _int("created_at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("credit_notes_invoice", "credit_notes", ["invoice_id"])
    op.create_index("credit_notes_number", "credit_notes", ["number"], unique=True)
    op.create_index("credit_notes_tenant", "credit_notes", ["tenant_id", "created_at"])
    op.create_table(
        "idempotency_keys",
        _text("tenant_id"),
        _text("user_id"),
        _text("key"),
        _text("request_hash"),
        _int("status", null=True),
        _text("answer", default=""),
        _int("created_at"),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "key"),
    )
    op.create_index("idempotency_keys_age", "idempotency_keys", ["created_at"])
    op.create_table(
        "invoice_counters",
        _text("series"),
        _int("last", default=0),
        sa.PrimaryKeyConstraint("series"),
    )
    op.create_table(
        "invoice_lines",
        _text("invoice_id"),
        _int("n"),
        _text("tenant_id"),
        _text("kind"),
        _text("version_id"),
        _int("period_start"),
        _int("period_end"),
        _int("quantity"),
        _int("unit_minor", default=0),
        _int("amount"),
        _int("tax", default=0),
        _int("from_position", default=0),
        sa.PrimaryKeyConstraint("invoice_id", "n"),
    )
    op.create_table(
        "invoices",
        _text("id"),
        _text("tenant_id"),
        _text("subscription_id"),
        _text("kind"),
        _text("key"),
        _text("status"),
        _text("number", null=True),
        _text("currency"),
        _int("period_start"),
        _int("period_end"),
        _int("subtotal"),
        _int("tax_rate", default=0),
        _int("tax", default=0),
        _int("total"),
        _int("from_balance", default=0),
        _int("paid", default=0),
        _int("credited", default=0),
        _int("needs_review", default=0),
        _text("snapshot"),
        _text("quote_id", null=True),
        _int("created_at"),
        _int("issued_at", null=True),
        _int("due_at", null=True),
        _int("closed_at", null=True),
        _int("dunning_step", default=0),
        _int("dunning_at", null=True),
        sa.PrimaryKeyConstraint("id"),
    )
    _partial_index("invoices_dunning", "invoices", ["dunning_at"], where="dunning_at IS NOT NULL")
    op.create_index("invoices_key", "invoices", ["key"], unique=True)
    op.create_index("invoices_number", "invoices", ["number"], unique=True)
    _partial_index("invoices_open", "invoices", ["tenant_id", "due_at"], where="status = 'open'")
    op.create_index("invoices_tenant", "invoices", ["tenant_id", "created_at"])


def _make_ledger_and_payments() -> None:
    op.create_table(
        "ledger_entries",
        _text("transaction_id"),
        _int("n"),
        _text("tenant_id"),
        _text("account"),
        _text("currency"),
        _int("amount"),
        sa.PrimaryKeyConstraint("transaction_id", "n"),
    )
    op.create_index(
        "ledger_entries_account", "ledger_entries", ["tenant_id", "account", "currency"]
    )
    op.create_table(
        "ledger_transactions",
        _text("id"),
        _text("tenant_id"),
        _text("kind"),
        _text("reference"),
        _int("at"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ledger_transactions_tenant", "ledger_transactions", ["tenant_id", "at"])
    op.create_table(
        "outbox",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        _text("id"),
        _text("tenant_id"),
        _text("kind"),
        _text("payload"),
        _int("created_at"),
        _int("sent_at", null=True),
        _int("attempts", default=0),
        _int("not_before", default=0),
        _text("problem", default=""),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("outbox_id", "outbox", ["id"], unique=True)
    op.create_index("outbox_sent", "outbox", ["sent_at"])
    _partial_index("outbox_waiting", "outbox", ["tenant_id", "kind"], where="sent_at IS NULL")
    _partial_index("outbox_unsent", "outbox", ["seq"], where="sent_at IS NULL")
    op.create_table(
        "payments",
        _text("id"),
        _text("tenant_id"),
        _text("invoice_id"),
        _text("provider"),
        _text("provider_payment_id", null=True),
        _int("attempt"),
        _text("idempotency_key"),
        _text("status"),
        _text("currency"),
        _int("amount"),
        _int("received", default=0),
        _text("received_currency", default=""),
        _text("session", default="{}"),
        _text("problem", default=""),
        _text("applied", default=""),
        _int("created_at"),
        _int("updated_at"),
        _int("expires_at", null=True),
        _int("poll_at", null=True),
        _int("polls", default=0),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("payments_invoice", "payments", ["invoice_id"])
    op.create_index("payments_key", "payments", ["idempotency_key"], unique=True)
    _partial_index("payments_poll", "payments", ["poll_at"], where="poll_at IS NOT NULL")
    op.create_index(
        "payments_provider", "payments", ["provider", "provider_payment_id"], unique=True
    )


def _make_subscriptions() -> None:
    op.create_table(
        "plan_segments",
        _text("subscription_id"),
        _int("starts_at"),
        _int("n"),
        _text("tenant_id"),
        _text("version_id"),
        _int("start_position", default=0),
        _int("debited_minor", default=0),
        sa.PrimaryKeyConstraint("subscription_id", "starts_at", "n"),
    )
    op.create_index("plan_segments_tenant", "plan_segments", ["tenant_id", "starts_at"])
    op.create_table(
        "plan_versions",
        _text("id"),
        _text("plan"),
        _int("version"),
        _int("included_tokens"),
        _int("hard_percent", null=True),
        _int("cap_percent", null=True),
        _int("max_servers"),
        _int("max_users"),
        _int("max_standing_orders"),
        _text("prices"),
        _int("available_from"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("plan_versions_number", "plan_versions", ["plan", "version"], unique=True)
    op.create_table(
        "processed_events",
        _text("consumer"),
        _text("event_id"),
        _text("tenant_id"),
        _int("at"),
        sa.PrimaryKeyConstraint("consumer", "event_id"),
    )
    op.create_index("processed_events_age", "processed_events", ["at"])
    op.create_table(
        "quota_counters",
        _text("tenant_id"),
        _int("period_start"),
        _int("period_end"),
        _int("used", default=0),
        _int("reserved", default=0),
        _int("own_used", default=0),
        _int("soft"),
        _int("hard", null=True),
        _int("cap", null=True),
        _int("billed", default=0),
        _int("told", default=0),
        sa.PrimaryKeyConstraint("tenant_id", "period_start"),
    )
    op.create_table(
        "quotes",
        _text("id"),
        _text("tenant_id"),
        _text("user_id"),
        _text("kind"),
        _text("subscription_id"),
        _int("revision"),
        _text("version_id"),
        _text("currency"),
        _text("lines"),
        _int("at"),
        _int("expires_at"),
        _text("invoice_id", null=True),
        _int("used_at", null=True),
        _text("conversation_id", null=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("quotes_tenant", "quotes", ["tenant_id", "expires_at"])
    op.create_table(
        "subscriptions",
        _text("id"),
        _text("tenant_id"),
        _text("version_id"),
        _text("currency"),
        _text("status"),
        _int("started_at"),
        _int("period_start"),
        _int("period_end"),
        _int("trial_end", null=True),
        _int("cancel_at", null=True),
        _text("next_version_id", null=True),
        _int("past_due_since", null=True),
        _int("ended_at", null=True),
        _int("revision", default=0),
        sa.PrimaryKeyConstraint("id"),
    )
    _partial_index("subscriptions_due", "subscriptions", ["period_end"], where="ended_at IS NULL")
    _partial_index(
        "subscriptions_live",
        "subscriptions",
        ["tenant_id"],
        unique=True,
        where="ended_at IS NULL",
    )
    op.create_index("subscriptions_tenant", "subscriptions", ["tenant_id", "started_at"])
    _partial_index(
        "subscriptions_trials",
        "subscriptions",
        ["trial_end"],
        where="trial_end IS NOT NULL AND ended_at IS NULL",
    )
    op.create_table(
        "usage_days",
        _text("tenant_id"),
        _int("day"),
        _text("model"),
        _int("own_key"),
        _int("calls", default=0),
        _int("estimated_calls", default=0),
        _int("input_tokens", default=0),
        _int("output_tokens", default=0),
        _int("cache_read_tokens", default=0),
        _int("cache_write_5m_tokens", default=0),
        _int("cache_write_1h_tokens", default=0),
        _int("cost_pico", default=0),
        _int("unpriced_calls", default=0),
        sa.PrimaryKeyConstraint("tenant_id", "day", "model", "own_key"),
    )
    op.create_table(
        "webhook_events",
        _text("provider"),
        _text("event_id"),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        _text("headers", default="{}"),
        _int("received_at"),
        _int("processed_at", null=True),
        _int("attempts", default=0),
        _int("not_before", default=0),
        _text("problem", default=""),
        sa.PrimaryKeyConstraint("provider", "event_id"),
    )
    _partial_index(
        "webhook_events_payload",
        "webhook_events",
        ["received_at"],
        where="payload IS NOT NULL",
    )
    _partial_index(
        "webhook_events_open", "webhook_events", ["not_before"], where="processed_at IS NULL"
    )


def _extend_calls() -> None:
    op.add_column("model_calls", _int("reserved_tokens", default=0))
    op.add_column("model_calls", _int("period_start", default=0))
    op.add_column("model_calls", _int("lease_until", default=0))
    op.add_column("model_calls", _int("released_at", null=True))
    op.add_column("model_calls", _text("budgets", default="[]"))
    op.add_column("model_calls", _text("order_id", default=""))
    op.add_column("model_calls", _int("position", null=True))
    _partial_index(
        "model_calls_open",
        "model_calls",
        ["lease_until"],
        where="state = 'reserved' AND released_at IS NULL",
    )
    op.create_index(
        "model_calls_position", "model_calls", ["tenant_id", "period_start", "position"]
    )
    op.add_column("turns", _text("offer", null=True))


def downgrade() -> None:
    """Contract."""
    for name in _TABLES:
        op.drop_table(name)
    for name in ("model_calls_open", "model_calls_position"):
        op.drop_index(name, "model_calls")
    with op.batch_alter_table("model_calls") as batch:
        for name in _CALL_COLUMNS:
            batch.drop_column(name)
    with op.batch_alter_table("turns") as batch:
        batch.drop_column("offer")
