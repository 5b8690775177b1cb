"""Usage added up by day, and the reconciliation of what was added up with its calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from core.metering import Usage
from core.tenants import User
from storage.database import Database, execute
from storage.outbox import SqlOutbox
from storage.reconcile import Difference, reconcile, reconcile_nightly
from storage.usage import day_usage, month_usage
from tests.storage.events_kit import (
    DAY_MS,
    MONTH_MS,
    NEXT_MONTH_MS,
    START_MS,
    USAGE,
    Call,
    Hands,
    relayed,
    settled,
)
from tests.storage.kit import install
from tests.storage.racing import rows

TODAY = START_MS - START_MS % DAY_MS


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EventDict]]:
    """What is logged."""
    for module in ("storage.reconcile", "storage.consumers"):
        monkeypatch.setattr(f"{module}._log", structlog.get_logger())  # none keeps an old setup
    with capture_logs() as lines:
        yield lines


@pytest.fixture
async def admin(db: Database) -> User:
    """Of an installation."""
    return await install(db)


async def use(db: Database, *calls: Call) -> None:
    """Settled calls, each with its event."""
    for call in calls:
        await db.transaction(settled, call)


async def change(db: Database, sql: str, **params: str | int) -> None:
    """Write behind the code's back."""

    def write(conn: sa.Connection) -> None:
        execute(conn, sql, **params)

    await db.transaction(write)


async def counter(db: Database, tenant: str, used: int, own: int, reserved: int) -> None:
    """The month's quota counter stands there."""
    await change(
        db,
        "INSERT INTO quota_counters (tenant_id, period_start, period_end, used, own_used, reserved,"
        " soft) VALUES (:tenant, :start, :end, :used, :own, :reserved, 1)",
        tenant=tenant,
        start=MONTH_MS,
        end=NEXT_MONTH_MS,
        used=used,
        own=own,
        reserved=reserved,
    )


async def test_calls_add_up_by_day_model_and_key(db: Database) -> None:
    """All five buckets, the cost, what was estimated, and what has no price."""
    await use(
        db,
        Call(id="c.1.1", tenant_id="ten_1"),
        Call(id="c.1.2", tenant_id="ten_1", state="estimated", cost_pico=None),
        Call(id="c.1.3", tenant_id="ten_1", own_key=True),
        Call(id="c.1.4", tenant_id="ten_1", model="m", at_ms=START_MS + DAY_MS),
        Call(id="c.1.5", tenant_id="ten_2"),
    )
    assert await relayed(db, Hands()) == 5
    days = await db.read(day_usage, "ten_1", MONTH_MS, NEXT_MONTH_MS)
    assert [(one.day_ms, one.model, one.own_key, one.calls) for one in days] == [
        (TODAY, "claude-sonnet-5-5", False, 2),
        (TODAY, "claude-sonnet-5-5", True, 1),
        (TODAY + DAY_MS, "m", False, 1),
    ]
    assert days[0].usage == USAGE + USAGE
    assert (days[0].estimated_calls, days[0].unpriced_calls, days[0].cost_pico) == (1, 1, 1_000)


async def test_a_month_is_the_sum_of_its_days(db: Database) -> None:
    """Half-open: the first day of the next month is not part of it."""
    await use(
        db,
        Call(id="c.1.1", tenant_id="ten_1", at_ms=MONTH_MS),
        Call(id="c.1.2", tenant_id="ten_1", at_ms=NEXT_MONTH_MS - 1),
        Call(id="c.1.3", tenant_id="ten_1", at_ms=NEXT_MONTH_MS),
    )
    await relayed(db, Hands())
    month = await db.read(month_usage, "ten_1", MONTH_MS, NEXT_MONTH_MS)
    assert [(one.day_ms, one.calls, one.usage) for one in month] == [(MONTH_MS, 2, USAGE + USAGE)]
    days = await db.read(day_usage, "ten_1", MONTH_MS, NEXT_MONTH_MS)
    assert sum((one.usage for one in days), Usage()) == month[0].usage


async def test_figures_that_agree_are_not_reported(db: Database, admin: User) -> None:
    """Nor are calls whose event waits, holds that are open, or calls from before the outbox."""
    tenant = admin.tenant_id
    await use(db, Call(id="c.1.1", tenant_id=tenant), Call(id="c.1.2", tenant_id=tenant))
    await relayed(db, Hands())
    await use(db, Call(id="c.1.3", tenant_id=tenant, own_key=True))
    await use(db, Call(id="c.1.4", tenant_id=tenant, state="reserved", usage=Usage()))
    await change(db, "UPDATE model_calls SET reserved_tokens = 7 WHERE id = 'c.1.4'")
    await change(db, "DELETE FROM outbox WHERE id = 'usage/c.1.4'")
    await use(db, Call(id="c.1.5", tenant_id=tenant))
    await change(db, "UPDATE model_calls SET period_start = 0 WHERE id = 'c.1.5'")
    await change(db, "DELETE FROM outbox WHERE id = 'usage/c.1.5'")
    await counter(db, tenant, 3 * USAGE.total, USAGE.total, 7)
    assert await reconcile(db, START_MS) == ()


async def test_an_event_that_was_consumed_and_not_yet_marked_counts(
    db: Database, admin: User
) -> None:
    """The relay died between the two: both sides have the call."""
    await use(db, Call(id="c.1.1", tenant_id=admin.tenant_id))
    await relayed(db, Hands())
    await change(db, "UPDATE outbox SET sent_at = NULL")
    assert await reconcile(db, START_MS) == ()


async def test_every_difference_is_reported_logged_and_alarmed(
    db: Database, admin: User, logs: list[EventDict]
) -> None:
    """With tenant, month, figure and both values; nothing is repaired; one alarm a day."""
    tenant = admin.tenant_id
    await use(db, Call(id="c.1.1", tenant_id=tenant))
    await relayed(db, Hands())
    await change(db, "UPDATE usage_days SET input_tokens = 4, cost_pico = 0")
    await counter(db, tenant, 1, 0, 2)

    def difference(what: str, expected: int, found: int) -> Difference:
        return Difference(
            tenant_id=tenant, period_start_ms=MONTH_MS, what=what, expected=expected, found=found
        )

    found = await reconcile(db, START_MS)
    assert found == (
        difference("usage.input_tokens", 3, 4),
        difference("usage.cost_pico", 1_000, 0),
        difference("quota.used", USAGE.total, 1),
        difference("quota.reserved", 0, 2),
    )
    errors = [line for line in logs if line["event"] == "reconcile.difference"]
    assert [line["what"] for line in errors] == [one.what for one in found]
    assert await reconcile(db, START_MS) == found
    assert await rows(db, "SELECT COUNT(*) FROM outbox WHERE kind = 'billing.alarm'") == [(4,)]
    await relayed(db, Hands())
    assert len([line for line in logs if line["event"] == "alarm"]) == 4


async def test_a_call_that_was_never_counted_is_found(db: Database, admin: User) -> None:
    """Its event is marked as sent, or was never written."""
    await db.transaction(settled, Call(id="c.1.1", tenant_id=admin.tenant_id), event=False)
    found = await reconcile(db, START_MS)
    assert [(one.what, one.expected, one.found) for one in found][:2] == [
        ("usage.calls", 1, 0),
        ("usage.input_tokens", 3, 0),
    ]
    await use(db, Call(id="c.1.2", tenant_id=admin.tenant_id))
    await SqlOutbox(db).sent(["usage/c.1.2"], START_MS)
    assert (await reconcile(db, START_MS))[0].expected == 2


async def test_the_nightly_run_happens_once_a_day(db: Database, admin: User) -> None:
    """Whichever process comes first; it looks at the running month and the two before."""
    tenant = admin.tenant_id
    old = Call(id="c.1.1", tenant_id=tenant, at_ms=START_MS - 90 * DAY_MS)
    recent = Call(id="c.1.2", tenant_id=tenant, at_ms=START_MS - 70 * DAY_MS)
    await db.transaction(settled, old, event=False)
    clock = Hands()
    assert await reconcile_nightly(db, clock) == ()
    assert await reconcile_nightly(db, clock) is None
    await db.transaction(settled, recent, event=False)
    clock.at += DAY_MS
    found = await reconcile_nightly(db, clock)
    assert found is not None
    assert found[0].expected == 1
    clock.at -= DAY_MS
    assert await reconcile_nightly(db, clock) is None
