"""The books: what is written once, balanced, and never by halves."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from billing.ledger import Booking, BookingKind, Entry, Unbalanced, kept
from billing.money import Money
from storage.database import Database
from storage.ledger import balance, book, credit_of, found
from tests.storage.payment_places import db, migrated_file, migrated_url, place
from tests.storage.racing import rows

__all__ = ["db", "migrated_file", "migrated_url", "place"]
MONEY = kept(BookingKind.TO_BALANCE, "ten", "pay_1", "card", Money(500, "USD"))


async def test_a_fact_is_booked_once(db: Database) -> None:
    """The second time nothing is written, and it says so."""
    assert await db.transaction(book, MONEY, 1)
    assert not await db.transaction(book, MONEY, 2)
    assert await db.read(credit_of, "ten", "USD") == 500
    assert await db.read(balance, "ten", "clearing:card", "USD") == 500
    assert await rows(db, "SELECT COUNT(*) FROM ledger_entries") == [(2,)]


async def test_balances_are_kept_apart(db: Database) -> None:
    """By tenant, account and currency."""
    await db.transaction(book, MONEY, 1)
    for tenant, currency in (("ten", "CNY"), ("other", "USD")):
        assert await db.read(credit_of, tenant, currency) == 0
    assert await db.read(balance, "ten", "receivable", "USD") == 0


async def test_round_sums_are_read(db: Database) -> None:
    """PostgreSQL adds BIGINTs up to a NUMERIC, which writes 60000 as 6E+4."""
    for n in range(2):
        money = kept(BookingKind.TO_BALANCE, "ten", f"pay_{n}", "card", Money(30_000, "USD"))
        await db.transaction(book, money, 1)
    assert await db.read(credit_of, "ten", "USD") == 60_000


async def test_what_does_not_balance_is_not_written(db: Database) -> None:
    """Not even its head; and a booking of nothing leaves nothing."""
    entries = (Entry(account="tax", currency="USD", amount=1),)
    odd = Booking(kind=BookingKind.ISSUED, reference="x", tenant_id="ten", entries=entries)
    with pytest.raises(Unbalanced):
        await db.transaction(book, odd, 1)
    none = kept(BookingKind.IN_REVIEW, "ten", "pay_2", "card", Money(0, "USD"))
    assert not await db.transaction(book, none, 1)
    assert await rows(db, "SELECT COUNT(*) FROM ledger_transactions") == [(0,)]


async def test_a_booking_goes_with_its_transaction(db: Database) -> None:
    """What is undone is not in the books, and can be booked again."""

    def undone(conn: sa.Connection) -> None:
        book(conn, MONEY, 1)
        raise LookupError

    with pytest.raises(LookupError):
        await db.transaction(undone)
    assert await db.read(credit_of, "ten", "USD") == 0
    assert await db.transaction(book, MONEY, 1)


async def test_the_kind_of_a_booking_is_found(db: Database) -> None:
    """Among the kinds asked for, or none."""
    await db.transaction(book, MONEY, 1)
    kinds = (BookingKind.PAID, BookingKind.TO_BALANCE)
    assert await db.read(found, "pay_1", kinds) is BookingKind.TO_BALANCE
    assert await db.read(found, "pay_1", kinds[:1]) is None
    assert await db.read(found, "pay_2", kinds) is None
