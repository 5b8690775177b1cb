"""The tables of metering and billing: quota, usage, subscriptions, invoices, ledger.

Money is BIGINT minor units beside its currency; tokens are BIGINT; times are epoch
milliseconds, UTC. A period is named by its first millisecond.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, text

from storage.columns import int_column as _int
from storage.columns import metadata
from storage.columns import text_column as _text

# -- quota ----------------------------------------------------------------------------------

quota_counters = Table(  # what a tenant used in a month; ``hard`` NULL: no limit but the cap
    "quota_counters",
    metadata,
    _text("tenant_id", key=True),
    _int("period_start", key=True),
    _int("period_end"),
    _int("used", zero=True),
    _int("reserved", zero=True),
    _int("own_used", zero=True),  # the part of ``used`` on the tenant's own account
    _int("soft"),  # the tokens that are included
    _int("hard", null=True),
    _int("cap", null=True),  # where there is no hard limit: the operator's safety cap
    _int("billed", zero=True),  # billable tokens that invoices have counted
    _int("told", zero=True),  # the highest per cent of ``soft`` that the admins were told of
)

budgets = Table(  # subject '': each one of that scope
    "budgets",
    metadata,
    _text("tenant_id", key=True),
    _text("scope", key=True),  # user, conversation, order, turn
    _text("subject", key=True),
    _int("tokens"),
    _int("updated_at"),
    _text("updated_by"),
)

budget_counters = Table(
    "budget_counters",
    metadata,
    _text("tenant_id", key=True),
    _text("scope", key=True),
    _text("subject", key=True),
    _int("period_start", key=True),
    _int("used", zero=True),
    _int("reserved", zero=True),
)

# -- events and aggregates --------------------------------------------------------------------

outbox = Table(
    "outbox",
    metadata,
    Column(  # SQLite numbers only an INTEGER key by itself
        "seq",
        BigInteger().with_variant(Integer(), "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    _text("id"),
    _text("tenant_id"),
    _text("kind"),
    _text("payload"),
    _int("created_at"),
    _int("sent_at", null=True),
    _int("attempts", zero=True),
    _int("not_before", zero=True),
    _text("problem", default=""),  # why it is put aside; empty while it is not
    Index("outbox_id", "id", unique=True),
    Index(
        "outbox_unsent",
        "seq",
        sqlite_where=text("sent_at IS NULL"),
        postgresql_where=text("sent_at IS NULL"),
    ),
    Index("outbox_sent", "sent_at"),
    Index(
        "outbox_waiting",
        "tenant_id",
        "kind",
        sqlite_where=text("sent_at IS NULL"),
        postgresql_where=text("sent_at IS NULL"),
    ),
)

processed_events = Table(
    "processed_events",
    metadata,
    _text("consumer", key=True),
    _text("event_id", key=True),
    _text("tenant_id"),
    _int("at"),
    Index("processed_events_age", "at"),
)

usage_days = Table(  # what the consumer adds up; a month is the sum of its days
    "usage_days",
    metadata,
    _text("tenant_id", key=True),
    _int("day", key=True),
    _text("model", key=True),
    _int("own_key", key=True),
    _int("calls", zero=True),
    _int("estimated_calls", zero=True),
    _int("input_tokens", zero=True),
    _int("output_tokens", zero=True),
    _int("cache_read_tokens", zero=True),
    _int("cache_write_5m_tokens", zero=True),
    _int("cache_write_1h_tokens", zero=True),
    _int("cost_pico", zero=True),
    _int("unpriced_calls", zero=True),
)

# -- plans and subscriptions ------------------------------------------------------------------

plan_versions = Table(  # never changed: a new price is a new version
    "plan_versions",
    metadata,
    _text("id", key=True),
    _text("plan"),
    _int("version"),
    _int("included_tokens"),
    _int("hard_percent", null=True),
    _int("cap_percent", null=True),
    _int("max_servers"),
    _int("max_users"),
    _int("max_standing_orders"),
    _text("prices"),  # JSON: currency -> {"base": minor, "overage": minor per million tokens}
    _int("available_from"),
    Index("plan_versions_number", "plan", "version", unique=True),
)

subscriptions = Table(
    "subscriptions",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("version_id"),  # the plan version that is in effect
    _text("currency"),
    _text("status"),
    _int("started_at"),
    _int("period_start"),
    _int("period_end"),
    _int("trial_end", null=True),
    _int("cancel_at", null=True),  # ends then
    _text("next_version_id", null=True),  # from the next period on
    _int("past_due_since", null=True),
    _int("ended_at", null=True),
    _int("revision", zero=True),  # grows with each change
    Index(
        "subscriptions_live",
        "tenant_id",
        unique=True,
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
    Index("subscriptions_tenant", "tenant_id", "started_at"),
    Index(
        "subscriptions_trials",
        "trial_end",
        sqlite_where=text("trial_end IS NOT NULL AND ended_at IS NULL"),
        postgresql_where=text("trial_end IS NOT NULL AND ended_at IS NULL"),
    ),
    Index(
        "subscriptions_due",
        "period_end",
        sqlite_where=text("ended_at IS NULL"),
        postgresql_where=text("ended_at IS NULL"),
    ),
)

plan_segments = Table(  # which plan version was in effect from when
    "plan_segments",
    metadata,
    _text("subscription_id", key=True),
    _int("starts_at", key=True),
    _int("n", key=True),  # changes within one second stand in their order
    _text("tenant_id"),
    _text("version_id"),
    _int("start_position", zero=True),  # billable tokens of the month when it began
    _int("debited_minor", zero=True),  # what was charged for it from here to the period's end
    Index("plan_segments_tenant", "tenant_id", "starts_at"),
)

quotes = Table(
    "quotes",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("user_id"),
    _text("kind"),  # upgrade, downgrade
    _text("subscription_id"),
    _int("revision"),  # of the subscription it was made for
    _text("version_id"),
    _text("currency"),
    _text("lines"),  # JSON
    _int("at"),  # the moment that proration counts from
    _int("expires_at"),
    _text("invoice_id", null=True),
    _int("used_at", null=True),
    _text("conversation_id", null=True),  # where it was asked for: that thread is told
    Index("quotes_tenant", "tenant_id", "expires_at"),
)

billing_accounts = Table(
    "billing_accounts",
    metadata,
    _text("tenant_id", key=True),
    _text("currency"),
    _text("name"),
    _text("address"),
    _text("tax_number"),
    _text("email"),
    _int("tax_rate", zero=True),  # hundredths of a per cent
    _int("updated_at"),
)

# -- invoices -----------------------------------------------------------------------------------

invoices = Table(
    "invoices",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("subscription_id"),
    _text("kind"),  # cycle, upgrade
    _text("key"),  # what it is for: a second one of that cannot be made
    _text("status"),
    _text("number", null=True),
    _text("currency"),
    _int("period_start"),
    _int("period_end"),
    _int("subtotal"),
    _int("tax_rate", zero=True),
    _int("tax", zero=True),
    _int("total"),
    _int("from_balance", zero=True),  # paid with the customer's balance when it was issued
    _int("paid", zero=True),
    _int("credited", zero=True),
    _int("needs_review", zero=True),
    _text("snapshot"),  # JSON: seller and buyer as they were when it was issued
    _text("quote_id", null=True),  # the change that takes effect when it is paid
    _int("created_at"),
    _int("issued_at", null=True),
    _int("due_at", null=True),
    _int("closed_at", null=True),  # paid, void or uncollectible
    _int("dunning_step", zero=True),
    _int("dunning_at", null=True),
    Index("invoices_key", "key", unique=True),
    Index("invoices_number", "number", unique=True),
    Index("invoices_tenant", "tenant_id", "created_at"),
    Index(
        "invoices_open",
        "tenant_id",
        "due_at",
        sqlite_where=text("status = 'open'"),
        postgresql_where=text("status = 'open'"),
    ),
    Index(
        "invoices_dunning",
        "dunning_at",
        sqlite_where=text("dunning_at IS NOT NULL"),
        postgresql_where=text("dunning_at IS NOT NULL"),
    ),
)

invoice_lines = Table(
    "invoice_lines",
    metadata,
    _text("invoice_id", key=True),
    _int("n", key=True),
    _text("tenant_id"),
    _text("kind"),
    _text("version_id"),
    _int("period_start"),
    _int("period_end"),
    _int("quantity"),  # tokens of usage lines, seconds of prorations, else 1
    _int("unit_minor", zero=True),  # the price: per million tokens, or of the whole period
    _int("amount"),
    _int("tax", zero=True),
    _int("from_position", zero=True),  # usage lines: the tokens of the month that came before
)

invoice_counters = Table(
    "invoice_counters", metadata, _text("series", key=True), _int("last", zero=True)
)

credit_notes = Table(
    "credit_notes",
    metadata,
    _text("id", key=True),
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
    Index("credit_notes_number", "number", unique=True),
    Index("credit_notes_invoice", "invoice_id"),
    Index("credit_notes_tenant", "tenant_id", "created_at"),
)

# -- ledger -------------------------------------------------------------------------------------

ledger_transactions = Table(
    "ledger_transactions",
    metadata,
    _text("id", key=True),  # (kind, reference): the fact that is booked, once
    _text("tenant_id"),
    _text("kind"),
    _text("reference"),
    _int("at"),
    Index("ledger_transactions_tenant", "tenant_id", "at"),
)

ledger_entries = Table(  # positive: debit; negative: credit
    "ledger_entries",
    metadata,
    _text("transaction_id", key=True),
    _int("n", key=True),
    _text("tenant_id"),
    _text("account"),
    _text("currency"),
    _int("amount"),
    Index("ledger_entries_account", "tenant_id", "account", "currency"),
)
