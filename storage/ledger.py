"""The books in the database: bookings are added once, never changed, and balances derived."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from billing.ledger import BALANCE, Booking, BookingKind, balanced
from storage.database import execute
from storage.rows import integer, text


def book(conn: sa.Connection, booking: Booking, at_ms: int) -> bool:
    """Write a booking, once; False: it was there. Raises ``Unbalanced`` before it writes."""
    balanced(booking)
    if not booking.entries:
        return False
    made = execute(
        conn,
        "INSERT INTO ledger_transactions (id, tenant_id, kind, reference, at)"
        " VALUES (:id, :tenant, :kind, :reference, :at) ON CONFLICT (id) DO NOTHING RETURNING id",
        id=booking.id,
        tenant=booking.tenant_id,
        kind=str(booking.kind),
        reference=booking.reference,
        at=at_ms,
    ).first()
    if made is None:
        return False
    for n, entry in enumerate(booking.entries, 1):
        execute(
            conn,
            "INSERT INTO ledger_entries (transaction_id, n, tenant_id, account, currency, amount)"
            " VALUES (:id, :n, :tenant, :account, :currency, :amount)",
            id=booking.id,
            n=n,
            tenant=booking.tenant_id,
            account=entry.account,
            currency=entry.currency,
            amount=entry.amount,
        )
    return True


def balance(conn: sa.Connection, tenant_id: str, account: str, currency: str) -> int:
    """The sum of an account's entries, minor units: debits less credits."""
    row = execute(
        conn,
        "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM ledger_entries"
        " WHERE tenant_id = :tenant AND account = :account AND currency = :currency",
        tenant=tenant_id,
        account=account,
        currency=currency,
    ).one()
    return integer(row[0])


def credit_of(conn: sa.Connection, tenant_id: str, currency: str) -> int:
    """What the customer has with us, minor units; negative: what the next invoice adds."""
    return -balance(conn, tenant_id, BALANCE, currency)


def found(conn: sa.Connection, reference: str, kinds: Sequence[BookingKind]) -> BookingKind | None:
    """Which of these was booked for a reference, if any was."""
    for kind in kinds:
        row = execute(
            conn,
            "SELECT kind FROM ledger_transactions WHERE id = :id",
            id=f"{kind}/{reference}",
        ).first()
        if row is not None:
            return BookingKind(text(row[0]))
    return None
