"""Invoices are issued once, with the next number, and never change after that."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from billing.invoices import InvoiceKind, InvoiceStatus, Party
from billing.periods import DAY_MS
from core.refusals import Rejected
from storage.credit_notes import credit
from storage.database import Database, execute
from storage.invoices import SqlInvoices, issue, load, reviewed, void, write_off
from tests.storage.invoice_kit import AT, SELLER, books_are_sound, numbers, office
from tests.storage.payment_kit import Hands
from tests.storage.payment_places import db, migrated_file, migrated_url, place
from tests.storage.racing import rows

__all__ = ["db", "migrated_file", "migrated_url", "place"]


async def test_an_issued_invoice_is_whole(db: Database) -> None:
    """Number, seller, buyer, lines with their tax, due date, an event, and what is owed."""
    team = await office(db)
    made = await team.issued("k", 5_000, -1_250, tax_rate=1_900)
    assert (made.number, made.status) == ("IT0-2026-000001", InvoiceStatus.OPEN)
    assert (made.subtotal, made.tax, made.total, made.due) == (3_750, 712, 4_462, 4_462)
    assert made.line_taxes == (950, -238)
    assert (made.seller, made.buyer.name) == (SELLER, "Team Ü")
    assert (made.issued_at_ms, made.due_at_ms) == (AT, AT + 7 * DAY_MS)
    assert await team.events("invoice.issued") == [f"issued/{made.id}"]
    assert await team.account("receivable") == 4_462
    assert await team.account("revenue") == -3_750
    assert await team.account("tax") == -712
    assert made == await team.now(made)
    await books_are_sound(db)


async def test_an_account_names_the_buyer(db: Database) -> None:
    """Name, address, tax number and address for mail as they were when it was issued."""
    team = await office(db)
    sql = "UPDATE billing_accounts SET name = :n, address = 'A', tax_number = 'X', email = 'e@x'"
    await team.write(sql, n="Buyer & 子 GmbH")
    made = await team.issued("k", 100)
    await team.write(sql, n="Other")
    buyer = Party(name="Buyer & 子 GmbH", address="A", tax_number="X", email="e@x")
    assert (await team.now(made)).buyer == buyer


async def test_a_key_is_issued_once(db: Database) -> None:
    """The second call returns the first invoice, takes no number and books nothing."""
    team = await office(db)
    first = await team.issued("k", 5_000)
    again = await team.issued("k", 9_999)
    assert again == first
    assert await numbers(db) == ["IT0-2026-000001"]
    assert await team.account("receivable") == 5_000
    assert (await team.issued("other", 1_000)).number == "IT0-2026-000002"


async def test_numbers_have_no_gaps_after_rollbacks(db: Database) -> None:
    """An invoice that was undone leaves its number to the next; each year has its series."""
    team = await office(db)

    def undone(conn: sa.Connection) -> None:
        issue(conn, team.draft("gone", 5_000), AT, SELLER)
        raise LookupError

    await team.issued("a", 100)
    with pytest.raises(LookupError):
        await db.transaction(undone)
    await team.issued("b", 100)
    await db.transaction(issue, team.draft("c", 100), AT + 60 * DAY_MS, SELLER)
    assert await numbers(db) == ["IT0-2026-000001", "IT0-2026-000002", "IT0-2027-000001"]


async def test_the_balance_pays_first(db: Database) -> None:
    """A credit pays what it can of the next invoices, and what it paid is on them."""
    team = await office(db)
    credited = await team.issued("credit", -7_000)
    assert (credited.status, credited.due) == (InvoiceStatus.PAID, 0)
    assert await team.credit() == 7_000
    whole = await team.issued("a", 5_000)
    assert (whole.status, whole.from_balance) == (InvoiceStatus.PAID, 5_000)
    part = await team.issued("b", 5_000)
    assert (part.status, part.from_balance, part.due) == (InvoiceStatus.OPEN, 2_000, 3_000)
    assert await team.credit() == 0
    await books_are_sound(db)


async def test_too_little_to_collect_is_asked_for_with_the_next(db: Database) -> None:
    """Less than 50 cents are a debt of the balance: that invoice is paid, the next adds it."""
    team = await office(db)
    small = await team.issued("a", 30)
    assert (small.status, small.due) == (InvoiceStatus.PAID, 0)
    assert await team.credit() == -30
    following = await team.issued("b", 1_000)
    assert (following.from_balance, following.due) == (-30, 1_030)
    assert await team.receive(following, 1_030) == "invoice"
    assert await team.credit() == 0
    await books_are_sound(db)


async def test_void_gives_the_balance_back(db: Database) -> None:
    """The number stays, nothing is owed, and a second time changes nothing."""
    team = await office(db)
    await team.issued("credit", -400)
    bill = await team.issued("a", 1_000, kind=InvoiceKind.UPGRADE)
    assert bill.due == 600
    for _ in range(2):
        gone = await db.transaction(void, bill, AT + 5)
        assert (gone.status, gone.number, gone.due) == (InvoiceStatus.VOID, bill.number, 0)
    assert await team.credit() == 400
    await books_are_sound(db)


async def test_what_is_written_off_may_still_be_paid(db: Database) -> None:
    """The loss is taken back when the money comes after all."""
    team = await office(db)
    bill = await team.issued("a", 1_000)
    assert (await db.transaction(write_off, bill, AT)).status is InvoiceStatus.UNCOLLECTIBLE
    assert await team.account("uncollectible") == 1_000
    assert await team.receive(bill, 1_000) == "invoice"
    assert (await team.now(bill)).status is InvoiceStatus.PAID
    assert await team.account("uncollectible") == 0
    await books_are_sound(db)


MAY_CHANGE = {
    *("status", "paid", "credited", "needs_review", "closed_at", "dunning_step", "dunning_at")
}
"""What becomes of an invoice; the rest is what it says."""


async def test_no_function_changes_what_an_invoice_says(db: Database) -> None:
    """Issued again, paid, overpaid, credited, reviewed, void, written off: no other column."""
    team = await office(db)
    bill = await team.issued("a", 5_000, 25, tax_rate=1_900)
    columns = (
        await rows(db, "SELECT * FROM invoices"),
        await rows(db, "SELECT * FROM invoice_lines"),
    )

    async def unchanged() -> None:
        now = await rows(db, "SELECT * FROM invoices WHERE key = 'a'")
        names = [column.name for column in _columns()]
        changed = {
            name for name, old, new in zip(names, columns[0][0], now[0], strict=True) if old != new
        }
        assert changed <= MAY_CHANGE
        lines = "SELECT * FROM invoice_lines WHERE invoice_id = :id ORDER BY n"
        assert await rows(db, lines, id=bill.id) == columns[1]

    await db.transaction(issue, replace(team.draft("a", 1), tax_rate=7), AT + 9, Party(name="X"))
    await unchanged()
    await db.transaction(credit, bill, 100, "r", "by", AT)
    await team.receive(bill, 10)
    await unchanged()
    await db.transaction(reviewed, bill, AT)
    await db.transaction(write_off, bill, AT)
    await unchanged()
    await team.receive(bill, 10_000)
    await team.receive(bill, 10_000)
    await db.transaction(void, bill, AT)
    await db.transaction(credit, bill, 100, "r", "by", AT)
    await unchanged()
    assert (await team.now(bill)).status is InvoiceStatus.PAID


def _columns() -> list[sa.Column[object]]:
    from storage.billing_tables import invoices

    return list(invoices.columns)


async def test_pages_show_the_newest_first(db: Database) -> None:
    """Every invoice once, page by page; drafts and other teams' are not shown."""
    team = await office(db)
    for number in range(7):
        await team.issued(f"k{number}", 1_000 + number)
    desk = SqlInvoices(db, Hands())
    await team.write(
        "INSERT INTO invoices (id, tenant_id, subscription_id, kind, key, status, currency,"
        " period_start, period_end, subtotal, total, snapshot, created_at) VALUES"
        " ('d', :t, 's', 'cycle', 'd', 'draft', 'USD', 1, 2, 1, 1, '{}', 1),"
        " ('o', 'other', 's', 'cycle', 'o', 'open', 'USD', 1, 2, 1, 1, '{}', 1)",
        t=team.tenant_id,
    )
    seen, cursor = [], None
    while True:
        page = await desk.invoices(team.tenant_id, cursor=cursor, limit=3)
        assert not isinstance(page, Rejected)
        seen += [invoice.number for invoice in page.invoices]
        if (cursor := page.next_cursor) is None:
            break
    assert sorted(seen, key=str) == await numbers(db)
    first = await desk.invoice(team.tenant_id, "IT0-2026-000001")
    assert not isinstance(first, Rejected)
    await team.receive(first, first.due)
    paid = await desk.invoices(team.tenant_id, status=InvoiceStatus.PAID)
    assert not isinstance(paid, Rejected)
    assert [invoice.id for invoice in paid.invoices] == [first.id]


async def test_a_made_up_cursor_is_refused(db: Database) -> None:
    """As a value, with what to do."""
    desk = SqlInvoices(db, Hands())
    for cursor in ("", "x", "1", "1.", "-1.a", "9" * 40 + ".a", "٣.a"):
        refused = await desk.invoices("ten", cursor=cursor)
        assert isinstance(refused, Rejected)
        assert refused.code == "bad_cursor"


async def test_other_teams_see_nothing(db: Database) -> None:
    """Neither by id nor by number, nor its credit notes or lines."""
    team = await office(db)
    bill = await team.issued("a", 5_000)
    await db.transaction(credit, bill, 100, "r", "by", AT)
    desk = SqlInvoices(db, Hands())
    for name in (bill.id, bill.number or ""):
        assert await db.read(load, "other", name) is None
        for found in (await desk.invoice("other", name), await desk.explain("other", name, 1)):
            assert isinstance(found, Rejected)
        assert isinstance(await desk.credit("other", name, 1, reason="r", by="b"), Rejected)
        assert isinstance(await desk.review("other", name), Rejected)
    assert await desk.credit_notes("other", bill.id) == ()
    assert len(await desk.credit_notes(team.tenant_id, bill.id)) == 1


async def test_a_locked_invoice_is_read_by_its_number(db: Database) -> None:
    """``load`` with a lock works on both databases."""
    team = await office(db)
    bill = await team.issued("a", 5_000)

    def again(conn: sa.Connection) -> bool:
        execute(conn, "SELECT 1").all()
        return load(conn, team.tenant_id, bill.number or "", lock="{row}") == bill

    assert await db.transaction(again)


async def test_an_invoice_is_printed(db: Database) -> None:
    """As PDF, with the plan's name and its credit notes; another team gets none."""
    team = await office(db)
    bill = await team.issued("a", 5_000, tax_rate=1_900)
    await db.transaction(credit, bill, 100, "r", "by", AT)
    desk = SqlInvoices(db, Hands())
    for language in ("en", "zh-hans"):
        pdf = await desk.pdf(team.tenant_id, bill.number or "", language)
        assert isinstance(pdf, bytes)
        assert pdf.startswith(b"%PDF-")
    assert isinstance(await desk.pdf("other", bill.id, "en"), Rejected)
