"""The tables of payments: attempts, the inbox of notifications, the keys of repeated requests."""

from __future__ import annotations

from sqlalchemy import Column, Index, LargeBinary, Table, text

from storage.columns import int_column as _int
from storage.columns import metadata
from storage.columns import text_column as _text

payments = Table(
    "payments",
    metadata,
    _text("id", key=True),
    _text("tenant_id"),
    _text("invoice_id"),
    _text("provider"),
    _text("provider_payment_id", null=True),  # NULL until the provider answered
    _int("attempt"),
    _text("idempotency_key"),
    _text("status"),
    _text("currency"),
    _int("amount"),
    _int("received", zero=True),
    _text("received_currency", default=""),
    _text("session", default="{}"),  # JSON: what the payer sees
    _text("problem", default=""),
    _text("applied", default=""),  # what became of the money: invoice, balance, refund
    _int("created_at"),
    _int("updated_at"),
    _int("expires_at", null=True),
    _int("poll_at", null=True),
    _int("polls", zero=True),
    Index("payments_provider", "provider", "provider_payment_id", unique=True),
    Index("payments_key", "idempotency_key", unique=True),
    Index("payments_invoice", "invoice_id"),
    Index(
        "payments_poll",
        "poll_at",
        sqlite_where=text("poll_at IS NOT NULL"),
        postgresql_where=text("poll_at IS NOT NULL"),
    ),
)

webhook_events = Table(  # ids are kept for ever, payloads for 90 days
    "webhook_events",
    metadata,
    _text("provider", key=True),
    _text("event_id", key=True),
    Column("payload", LargeBinary, nullable=True),
    _text("headers", default="{}"),
    _int("received_at"),
    _int("processed_at", null=True),
    _int("attempts", zero=True),
    _int("not_before", zero=True),
    _text("problem", default=""),
    Index(
        "webhook_events_payload",
        "received_at",
        sqlite_where=text("payload IS NOT NULL"),
        postgresql_where=text("payload IS NOT NULL"),
    ),
    Index(
        "webhook_events_open",
        "not_before",
        sqlite_where=text("processed_at IS NULL"),
        postgresql_where=text("processed_at IS NULL"),
    ),
)

idempotency_keys = Table(  # of POST requests: the answer that was given, for 24 hours
    "idempotency_keys",
    metadata,
    _text("tenant_id", key=True),
    _text("user_id", key=True),
    _text("key", key=True),
    _text("request_hash"),
    _int("status", null=True),  # NULL while it is carried out
    _text("answer", default=""),
    _int("created_at"),
    Index("idempotency_keys_age", "created_at"),
)
