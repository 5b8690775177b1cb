"""An invoice that is not paid: reminders, less service, and in the end none."""

from __future__ import annotations

from billing.desk import Quote
from billing.dunning import Service
from billing.invoices import Invoice, InvoiceStatus
from billing.money import Money
from billing.periods import DAY_MS, month_of
from billing.subscriptions import Status
from core.refusals import Rejected
from storage.database import Database
from storage.invoices import issue, receive, reviewed, void
from storage.quotes import offer
from storage.subscriptions import current, limits_for, service_of
from tests.storage.billing_kit import DECEMBER, FIRST_TICK, HOUR_MS, Firm
from tests.storage.invoice_kit import SELLER, Office, books_are_sound
from tests.storage.payment_places import db, migrated_file, migrated_url, place
from tests.storage.racing import rows

__all__ = ["db", "migrated_file", "migrated_url", "place"]
DUE = FIRST_TICK + 7 * DAY_MS


async def owing(db: Database) -> tuple[Firm, Invoice]:
    """A team with the invoice of its second month, due at ``DUE``."""
    firm = Firm(db)
    team = await firm.team("ten", used=1_100_000)
    await firm.run(FIRST_TICK)
    (bill,) = await firm.invoices(team)
    return firm, bill


async def status(db: Database) -> tuple[Status, str]:
    """Of the live subscription, with its plan version."""
    live = await db.transaction(current, "ten", DUE)
    return live.status, live.version_id


async def pay(
    db: Database, bill: Invoice, at_ms: int, amount: int | None = None, *, way: str = "card"
) -> str:
    """Money arrives."""
    money = Money(bill.due if amount is None else amount, "USD")
    return await db.transaction(receive, bill.id, f"pay_{at_ms}", way, money, at_ms)


async def test_the_whole_way_down(db: Database) -> None:
    """Past due on the day, reminders on days 2, 7 and 14, given up on day 21."""
    firm, bill = await owing(db)
    await firm.run(DUE - 1)
    assert await status(db) == (Status.ACTIVE, "pro-1")
    reminded = {}
    for hour in range(0, 22 * 24, 6):
        report = await firm.run(DUE + hour * HOUR_MS)
        if report.reminded:
            reminded[hour // 24] = report.given_up
        if not hour:
            assert await status(db) == (Status.PAST_DUE, "pro-1")
    assert reminded == {2: 0, 7: 0, 14: 0, 21: 1}
    (bill,) = await firm.invoices("ten")
    assert bill.status is InvoiceStatus.UNCOLLECTIBLE
    assert await status(db) == (Status.ACTIVE, "free-1")
    ended = "SELECT status FROM subscriptions WHERE ended_at IS NOT NULL"
    assert await rows(db, ended) == [("cancelled",)]
    told = [f"overdue/{bill.id}/{n}" for n in (1, 2, 3, 4)]
    assert await Office(db, "ten").events("invoice.overdue") == told
    await books_are_sound(db)


async def test_service_goes_down_with_the_days(db: Database) -> None:
    """Whether or not the run came by; what is written off owes no service."""
    firm, _ = await owing(db)
    for day, expected in (
        (-1, Service.FULL),
        (0, Service.NO_OVERAGE),
        (7, Service.READ_ONLY),
        (14, Service.OFF),
    ):
        assert await db.read(service_of, "ten", DUE + day * DAY_MS) is expected
    for day in (14, 21, 22):
        await firm.run(DUE + day * DAY_MS)
    assert await db.read(service_of, "ten", DUE + 23 * DAY_MS) is Service.FULL


async def test_a_payment_ends_it(db: Database) -> None:
    """The subscription is active again, its period as it was, and no reminder follows."""
    firm, bill = await owing(db)
    await firm.run(DUE + 8 * DAY_MS)
    assert await status(db) == (Status.PAST_DUE, "pro-1")
    assert await pay(db, bill, DUE + 9 * DAY_MS) == "invoice"
    assert await status(db) == (Status.ACTIVE, "pro-1")
    assert (await db.transaction(current, "ten", DUE)).period == DECEMBER
    report = await firm.run(DUE + 21 * DAY_MS)
    assert (report.reminded, report.given_up) == (0, 0)
    await books_are_sound(db)


async def test_every_overdue_invoice_has_to_be_paid(db: Database) -> None:
    """The next month is still due while the team owes: one payment of two changes nothing."""
    firm, first = await owing(db)
    draft = Office(db, "ten").draft("second", 9_000)
    second = await db.transaction(issue, draft, FIRST_TICK + DAY_MS, SELLER)
    await firm.run(DUE + 2 * DAY_MS)
    await pay(db, first, DUE + 2 * DAY_MS)
    assert await status(db) == (Status.PAST_DUE, "pro-1")
    await pay(db, second, DUE + 3 * DAY_MS)
    assert await status(db) == (Status.ACTIVE, "pro-1")


async def test_the_next_month_is_due_all_the_same(db: Database) -> None:
    """A team that owes is renewed and billed; its service stays what the oldest one leaves."""
    firm, _ = await owing(db)
    await firm.run(DUE)
    await Office(db, "ten").write("UPDATE invoices SET dunning_at = NULL")
    report = await firm.run(DECEMBER.end_ms + HOUR_MS)
    assert report.billed == 1
    assert await status(db) == (Status.PAST_DUE, "pro-1")


async def test_an_invoice_in_review_is_not_dunned(db: Database) -> None:
    """It waits for a person; after that the reminders go on, the missed ones as one."""
    firm, bill = await owing(db)
    assert await pay(db, bill, DUE - DAY_MS, 100) == "review"
    for day in (0, 2, 7):
        report = await firm.run(DUE + day * DAY_MS)
        assert report.reminded == 0
    assert await status(db) == (Status.ACTIVE, "pro-1")
    await db.transaction(reviewed, bill, DUE + 8 * DAY_MS)
    assert (await firm.run(DUE + 8 * DAY_MS)).reminded == 1
    told = await Office(db, "ten").events("invoice.overdue")
    assert told == [f"overdue/{bill.id}/2"]


async def test_after_an_outage_there_is_one_reminder_before_the_end(db: Database) -> None:
    """The run was away for five weeks: the team has another day to pay."""
    firm, bill = await owing(db)
    late = DUE + 22 * DAY_MS
    report = await firm.run(late)
    assert (report.reminded, report.given_up) == (1, 0)
    assert (await firm.run(late + DAY_MS - 1)).given_up == 0
    assert (await firm.run(late + DAY_MS)).given_up == 1
    told = await Office(db, "ten").events("invoice.overdue")
    assert told == [f"overdue/{bill.id}/{n}" for n in (3, 4)]


async def test_voiding_what_was_overdue_ends_it(db: Database) -> None:
    """Nothing is owed any more: the subscription is active, and its plan can be changed."""
    firm, bill = await owing(db)
    await firm.run(DUE + DAY_MS)
    assert await status(db) == (Status.PAST_DUE, "pro-1")
    await db.transaction(void, bill, DUE + DAY_MS)
    assert await status(db) == (Status.ACTIVE, "pro-1")


async def test_a_cent_short_is_made_good_by_the_cent(db: Database) -> None:
    """The operator is paged, nobody is served less for it, and marking the rest pays it."""
    firm, bill = await owing(db)
    assert await pay(db, bill, DUE - 2, bill.due - 1) == "review"
    assert len(await Office(db, "ten").events("billing.alarm")) == 1
    assert await db.transaction(service_of, "ten", DUE + 30 * DAY_MS) is Service.FULL
    assert await pay(db, bill, DUE - 1, 1, way="manual") == "invoice"
    (bill,) = await firm.invoices("ten")
    assert (bill.status, bill.needs_review) == (InvoiceStatus.PAID, False)
    await books_are_sound(db)


async def test_who_was_given_up_has_the_free_plan_alone(db: Database) -> None:
    """No tokens of the month that was not paid, and no other plan, until the debt is paid."""
    firm, bill = await owing(db)
    for day in (0, 2, 7, 14, 21):
        await firm.run(DUE + day * DAY_MS)
    end, month = DUE + 21 * DAY_MS, month_of(DUE + 21 * DAY_MS)
    limits = await db.transaction(limits_for, "ten", month, end)
    assert (limits.soft, limits.hard) == (100_000, 100_000)
    asked = await db.transaction(offer, "ten", "pro", "u", None, end)
    assert isinstance(asked, Rejected)
    assert asked.code == "unpaid_invoice"
    assert await pay(db, bill, end) == "invoice"
    assert isinstance(await db.transaction(offer, "ten", "pro", "u", None, end), Quote)
    assert (await db.transaction(limits_for, "ten", month, end)).soft > 100_000


async def test_a_base_fee_that_was_taken_back_is_not_credited_again(db: Database) -> None:
    """Whether its invoice was voided or credited in full: an upgrade then costs its full share."""
    _, bill = await owing(db)
    await db.transaction(void, bill, FIRST_TICK)
    found = await rows(db, "SELECT starts_at, debited_minor FROM plan_segments ORDER BY starts_at")
    assert found[-1] == (DECEMBER.start_ms, 0)
