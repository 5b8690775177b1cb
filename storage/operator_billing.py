"""The operator's view of billing: invoices of every team, and what otherwise the clock does.

The only module here that is not told a tenant: who calls it holds the installation's key.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from billing.desk import InvoicePage
from billing.invoices import CreditNote, Invoice, InvoiceStatus
from core.clock import Clock
from core.refusals import Rejected
from core.words import sentence
from storage.billing_run import BillingRun, RunReport
from storage.credit_notes import credit
from storage.database import Database, execute
from storage.invoice_endings import locked
from storage.invoice_rows import COLUMNS, with_lines
from storage.invoices import void
from storage.reconcile import Difference, reconcile

NOT_FOUND = Rejected(code="not_found", sentence=sentence("There is no such invoice."))


class SqlOperatorInvoices:
    """Implements ``billing.operator.OperatorInvoices``."""

    def __init__(self, db: Database, clock: Clock) -> None:
        """Wire the database and the clock."""
        self._db = db
        self._clock = clock

    async def find(self, id_or_number: str) -> Invoice | Rejected:
        """See the port."""
        return await self._db.read(_find, id_or_number)

    async def page(self, *, status: InvoiceStatus | None, limit: int) -> InvoicePage:
        """See the port; without a way to go on: the operator has the database for that."""
        found = await self._db.read(_page, status, limit + 1)
        older = found[limit - 1].id if len(found) > limit else None
        return InvoicePage(invoices=found[:limit], next_cursor=older)

    async def void(self, id_or_number: str, *, by: str) -> Invoice | Rejected:
        """See the port. Who did it is in the books' time and the process's log."""
        del by
        return await self._db.transaction(_void, id_or_number, self._clock.now_ms())

    async def credit(
        self, id_or_number: str, total: int, *, reason: str, by: str
    ) -> CreditNote | Rejected:
        """See the port."""
        return await self._db.transaction(
            _credit, id_or_number, total, reason, by, self._clock.now_ms()
        )


class SqlOperatorRuns:
    """Implements ``billing.operator.OperatorRuns``."""

    def __init__(self, db: Database, clock: Clock, billing: BillingRun) -> None:
        """Wire the database, the clock, and the run that the clock starts otherwise."""
        self._db = db
        self._clock = clock
        self._billing = billing

    async def run(self, at_ms: int | None) -> RunReport:
        """See the port."""
        return await self._billing.run(at_ms)

    async def reconcile(self) -> Sequence[Difference]:
        """See the port; every month, not only the latest."""
        return await reconcile(self._db, self._clock.now_ms())


def _find(conn: sa.Connection, id_or_number: str) -> Invoice | Rejected:
    rows = execute(
        conn,
        f"SELECT {COLUMNS} FROM invoices WHERE (id = :it OR number = :it) AND status <> 'draft'",
        it=id_or_number,
    ).all()
    return with_lines(conn, rows)[0] if rows else NOT_FOUND


def _page(conn: sa.Connection, status: InvoiceStatus | None, limit: int) -> tuple[Invoice, ...]:
    """In the order of their ids, which are made in the order of time and have an index."""
    rows = execute(
        conn,
        f"SELECT {COLUMNS} FROM invoices WHERE status <> 'draft'"
        " AND (CAST(:status AS TEXT) = '' OR status = :status) ORDER BY id DESC LIMIT :limit",
        status=str(status or ""),
        limit=limit,
    ).all()
    return with_lines(conn, rows)


def _void(conn: sa.Connection, id_or_number: str, at_ms: int) -> Invoice | Rejected:
    invoice = _find(conn, id_or_number)
    if isinstance(invoice, Rejected):
        return invoice
    invoice = locked(conn, invoice.id)
    if invoice.paid:
        return Rejected(
            code="partly_paid",
            sentence=sentence("A part of this invoice is paid: credit it instead."),
        )
    done = void(conn, invoice, at_ms)
    if done.status is not InvoiceStatus.VOID:
        return Rejected(
            code="not_open",
            sentence=sentence(
                "This invoice is {status}; only an open one can be void. Credit it instead.",
                status=str(done.status),
            ),
        )
    return done


def _credit(
    conn: sa.Connection, id_or_number: str, total: int, reason: str, by: str, at_ms: int
) -> CreditNote | Rejected:
    invoice = _find(conn, id_or_number)
    if isinstance(invoice, Rejected):
        return invoice
    return credit(conn, invoice, total, reason, by, at_ms)
