"""Credit notes take back what was issued: never more, in a series of their own."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.invoices import CreditNote, InvoiceKind, InvoiceStatus
from core.refusals import Rejected
from storage.credit_notes import credit
from storage.database import Database
from storage.invoices import SqlInvoices, void, write_off
from tests.storage.invoice_kit import AT, Office, books_are_sound, office
from tests.storage.payment_kit import Hands
from tests.storage.payment_places import db, migrated_file, migrated_url, place
from tests.storage.racing import rows

__all__ = ["db", "migrated_file", "migrated_url", "place"]


async def test_a_credit_of_a_paid_invoice_goes_to_the_balance(db: Database) -> None:
    """With its share of the tax; the invoice says what was credited and stays paid."""
    team = await office(db)
    bill = await team.issued("a", 10_000, tax_rate=1_900)
    await team.receive(bill, bill.due)
    note = await db.transaction(credit, bill, 1_190, "Two days were lost", "op", AT + 7)
    assert isinstance(note, CreditNote)
    assert (note.number, note.subtotal, note.tax) == ("IT0-CN-2026-000001", 1_000, 190)
    now = await team.now(bill)
    assert (now.status, now.credited, await team.credit()) == (InvoiceStatus.PAID, 1_190, 1_190)
    assert await SqlInvoices(db, Hands()).credit_notes(team.tenant_id, bill.id) == (note,)
    assert await team.account("tax") == -1_710
    await books_are_sound(db)


async def test_a_credit_of_an_open_invoice_lowers_what_is_due(db: Database) -> None:
    """When nothing is left it is paid; what the balance had paid comes back."""
    team = await office(db)
    await team.issued("credit", -300)
    bill = await team.issued("a", 1_000)
    await db.transaction(credit, bill, 200, "r", "op", AT)
    now = await team.now(bill)
    assert (now.status, now.due, await team.credit()) == (InvoiceStatus.OPEN, 500, 0)
    await db.transaction(credit, bill, 800, "r", "op", AT)
    now = await team.now(bill)
    assert (now.status, now.due, await team.credit()) == (InvoiceStatus.PAID, 0, 300)
    await books_are_sound(db)


async def test_what_cannot_be_credited_is_refused(db: Database) -> None:
    """Too much, nothing, upgrades that are not paid, void and lost invoices; no number is taken."""
    team = await office(db)
    bill = await team.issued("a", 1_000)
    upgrade = await team.issued("u", 1_000, kind=InvoiceKind.UPGRADE)
    gone, lost = await team.issued("v", 1_000), await team.issued("w", 1_000)
    await db.transaction(void, gone, AT)
    await db.transaction(write_off, lost, AT)
    for invoice, total, code in (
        (bill, 1_001, "too_much"),
        (bill, 0, "too_much"),
        (bill, -5, "too_much"),
        (upgrade, 100, "not_creditable"),
        (gone, 100, "not_creditable"),
        (lost, 100, "not_creditable"),
    ):
        refused = await db.transaction(credit, invoice, total, "r", "op", AT)
        assert isinstance(refused, Rejected)
        assert refused.code == code
    note = await SqlInvoices(db, Hands()).credit(
        team.tenant_id, bill.number or "", 1, reason="r", by="op"
    )
    assert isinstance(note, CreditNote)
    assert note.number == "IT0-CN-2026-000001"
    await books_are_sound(db)


async def test_numbers_of_credit_notes_have_no_gaps(db: Database) -> None:
    """One that was undone leaves its number to the next, and invoices count by themselves."""
    team = await office(db)
    bill = await team.issued("a", 1_000)

    def undone(conn: sa.Connection) -> None:
        credit(conn, bill, 1, "r", "op", AT)
        raise LookupError

    for _ in range(3):
        with pytest.raises(LookupError):
            await db.transaction(undone)
        await db.transaction(credit, bill, 1, "r", "op", AT)
    found = await rows(db, "SELECT number FROM credit_notes ORDER BY number")
    assert found == [(f"IT0-CN-2026-{n:06}",) for n in (1, 2, 3)]
    assert (await team.issued("b", 1_000)).number == "IT0-2026-000002"


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    amount=st.integers(60, 10**7),
    rate=st.integers(0, 2_500),
    steps=st.lists(st.integers(-3, 10**7), min_size=1, max_size=6),
    pay_at=st.integers(0, 6),
)
async def test_an_invoice_is_credited_wholly_and_no_more(
    db: Database, amount: int, rate: int, steps: list[int], pay_at: int
) -> None:
    """Whenever it is paid: the notes sum to the invoice, tax included, and the money is back."""
    team = await office(db) if not await rows(db, "SELECT 1 FROM tenants") else None
    tenant = str((await rows(db, "SELECT id FROM tenants"))[0][0])
    team = team or Office(db, tenant)
    before = await team.credit()
    key = f"{amount}/{rate}/{steps}/{pay_at}/{len(await rows(db, 'SELECT 1 FROM invoices'))}"
    bill = await team.issued(key, amount, tax_rate=rate)
    received = 0
    for n, step in enumerate([*steps, None]):
        now = await team.now(bill)
        if n == pay_at and now.due:
            received = now.due
            assert await team.receive(bill, received, payment=key) == "invoice"
        left = now.total - now.credited
        total = left if step is None else step
        made = await db.transaction(credit, bill, total, "r", "op", AT)
        assert isinstance(made, CreditNote) == (0 < total <= left)
    now = await team.now(bill)
    sums = "SELECT CAST(SUM(subtotal) AS BIGINT), CAST(SUM(tax) AS BIGINT), CAST(SUM(total) AS BIGINT) FROM credit_notes WHERE invoice_id = :id"
    assert await rows(db, sums, id=bill.id) == [(now.subtotal, now.tax, now.total)]
    assert now.credited == now.total
    assert await team.credit() - before == received
    await books_are_sound(db)
