"""Every table, for Alembic and for tests; the repositories speak SQL text.

Times are BIGINT epoch milliseconds, UTC. Every row names its tenant. Migrations in
``storage/migrations`` create exactly this (``tests/storage/test_migrations.py``).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, text

from storage import agent_tables, billing_tables, fleet_tables, payment_tables, people_tables
from storage.columns import int_column as _int
from storage.columns import metadata
from storage.columns import text_column as _text

__all__ = [
    "agent_tables",
    "billing_tables",
    "fleet_tables",
    "metadata",
    "payment_tables",
    "people_tables",
]

installation = Table("installation", metadata, _text("key", key=True), _text("value"))

conversations = Table(
    "conversations",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("user_id"),
    _text("platform"),
    _text("workspace"),
    _text("channel"),
    _text("thread"),
    _text("title"),
    _int("created_at"),
    _int("updated_at"),
    _int("deleted_at", null=True),
    _int("last_seq", zero=True),  # the last message stored
    _int("done_seq", zero=True),  # the cursor: busy means done_seq < last_seq
    _int("ready_at", zero=True),  # not before: back-off, later approvals
    _text("lease_owner", null=True),
    _int("lease_epoch", zero=True),
    _int("parked_until", null=True),  # its turn waits for a human: not claimed before
    _int("renamed_at", null=True),  # news of the list, which it does not order
    Index(
        "conversations_ready",
        "ready_at",
        sqlite_where=text("done_seq < last_seq AND lease_owner IS NULL"),
        postgresql_where=text("done_seq < last_seq AND lease_owner IS NULL"),
    ),
    Index(
        "conversations_leased",
        "lease_owner",
        "tenant_id",
        sqlite_where=text("lease_owner IS NOT NULL"),
        postgresql_where=text("lease_owner IS NOT NULL"),
    ),
    Index("conversations_user", "tenant_id", "user_id", "updated_at"),
    Index(
        "conversations_busy",
        "tenant_id",
        "user_id",
        sqlite_where=text("done_seq < last_seq"),
        postgresql_where=text("done_seq < last_seq"),
    ),
    Index(
        "conversations_renamed",
        "tenant_id",
        "user_id",
        "renamed_at",
        sqlite_where=text("renamed_at IS NOT NULL"),
        postgresql_where=text("renamed_at IS NOT NULL"),
    ),
    Index(
        "conversations_gone",
        "tenant_id",
        "user_id",
        "deleted_at",
        sqlite_where=text("deleted_at IS NOT NULL"),
        postgresql_where=text("deleted_at IS NOT NULL"),
    ),
    Index(
        "conversations_deleted",
        "deleted_at",
        sqlite_where=text("deleted_at IS NOT NULL"),
        postgresql_where=text("deleted_at IS NOT NULL"),
    ),
)

places = Table(  # where people write, and the conversation each place points to
    "places",
    metadata,
    _text("tenant_id", key=True),
    _text("platform", key=True),
    _text("workspace", key=True),
    _text("channel", key=True),
    _text("thread", key=True),
    _text("conversation_id"),
    Index("places_conversation", "conversation_id"),
)

summaries = Table(
    "summaries",
    metadata,
    _text("conversation_id", key=True),
    _int("upto_seq", key=True),
    _text("tenant_id"),
    _text("text"),
    _int("created_at"),
)

turns = Table(
    "turns",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("conversation_id"),
    _int("seq"),
    _text("user_id"),
    _text("event_id"),
    _text("kind"),
    _text("overlap"),
    _text("engine", null=True),
    _text("platform"),
    _text("workspace"),
    _text("channel"),
    _text("thread"),
    _text("text"),
    _text("attachments"),  # JSON list of references
    _text("status"),  # queued, running, merged, done
    _int("attempt", zero=True),
    _int("failures", zero=True),
    _int("crowded", zero=True),
    _int("created_at"),
    _int("cancel_at", null=True),
    _text("merged_into", null=True),
    _text("outcome", null=True),
    _text("reply", null=True),
    _text("notice", null=True),
    _text("answered_by", null=True),
    _text("failure", null=True),
    _text("continue_in", null=True),
    _int("finished_at", null=True),
    _int("delivered_at", null=True),
    _text("delivery_problem", null=True),
    _text("deliverer", null=True),
    _int("deliver_until", null=True),
    _text("sender", default=""),  # the platform's id of the person, and of the message
    _text("source_ref", default=""),
    _text("language", default=""),
    _text("files", default="[]"),  # JSON list of files still at the platform
    _text("album", default=""),  # what the parts of an album share
    _text("model", null=True),  # asked for with the message
    _text("offer", null=True),  # JSON: a button under the reply and the command it stands for
    _text("order_id", default=""),  # the standing order that asked, not a person
    _text("engine_reason", default=""),  # why that engine, in the language of who asked
    Index("turns_event", "event_id", unique=True),
    Index("turns_order", "conversation_id", "seq", unique=True),
    Index(
        "turns_active",
        "conversation_id",
        unique=True,
        sqlite_where=text("status = 'running'"),
        postgresql_where=text("status = 'running'"),
    ),
    Index(
        "turns_open",
        "created_at",
        sqlite_where=text("status <> 'done'"),
        postgresql_where=text("status <> 'done'"),
    ),
    Index(
        "turns_undelivered",
        "finished_at",
        sqlite_where=text("status = 'done' AND delivered_at IS NULL"),
        postgresql_where=text("status = 'done' AND delivered_at IS NULL"),
    ),
    Index("turns_finished", "finished_at"),
    Index(
        "turns_album",
        "album",
        sqlite_where=text("status = 'queued' AND album <> ''"),
        postgresql_where=text("status = 'queued' AND album <> ''"),
    ),
    Index(
        "turns_commands",
        "tenant_id",
        "user_id",
        sqlite_where=text("kind = 'command'"),
        postgresql_where=text("kind = 'command'"),
    ),
)

turn_steps = Table(
    "turn_steps",
    metadata,
    _text("turn_id", key=True),
    _int("n", key=True),
    _text("tenant_id"),
    _int("attempt"),
    _text("kind"),
    _text("payload"),
    _int("created_at"),
)

turn_events = Table(  # one row a batch: n is the number of its first event
    "turn_events",
    metadata,
    _text("turn_id", key=True),
    _int("attempt", key=True),
    _int("n", key=True),
    _text("tenant_id"),
    _text("payload"),
)

deliveries = Table(
    "deliveries",
    metadata,
    _text("turn_id", key=True),
    _int("part", key=True),
    _text("tenant_id"),
    _text("ref"),
    _text("digest"),
    _int("updated_at"),
)

model_calls = Table(
    "model_calls",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("conversation_id"),
    _text("turn_id"),
    _text("user_id"),
    _text("engine"),
    _text("model"),
    _text("state"),
    _int("estimated_input"),
    _int("max_output"),
    _int("input_tokens", zero=True),
    _int("output_tokens", zero=True),
    _int("cache_read_tokens", zero=True),
    _int("cache_write_5m_tokens", zero=True),
    _int("cache_write_1h_tokens", zero=True),
    _int("created_at"),
    _int("settled_at", null=True),
    _int("cost_pico", null=True),  # pico-USD; NULL while it is open, and for a model without price
    _text("price", null=True),  # which row of the price table
    _int("own_key", zero=True),  # on the tenant's own account with the provider
    _int("reserved_tokens", zero=True),  # what is held of the quota for it
    _int("period_start", zero=True),  # the month whose quota it counts against
    _int("lease_until", zero=True),  # after it the hold is given back
    _int("released_at", null=True),  # when that happened: a settlement after it is late
    _text("budgets", default="[]"),  # JSON: the budget counters that it counts against
    _text("order_id", default=""),  # the standing order that asked for it
    _int("position", null=True),  # billable tokens of the tenant's month up to and with this call
    Index("model_calls_turn", "turn_id"),
    Index("model_calls_tenant", "tenant_id", "created_at"),
    Index("model_calls_position", "tenant_id", "period_start", "position"),
    Index(
        "model_calls_open",
        "lease_until",
        sqlite_where=text("state = 'reserved' AND released_at IS NULL"),
        postgresql_where=text("state = 'reserved' AND released_at IS NULL"),
    ),
)

controls = Table(  # control commands that were carried out at ingest
    "controls",
    metadata,
    _text("event_id", key=True),
    _text("tenant_id"),
    _text("conversation_id"),
    _text("user_id"),
    _text("reply"),
    _int("created_at"),
    Index("controls_age", "created_at"),
)

attachments = Table(
    "attachments",
    metadata,
    _text("tenant_id", key=True),
    _text("sha256", key=True),
    _text("media_type"),
    _int("size"),
    Column("data", LargeBinary, nullable=False),
    _int("created_at"),
)

turn_files = Table(  # which turns need a file
    "turn_files",
    metadata,
    _text("tenant_id", key=True),
    _text("sha256", key=True),
    _text("turn_id", key=True),
    Index("turn_files_turn", "turn_id"),
)

workers = Table("workers", metadata, _text("id", key=True), _int("expires_at"))

servers = Table(
    "servers",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("name"),
    _text("kind"),
    _int("created_at"),
    _text("address", default=""),
    Column("port", BigInteger, nullable=False, server_default=text("22")),
    _text("login", default=""),
    _text("tags", default="[]"),  # JSON list
    _text("environment", default="production"),
    _text("criticality", default="normal"),
    _text("jump", default=""),  # the id of the server before it
    _text("identity", default="agent"),
    _text("identity_file", default=""),
    _text("sealed_key", null=True),  # the tenant is the associated data
    _text("host_key", default=""),
    _text("sudo", default="ask"),
    _int("revision", zero=True),
    _int("updated_at", zero=True),
    Index("servers_name", "tenant_id", "name", unique=True),
)

audit_heads = Table(
    "audit_heads",
    metadata,
    _text("tenant_id", key=True),
    _int("seq"),
    _text("mac"),
)

audit_log = Table(
    "audit_log",
    metadata,
    _text("tenant_id", key=True),
    _int("seq", key=True),
    _int("at"),
    _text("actor"),
    _text("action"),
    _text("turn_id"),
    _text("detail"),
    _text("mac"),
    Index("audit_log_turn", "turn_id"),
    Index("audit_log_at", "tenant_id", "at"),
    Index("audit_log_actor", "tenant_id", "actor", "seq"),
    Index("audit_log_action", "tenant_id", "action", "seq"),
)
