"""Events: stored with their fact, sent at least once, consumed once, put aside when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
import structlog
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from structlog.typing import EventDict

from billing.events import Event, InProcessBus, NotConsumed
from billing.relay import BACK_OFF_MS, BATCH, LEASE_MS, MAX_TRIES, Relay
from core.errors import StorageUnreachable
from storage.consumers import consumers
from storage.database import Database
from storage.outbox import PROCESSED_KEPT_MS, SENT_KEPT_MS, SqlOutbox, drained, publish
from storage.postgres import PostgresDatabase
from tests.storage.events_kit import (
    NEXT_MONTH_MS,
    START_MS,
    Call,
    Hands,
    Heard,
    relay,
    relayed,
    settled,
    told,
)
from tests.storage.racing import rows

UNSENT = "SELECT COUNT(*) FROM outbox WHERE sent_at IS NULL"


@pytest.fixture(autouse=True)
def logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EventDict]]:
    """What is logged: kept, not printed (tracebacks cost half a second each)."""
    for module in ("billing.events", "billing.relay", "storage.consumers"):
        monkeypatch.setattr(f"{module}._log", structlog.get_logger())  # none keeps an old setup
    with capture_logs() as lines:
        yield lines


async def use(db: Database, *numbers: int, tenant: str = "ten_1") -> None:
    """Settled calls, each with its event."""
    for number in numbers:
        await db.transaction(settled, Call(id=f"call.1.{number}", tenant_id=tenant))


async def test_an_event_of_a_known_id_is_stored_once(db: Database) -> None:
    """The first one counts, whatever the second says."""
    await db.transaction(publish, "e/1", "ten_1", "billing.alarm", {"reason": "ü"}, 1)
    await db.transaction(publish, "e/1", "ten_2", "quota.alarm", {}, 2)
    assert await rows(db, "SELECT tenant_id, kind, payload, created_at FROM outbox") == [
        ("ten_1", "billing.alarm", '{"reason": "ü"}', 1)
    ]


async def test_an_event_goes_with_its_transaction(db: Database) -> None:
    """What is rolled back is not told."""

    def work(conn: sa.Connection) -> None:
        publish(conn, "e/1", "ten_1", "billing.alarm", {}, 1)
        raise ValueError

    with pytest.raises(ValueError):
        await db.transaction(work)
    assert await rows(db, UNSENT) == [(0,)]


async def test_events_reach_their_consumers_and_are_marked(db: Database) -> None:
    """More than a batch of them goes out at once; then there is nothing to send."""
    clock = Hands()
    heard = Heard(db, clock)
    await use(db, *range(BATCH + 5))
    assert await relayed(db, clock, heard) == BATCH + 5
    assert len(set(heard.events)) == BATCH + 5
    assert await rows(db, UNSENT) == [(0,)]
    assert await relay(db, clock, heard).step() == 0


async def test_a_second_delivery_has_no_effect(db: Database) -> None:
    """An event that was published and not marked is published again, and counted once."""
    clock = Hands()
    await use(db, 1)
    event = (await SqlOutbox(db).claim(START_MS, 10, LEASE_MS))[0]
    await InProcessBus(consumers(db, clock)).publish(event)
    assert await relay(db, clock).step() == 0  # it is claimed
    clock.at += LEASE_MS
    assert await relay(db, clock).step() == 1
    assert await rows(db, "SELECT calls, input_tokens FROM usage_days") == [(1, 3)]


@pytest.mark.postgres
async def test_of_two_deliveries_at_once_one_has_its_effect(pg: PostgresDatabase) -> None:
    """The second waits for the first one's commit and finds the event consumed."""
    await use(pg, 1)
    event = (await SqlOutbox(pg).claim(START_MS, 10, LEASE_MS))[0]
    bus = InProcessBus(consumers(pg, Hands()))
    await asyncio.gather(*(bus.publish(event) for _ in range(4)))
    assert await rows(pg, "SELECT calls FROM usage_days") == [(1,)]


@pytest.mark.postgres
async def test_relays_share_the_work(pg: PostgresDatabase) -> None:
    """What one has claimed another one does not take."""
    await use(pg, *range(30))
    claims = await asyncio.gather(*(SqlOutbox(pg).claim(START_MS, 10, LEASE_MS) for _ in range(3)))
    ids = [event.id for claim in claims for event in claim]
    while more := await SqlOutbox(pg).claim(START_MS, 10, LEASE_MS):
        ids += [event.id for event in more]
    assert sorted(ids) == sorted(f"usage/call.1.{number}" for number in range(30))


async def test_an_only_process_takes_up_what_its_predecessor_claimed(db: Database) -> None:
    """No wait for the claims of a process that was killed."""
    clock = Hands()
    await use(db, 1)
    assert len(await SqlOutbox(db).claim(START_MS, 10, LEASE_MS)) == 1
    heard = Heard(db, clock)
    bus = InProcessBus([heard])
    one = Relay(outbox=SqlOutbox(db), bus=bus, clock=clock, exclusive=True, poll_s=0.01)
    task = asyncio.create_task(one.run())
    async with asyncio.timeout(20):
        await heard.any.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_failure_is_tried_again_and_keeps_nobody_waiting(db: Database) -> None:
    """The other consumers and events are served; the retry comes after its pause."""
    clock = Hands()
    heard = Heard(db, clock, failures={"usage/call.1.1": 1})
    await use(db, 1, 2)
    assert await relay(db, clock, heard).step() == 1
    assert await rows(db, "SELECT calls FROM usage_days") == [(2,)]
    clock.at += BACK_OFF_MS[0] - 1
    assert await relay(db, clock, heard).step() == 0
    clock.at += 1
    assert await relay(db, clock, heard).step() == 1
    assert sorted(heard.events) == ["usage/call.1.1", "usage/call.1.2"]
    assert await rows(db, "SELECT calls FROM usage_days") == [(2,)]


async def test_poison_is_put_aside_with_an_alarm(db: Database) -> None:
    """After five tries: a problem on record, an alarm, and the queue goes on; retry revives it."""
    clock = Hands()
    heard = Heard(db, clock, failures={"usage/call.1.1": MAX_TRIES})
    await use(db, 1)
    for pause in (0, *BACK_OFF_MS):
        clock.at += pause
        assert await relay(db, clock, heard).step() == 0
    problem = await rows(db, "SELECT problem, attempts FROM outbox WHERE kind = 'usage.recorded'")
    assert problem == [("NotConsumed: failed: heard", MAX_TRIES)]
    await use(db, 2)
    assert await relayed(db, clock, heard) == 2
    assert set(heard.events) == {"usage/call.1.2", "alarm/outbox/usage/call.1.1"}
    outbox = SqlOutbox(db)
    assert [event.id for event in await outbox.put_aside()] == ["usage/call.1.1"]
    assert await outbox.retry("usage/call.1.1")
    assert not await outbox.retry("usage/call.1.1")
    assert await relayed(db, clock, heard) == 1
    assert await outbox.put_aside() == ()


async def test_an_alarm_that_fails_raises_no_further_alarm(db: Database) -> None:
    """There is no end to alarms about alarms."""
    clock = Hands()
    heard = Heard(db, clock, failures={"e/1": MAX_TRIES})
    await db.transaction(publish, "e/1", "", "billing.alarm", {"reason": "r"}, START_MS)
    for pause in (0, *BACK_OFF_MS):
        clock.at += pause
        assert await relay(db, clock, heard).step() == 0
    assert [row[0] for row in await rows(db, "SELECT id FROM outbox")] == ["e/1"]


async def test_a_database_that_is_away_uses_up_no_try(db: Database) -> None:
    """The event stays as it was and is sent when its claim has ended."""
    clock = Hands()
    away = StorageUnreachable("away")
    heard = Heard(db, clock, failures={"usage/call.1.1": 9}, fault=away)
    await use(db, 1)
    for _ in range(9):
        with pytest.raises(StorageUnreachable):
            await relay(db, clock, heard).step()
        clock.at += LEASE_MS
    assert await rows(db, "SELECT attempts, problem FROM outbox") == [(0, "")]
    assert await relay(db, clock, heard).step() == 1


async def test_a_call_that_is_not_there_is_an_error(db: Database) -> None:
    """An event without its call is not silently dropped."""
    clock = Hands()
    await db.transaction(told, Call(id="call.1.1", tenant_id="ten_1"))
    event = (await SqlOutbox(db).claim(START_MS, 10, LEASE_MS))[0]
    with pytest.raises(NotConsumed, match="usage"):
        await InProcessBus(consumers(db, clock)).publish(event)
    assert await rows(db, "SELECT COUNT(*) FROM processed_events") == [(0,)]


async def test_an_alarm_is_logged_and_counted(db: Database, logs: list[EventDict]) -> None:
    """The operator finds it in the log and in /metrics."""
    clock = Hands()
    name, labels = "it0_alarms_total", {"kind": "billing.alarm"}
    before = REGISTRY.get_sample_value(name, labels) or 0
    await db.transaction(publish, "e/1", "ten_1", "billing.alarm", {"reason": "r"}, START_MS)
    assert await relayed(db, clock) == 1
    assert {"event": "alarm", "log_level": "error", "detail": {"reason": "r"}}.items() <= next(
        line for line in logs if line["event"] == "alarm"
    ).items()
    assert REGISTRY.get_sample_value(name, labels) == before + 1


async def test_drained_waits_for_the_calls_of_the_period_alone(db: Database) -> None:
    """Unsent and put-aside events count, of this tenant, of calls made before."""
    clock = Hands()
    late = Call(id="call.1.9", tenant_id="ten_1", at_ms=NEXT_MONTH_MS)
    await db.transaction(settled, late)
    await use(db, 2, tenant="ten_2")
    assert await db.read(drained, NEXT_MONTH_MS, "ten_1")
    await use(db, 1)
    assert not await db.read(drained, NEXT_MONTH_MS, "ten_1")
    assert await db.read(drained, START_MS, "ten_1")
    heard = Heard(db, clock, failures={"usage/call.1.1": MAX_TRIES})
    for pause in (0, *BACK_OFF_MS):
        clock.at += pause
        await relay(db, clock, heard).step()
    assert len(await SqlOutbox(db).put_aside()) == 1
    assert not await db.read(drained, NEXT_MONTH_MS, "ten_1")
    await SqlOutbox(db).retry("usage/call.1.1")
    await relayed(db, clock)
    assert await db.read(drained, NEXT_MONTH_MS, "ten_1")


async def test_what_was_sent_long_ago_is_forgotten(db: Database) -> None:
    """Sent events after 35 days, their ids after 100; what was not sent stays, with its ids."""
    clock = Hands()
    heard = Heard(db, clock, failures={"usage/call.1.2": MAX_TRIES})
    await use(db, 1, 2)
    for pause in (0, *BACK_OFF_MS):
        clock.at += pause
        await relay(db, clock, heard).step()
    await relayed(db, clock, heard)
    outbox = SqlOutbox(db)
    clock.at += SENT_KEPT_MS + 1
    await outbox.purge(clock.at)
    assert await rows(db, "SELECT id FROM outbox") == [("usage/call.1.2",)]
    await outbox.purge(clock.at + PROCESSED_KEPT_MS)
    assert await rows(db, "SELECT consumer, event_id FROM processed_events") == [
        ("usage", "usage/call.1.2")
    ]


def test_an_event_lacks_nothing_silently() -> None:
    """A payload without what its kind promises raises, naming the event."""
    event = Event(id="e/1", tenant_id="t", kind="k", payload={"n": "x"}, created_at_ms=0)
    with pytest.raises(Exception, match="e/1"):
        event.number("n")
    with pytest.raises(Exception, match="e/1"):
        event.text("missing")
