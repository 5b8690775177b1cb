"""What people are told of events: the sentence of each, to whom, and when there is none."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from billing.events import Event
from core.tenants import Role, User
from storage.announcements import SqlNotices
from storage.consumers import consume_once
from storage.database import Database, execute
from storage.notices import KINDS, tell
from storage.people import SqlPeople
from tests.storage.events_kit import MONTH_MS, NEXT_MONTH_MS, START_MS
from tests.storage.kit import install
from tests.storage.payment_kit import add_invoice
from tests.storage.racing import finish, leased, rows

INVOICE = "inv_1"
PERIOD: dict[str, object] = {"period_start": MONTH_MS}


@pytest.fixture
async def admin(db: Database) -> User:
    """Of an installation; they wrote once, over the API."""
    user = await install(db)
    await finish(db, await leased(db, user))
    return user


async def write(db: Database, sql: str, **params: str | int | None) -> None:
    """Write behind the code's back."""

    def work(conn: sa.Connection) -> None:
        execute(conn, sql, **params)

    await db.transaction(work)


async def said(
    db: Database, admin: User, kind: str, payload: dict[str, object], key: str = "e/1"
) -> str | None:
    """What the event makes IT0 say; None: nothing."""
    event = Event(
        id=key, tenant_id=admin.tenant_id, kind=kind, payload=payload, created_at_ms=START_MS
    )
    for _ in range(2):  # delivered twice
        await db.transaction(consume_once, "notices", tell, event, START_MS)
    turns = await rows(db, "SELECT id FROM turns WHERE text = :text", text=f"/notice {key}")
    message = await SqlNotices(db).notice(admin.tenant_id, key)
    assert len(turns) == (message is not None)
    return message


async def counter(
    db: Database, admin: User, *, soft: int, hard: int | None, cap: int | None = None, told: int = 0
) -> None:
    """The month's limits."""
    await write(
        db,
        "INSERT INTO quota_counters (tenant_id, period_start, period_end, soft, hard, cap, told)"
        " VALUES (:tenant, :start, :end, :soft, CAST(:hard AS BIGINT), CAST(:cap AS BIGINT),"
        " :told)",
        tenant=admin.tenant_id,
        start=MONTH_MS,
        end=NEXT_MONTH_MS,
        soft=soft,
        hard=hard,
        cap=cap,
        told=told,
    )


async def quoted(db: Database, admin: User, conversation: str) -> None:
    """The invoice stands for a change that was asked for there, and carried out."""
    await write(
        db,
        "INSERT INTO plan_versions (id, plan, version, included_tokens, max_servers, max_users,"
        " max_standing_orders, prices, available_from)"
        " VALUES ('pro-1', 'pro', 1, 1, 1, 1, 1, '{}', 0) ON CONFLICT DO NOTHING",
    )
    await write(
        db,
        "INSERT INTO quotes (id, tenant_id, user_id, kind, subscription_id, revision, version_id,"
        " currency, lines, at, expires_at, used_at, conversation_id) VALUES ('quo_1', :tenant,"
        " :user, 'upgrade', 'sub', 0, 'pro-1', 'USD', '[]', 1, 1, 1, :conversation)",
        tenant=admin.tenant_id,
        user=admin.id,
        conversation=conversation,
    )
    await write(db, "UPDATE invoices SET quote_id = 'quo_1'")


async def test_eighty_per_cent_is_told_with_the_day_it_ends(db: Database, admin: User) -> None:
    """And nothing of limits that are not near."""
    await counter(db, admin, soft=100_000, hard=100_000)
    assert await said(db, admin, "quota.threshold", PERIOD | {"percent": 80}) == (
        "Your team has used 80 % of the 100,000 tokens that its plan includes this month. The "
        "count begins anew on 2026-12-01 (UTC). `/usage` shows where you stand, `/upgrade` what "
        "a larger plan costs."
    )


@pytest.mark.parametrize(
    ("hard", "expected"),
    [
        (100_000, "Until 2026-12-01 (UTC) I only read and answer offline."),
        (150_000, "what you use until 2026-12-01 (UTC) is billed as overage."),
        (None, "what you use until 2026-12-01 (UTC) is billed as overage."),
    ],
)
async def test_the_end_of_the_allowance_says_what_follows(
    db: Database, admin: User, hard: int | None, expected: str
) -> None:
    """A plan without overage stops; with overage it goes on, and costs."""
    await counter(db, admin, soft=100_000, hard=hard)
    assert expected in str(await said(db, admin, "quota.threshold", PERIOD | {"percent": 100}))


async def test_the_limit_is_told_unless_it_was(db: Database, admin: User) -> None:
    """A refusal at an allowance of which 100 % was told is no second piece of news."""
    await counter(db, admin, soft=100_000, hard=150_000, told=100)
    assert "limit of 150,000 tokens" in str(await said(db, admin, "quota.exceeded", PERIOD))
    await write(db, "UPDATE quota_counters SET hard = soft")
    assert await said(db, admin, "quota.exceeded", PERIOD, "e/2") is None
    await write(db, "UPDATE quota_counters SET told = 80")
    assert "limit of 100,000" in str(await said(db, admin, "quota.exceeded", PERIOD, "e/3"))


async def test_the_safety_cap_is_told(db: Database, admin: User) -> None:
    """With the operator as the one who can raise it; the refusal itself says nothing more."""
    await counter(db, admin, soft=10, hard=None, cap=100)
    assert await said(db, admin, "quota.exceeded", PERIOD, "e/2") is None
    told = str(await said(db, admin, "quota.alarm", PERIOD))
    assert "safety limit of 100 tokens" in told
    assert "operator" in told


async def test_an_invoice_is_told_while_something_is_due(db: Database, admin: User) -> None:
    """With the amount that is left, the day, and how to pay; a paid one is no news."""
    await db.transaction(add_invoice, admin.tenant_id, 1)
    await write(db, "UPDATE invoices SET from_balance = 999")
    payload: dict[str, object] = {"invoice_id": INVOICE}
    assert await said(db, admin, "invoice.issued", payload) == (
        "Invoice IT0-2026-000001 is here: USD 40.00 to be paid by 2026-11-18. "
        "`/invoices IT0-2026-000001` shows what it is for, `/pay IT0-2026-000001` how to pay."
    )
    await write(db, "UPDATE invoices SET status = 'paid'")
    assert await said(db, admin, "invoice.issued", payload, "e/2") is None
    await write(db, "UPDATE invoices SET status = 'open', tenant_id = 'ten_x'")
    assert await said(db, admin, "invoice.issued", payload, "e/3") is None


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, "from 2026-11-25 on I only read and answer offline."),
        (1, "from 2026-11-25 on I only read and answer offline."),
        (2, "I only read and answer offline; from 2026-12-02 on I do no work."),
        (3, "I do no work until it is paid, and on 2026-12-09 your plan ends."),
        (4, "was not paid for 21 days after it was due: your plan has ended."),
    ],
)
async def test_each_reminder_says_what_follows(
    db: Database, admin: User, step: int, expected: str
) -> None:
    """As the service at that step is."""
    await db.transaction(add_invoice, admin.tenant_id, 1)
    payload: dict[str, object] = {"invoice_id": INVOICE, "step": step}
    assert expected in str(await said(db, admin, "invoice.overdue", payload))
    await write(db, "UPDATE invoices SET status = 'paid'")
    later = await said(db, admin, "invoice.overdue", payload, "e/2")
    assert (later is None) == (step < 4)


@pytest.mark.parametrize(
    ("applied", "expected"),
    [
        ("invoice", "Thank you: USD 49.99 came in for invoice IT0-2026-000001."),
        ("balance", "It is kept as your balance"),
        ("review", "Nothing has changed yet: the operator looks into it."),
    ],
)
async def test_money_that_came_is_told(
    db: Database, admin: User, applied: str, expected: str
) -> None:
    """And what became of it."""
    await db.transaction(add_invoice, admin.tenant_id, 1)
    await write(
        db,
        "INSERT INTO payments (id, tenant_id, invoice_id, provider, attempt, idempotency_key,"
        " status, currency, amount, received, received_currency, created_at, updated_at)"
        " VALUES ('pay_1', :tenant, 'inv_1', 'card', 1, 'k', 'succeeded', 'USD', 4999, 4999,"
        " 'USD', 1, 1)",
        tenant=admin.tenant_id,
    )
    payload: dict[str, object] = {
        "invoice_id": INVOICE,
        "payment_id": "pay_1",
        "applied": applied,
    }
    assert expected in str(await said(db, admin, "payment.received", payload))


async def test_another_plan_is_told_and_nothing_else_of_a_subscription(
    db: Database, admin: User
) -> None:
    """Its name, and what it was before."""
    payload: dict[str, object] = {"subscription_id": "sub", "plan": "pro", "from": "free"}
    assert str(await said(db, admin, "subscription.changed", payload)).startswith(
        "Your team is on the Pro plan now; before, it was Free."
    )
    payload["from"] = "pro"
    assert await said(db, admin, "subscription.changed", payload, "e/2") is None


async def test_what_was_asked_for_in_a_conversation_is_told_there(
    db: Database, admin: User
) -> None:
    """The invoice and the change of a quote; when the conversation is gone, every admin is."""
    there = await leased(db, admin, 2)
    await finish(db, there)
    newest = await leased(db, admin, 3)
    await finish(db, newest)
    await db.transaction(add_invoice, admin.tenant_id, 1)
    await quoted(db, admin, there.conversation_id)
    change: dict[str, object] = {"subscription_id": "sub", "plan": "pro", "from": "free"}
    assert await said(db, admin, "invoice.issued", {"invoice_id": INVOICE}, "e/1") is None
    await said(db, admin, "subscription.changed", change, "e/2")
    await write(
        db, "UPDATE conversations SET deleted_at = 1 WHERE id = :id", id=there.conversation_id
    )
    await said(db, admin, "subscription.changed", change, "e/3")
    told = "SELECT text, conversation_id FROM turns WHERE event_id LIKE 'notice/%' ORDER BY text"
    assert await rows(db, told) == [
        ("/notice e/2", there.conversation_id),
        ("/notice e/3", newest.conversation_id),
    ]


@pytest.mark.parametrize("fate", ["role = 'operator'", "disabled_at = 1"])
async def test_whoever_is_no_admin_any_more_is_not_told(
    db: Database, admin: User, fate: str
) -> None:
    """What they asked for is told to the team's admins, in private."""
    asker = await SqlPeople(db).add_user(
        admin.tenant_id, email="b@example.org", name="b", role=Role.ADMIN
    )
    assert isinstance(asker, User)
    there = await leased(db, asker, 2)
    await finish(db, there)
    await db.transaction(add_invoice, admin.tenant_id, 1)
    await quoted(db, asker, there.conversation_id)
    change: dict[str, object] = {"subscription_id": "sub", "plan": "pro", "from": "free"}
    await said(db, admin, "subscription.changed", change, "e/1")
    await write(db, f"UPDATE users SET {fate} WHERE id = :id", id=asker.id)
    await said(db, admin, "subscription.changed", change, "e/2")
    told = "SELECT text, user_id FROM turns WHERE event_id LIKE 'notice/%' ORDER BY text"
    assert await rows(db, told) == [("/notice e/1", asker.id), ("/notice e/2", admin.id)]


def test_every_kind_that_concerns_people_has_its_sentence() -> None:
    """Calls and the operator's alarms are not among them."""
    assert {
        "quota.threshold",
        "quota.exceeded",
        "quota.alarm",
        "subscription.changed",
        "invoice.issued",
        "invoice.overdue",
        "payment.received",
    } == KINDS
