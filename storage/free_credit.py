"""What a customer's balance may pay: not the money that waits for another invoice's review."""

from __future__ import annotations

import sqlalchemy as sa

from storage.database import execute
from storage.ledger import credit_of
from storage.rows import integer


def free_credit(
    conn: sa.Connection, tenant_id: str, currency: str, *, but: str = "", upgrades: bool = True
) -> int:
    """The customer's credit without what came for open invoices in review; minor units.

    ``but``: the invoice that is to be paid, whose own money counts. Without ``upgrades`` the
    money of unpaid upgrades counts too, as where they are made void. Below zero: a debt.
    """
    row = execute(
        conn,
        "SELECT CAST(COALESCE(SUM(p.received), 0) AS BIGINT) FROM invoices i"
        " JOIN payments p ON p.invoice_id = i.id AND p.tenant_id = i.tenant_id"
        " WHERE i.tenant_id = :tenant AND i.status = 'open' AND i.needs_review = 1"
        " AND i.id <> :but AND (:upgrades = 1 OR i.kind <> 'upgrade')"
        " AND p.applied = 'review' AND p.received_currency = :currency",
        tenant=tenant_id,
        but=but,
        upgrades=int(upgrades),
        currency=currency,
    ).one()
    return credit_of(conn, tenant_id, currency) - integer(row[0])
