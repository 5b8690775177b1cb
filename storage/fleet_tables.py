"""The tables of the fleet: approvals, artifacts, standing orders, handovers."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, Table, text

from storage.columns import int_column as _int
from storage.columns import metadata
from storage.columns import text_column as _text

_PENDING = text("status = 'pending'")
_STARTED = text("state = 'started'")
_DUE = text("next_run_at IS NOT NULL")

approvals = Table(  # one for each tool call that waits, or waited, for a human
    "approvals",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("turn_id"),
    _text("conversation_id"),
    _text("call_id"),  # the model's id of the call
    _text("digest"),  # of exactly what will run
    _text("tool"),
    _text("level"),
    _text("card"),  # JSON: what an approver is shown
    _text("asked_by"),  # a user's id
    _int("four_eyes", zero=True),  # who asked may not decide
    _text("on_timeout"),  # deny, approve
    _text("status"),  # pending, approved, denied, expired, void
    _text("decided_by", null=True),  # a user's id, or system
    _text("decided_where", null=True),  # slack, telegram, web, console, ...
    _text("comment", default=""),  # the reason that the decider gave
    _int("created_at"),
    _int("expires_at"),
    _int("decided_at", null=True),
    _int("used_at", null=True),  # the call was begun: it is good for nothing else
    Index("approvals_call", "turn_id", "call_id", unique=True),
    Index("approvals_tenant", "tenant_id", "created_at"),
    Index(
        "approvals_pending",
        "tenant_id",
        "turn_id",
        sqlite_where=_PENDING,
        postgresql_where=_PENDING,
    ),
)

approval_steps = Table(  # the steps of a plan that is approved as a whole, each used up once
    "approval_steps",
    metadata,
    _text("approval_id", key=True),
    _int("n", key=True),
    _text("tenant_id"),
    _text("digest"),
    _text("call_id", null=True),  # the call that used it
)

artifacts = Table(  # whole outputs, of which the model saw a part
    "artifacts",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("turn_id"),
    _text("call_id"),
    _text("server"),
    Column("data", LargeBinary, nullable=False),  # compressed (zlib)
    _int("size"),  # bytes that are kept, uncompressed
    _int("total"),  # bytes that there were
    _int("created_at"),
    Index("artifacts_turn", "turn_id"),
    Index("artifacts_age", "created_at"),
)

standing_orders = Table(
    "standing_orders",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("name"),
    _text("created_by"),  # a user's id: it runs with this user's current role
    _text("conversation_id"),  # where it is run and told
    _text("prompt"),
    _text("cron"),
    _text("timezone"),
    _text("misfire"),  # skip, once
    _int("quiet", zero=True),  # tell only what is noteworthy
    _text("condition", default=""),  # what is noteworthy, in the person's words
    _int("budget_tokens", null=True),  # a calendar month, UTC
    _int("next_run_at", null=True),  # NULL: paused or not confirmed
    _text("state"),  # proposed, active, paused, deleted
    _text("problem", default=""),  # why it was paused by itself
    _int("failures", zero=True),  # runs in a row that failed
    _int("revision", zero=True),
    _int("created_at"),
    _int("updated_at"),
    Index("standing_orders_tenant", "tenant_id", "created_at"),
    Index("standing_orders_due", "next_run_at", sqlite_where=_DUE, postgresql_where=_DUE),
)

order_runs = Table(  # one for each due time, and for each "run now"
    "order_runs",
    metadata,
    _text("order_id", key=True),
    _int("due_at", key=True),
    _text("tenant_id"),
    _text("state"),  # started, ended, missed, skipped, refused
    _text("turn_id", null=True),
    _text("reason", default=""),
    _int("manual", zero=True),
    _int("created_at"),
    Index(
        "order_runs_started",
        "turn_id",
        sqlite_where=_STARTED,
        postgresql_where=_STARTED,
    ),
)

handovers = Table(
    "handovers",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("from_user"),
    _text("to_user", null=True),
    _text("conversation_id"),
    _int("since"),
    _text("body"),  # Markdown
    _int("created_at"),
    _int("accepted_at", null=True),
    Index("handovers_tenant", "tenant_id", "created_at"),
)
