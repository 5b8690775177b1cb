"""Rows of payments: read, and taken up when their provider is to be asked."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa

from billing.money import Money
from billing.payment_rules import MINUTE_MS
from billing.payment_store import Begun
from billing.payments import Payment, PaymentNews, PaymentSession, PaymentStatus
from storage.database import execute
from storage.rows import integer, optional_text, text

LEASE_MS = 2 * MINUTE_MS
"""How long a worker may ask a provider before another one asks too."""
COLUMNS = (
    "id, tenant_id, invoice_id, provider, provider_payment_id, attempt, idempotency_key, status,"
    " currency, amount, received, received_currency, session, problem, applied, created_at,"
    " expires_at, poll_at, polls"
)


def due(conn: sa.Connection, at_ms: int, limit: int) -> tuple[Begun, ...]:
    """Take those whose provider is to be asked, for the length of the lease."""
    rows = execute(
        conn,
        f"SELECT {COLUMNS}, (SELECT number FROM invoices i WHERE i.id = payments.invoice_id)"
        " FROM payments WHERE poll_at IS NOT NULL AND poll_at <= :at"
        " ORDER BY poll_at LIMIT :limit{lock}",
        at=at_ms,
        limit=limit,
    ).all()
    taken = tuple(
        Begun(payment=payment_of(row), number=optional_text(row[-1]) or "") for row in rows
    )
    for begun in taken:
        execute(
            conn,
            "UPDATE payments SET poll_at = :lease, polls = polls + 1 WHERE id = :id",
            id=begun.payment.id,
            lease=at_ms + LEASE_MS,
        )
    return taken


def plan(conn: sa.Connection, payment_id: str, poll_at_ms: int | None, at_ms: int) -> None:
    """When to ask next; a payment whose money came is not asked for any more."""
    execute(
        conn,
        "UPDATE payments SET poll_at = CAST(:poll AS BIGINT), updated_at = :at"
        " WHERE id = :id AND status IN ('created', 'processing', 'failed')",
        id=payment_id,
        poll=poll_at_ms,
        at=at_ms,
    )


def find(conn: sa.Connection, provider: str, news: PaymentNews) -> Payment | None:
    """By the provider's id, else by our reference, where the provider repeats it."""
    row = execute(
        conn,
        f"SELECT {COLUMNS} FROM payments"
        " WHERE provider = :provider AND provider_payment_id = :theirs",
        provider=provider,
        theirs=news.provider_payment_id,
    ).first()
    if row is None and news.payment_id:
        row = execute(
            conn,
            f"SELECT {COLUMNS} FROM payments WHERE id = :id AND provider = :provider",
            id=news.payment_id,
            provider=provider,
        ).first()
    return None if row is None else payment_of(row)


def of_invoice(conn: sa.Connection, tenant_id: str, invoice_id: str) -> tuple[Payment, ...]:
    """The payments of an invoice, oldest first."""
    rows = execute(
        conn,
        f"SELECT {COLUMNS} FROM payments WHERE invoice_id = :invoice AND tenant_id = :tenant"
        " ORDER BY attempt",
        invoice=invoice_id,
        tenant=tenant_id,
    ).all()
    return tuple(payment_of(row) for row in rows)


def locked(conn: sa.Connection, payment_id: str) -> Payment:
    """The payment, which must be there, under its lock."""
    sql = f"SELECT {COLUMNS} FROM payments WHERE id = :id{{row}}"
    return payment_of(execute(conn, sql, id=payment_id).one())


def session_text(session: PaymentSession) -> str:
    """What the payer sees, as it is stored."""
    shown = {"instructions": session.instructions, "url": session.url, "qr": session.qr}
    return json.dumps(shown, ensure_ascii=False)


def _session_of(
    written: str, theirs: str, status: PaymentStatus, expires_at_ms: int | None
) -> PaymentSession | None:
    """An empty object: the provider has not answered yet."""
    shown = json.loads(written)
    if not shown:
        return None
    return PaymentSession(
        provider_payment_id=theirs, status=status, expires_at_ms=expires_at_ms, **shown
    )


def payment_of(row: Sequence[object]) -> Payment:
    """A row of ``COLUMNS``."""
    theirs, expires = optional_text(row[4]), _optional(row[16])
    status, came = PaymentStatus(text(row[7])), text(row[11])
    return Payment(
        id=text(row[0]),
        tenant_id=text(row[1]),
        invoice_id=text(row[2]),
        provider=text(row[3]),
        provider_payment_id=theirs,
        attempt=integer(row[5]),
        idempotency_key=text(row[6]),
        status=status,
        amount=Money(integer(row[9]), text(row[8])),
        received=Money(integer(row[10]), came) if came else None,
        session=_session_of(text(row[12]), theirs or "", status, expires),
        problem=text(row[13]),
        applied=text(row[14]),
        created_at_ms=integer(row[15]),
        expires_at_ms=expires,
        poll_at_ms=_optional(row[17]),
        polls=integer(row[18]),
    )


def _optional(value: object) -> int | None:
    return None if value is None else integer(value)
