"""Quotas: what is held and used, who is refused, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
import structlog

from billing.periods import month_of
from billing.quota import LEASE_MS, MIN_OUTPUT
from core.errors import Fenced
from core.metering import CallState, Settlement, Usage
from storage import quota
from storage.admission import sweep
from storage.database import Database, execute
from storage.leases import SqlLeases
from storage.metering import RecordingMeter, settle, settle_lost
from tests.storage.kit import install
from tests.storage.payment_places import db, migrated_file, migrated_url, place
from tests.storage.quota_kit import FAR, MONTH, NOV, Hands, team
from tests.storage.racing import leased, rows

__all__ = ["db", "migrated_file", "migrated_url", "place"]

CALLS = "SELECT state, reserved_tokens, max_output, position, released_at FROM model_calls"


async def test_a_call_is_held_and_then_used(db: Database) -> None:
    """The estimate is held, what it really took is counted, and the call has its position."""
    ours = await team(db, turns=2)
    await ours.limit(10_000, 10_000)
    assert await ours.admitted(ours.call(1)) == 1_000
    assert await ours.counter() == (0, 2_000, 0)
    assert await ours.admitted(ours.call(2)) == 1_000
    await ours.settle(ours.call(1), 1_234)
    assert await ours.counter() == (1_234, 2_000, 0)
    await ours.settle(ours.call(2), 100)
    assert await ours.counter() == (1_334, 0, 0)
    assert await rows(db, "SELECT position, settled_at > 0 FROM model_calls ORDER BY id") == [
        (1_234, True),
        (1_334, True),
    ]


async def test_the_output_is_lowered_to_what_is_left(db: Database) -> None:
    """Once, to at least 256 tokens; the row says what was granted."""
    ours = await team(db, turns=3)
    await ours.limit(3_700, 3_700)
    assert await ours.admitted(ours.call(1)) == 1_000
    assert await ours.admitted(ours.call(2)) == 700
    assert await rows(db, CALLS + " ORDER BY id") == [
        ("reserved", 2_000, 1_000, None, None),
        ("reserved", 1_700, 700, None, None),
    ]
    assert await ours.counter() == (0, 3_700, 0)
    await ours.settle(ours.call(1), 700 - MIN_OUTPUT + 300)
    assert await ours.admitted(ours.call(3)) == MIN_OUTPUT


async def test_a_refused_call_leaves_nothing(db: Database) -> None:
    """No row and no hold; the month's first refusal is told once, with another limit again."""
    ours = await team(db)
    await ours.limit(1_255, 1_255)
    short = await ours.refused(ours.call())
    assert (short.room.scope, short.room.most, short.room.taken) == ("month", 1_255, 0)
    await ours.refused(ours.call())
    assert await rows(db, CALLS) == []
    assert await ours.counter() == (0, 0, 0)
    told = ("quota.exceeded", f'{{"period_start": {MONTH.start_ms}}}')
    assert await ours.events() == [told]
    await ours.limit(1_254, 1_254)
    await ours.refused(ours.call())
    assert await ours.events() == [told, told]


async def test_without_overage_the_allowance_is_the_limit(db: Database) -> None:
    """For who has an overdue invoice; with a safety cap too."""
    ours = await team(db, turns=2)
    for hard, cap in ((5_000, None), (None, 5_000)):
        await ours.limit(1_000, hard, cap)
        assert (await ours.refused(ours.call(1), overage=False)).room.most == 1_000
    await ours.admitted(ours.call(1))


async def test_an_own_account_counts_but_has_no_position(db: Database) -> None:
    """It is part of what is used, and never of what is billed."""
    ours = await team(db, turns=3)
    await ours.limit(9_000, 9_000)
    await ours.use(ours.call(1), 10)
    await ours.use(ours.call(2, own_key=True), 500)
    await ours.use(ours.call(3), 7)
    assert await ours.counter() == (517, 0, 500)
    assert await db.read(quota.billable, ours.id, MONTH) == 17
    assert await rows(db, "SELECT position FROM model_calls ORDER BY id") == [(10,), (None,), (17,)]


async def test_a_second_settlement_changes_nothing(db: Database) -> None:
    """Neither the counters nor the event."""
    ours = await team(db)
    await ours.limit(9_000, 9_000)
    await ours.use(ours.call(), 10)
    await ours.settle(ours.call(), 999)
    await db.transaction(settle_lost, ours.call().turn_id)
    assert await ours.counter() == (10, 0, 0)
    events = await rows(db, "SELECT id, kind, payload FROM outbox")
    call = ours.call().id
    assert events == [(f"usage/{call}", "usage.recorded", f'{{"call_id": "{call}"}}')]


async def test_an_expired_hold_is_given_back_and_settled_late(db: Database) -> None:
    """Once; what was really used is counted afterwards, also beyond the limit."""
    ours = await team(db, turns=2)
    await ours.limit(2_000, 2_000)
    await ours.admitted(ours.call(1))
    assert await sweep(db, NOV + LEASE_MS) == 0
    assert await sweep(db, NOV + LEASE_MS + 1) == 1
    assert await sweep(db, FAR * 2) == 0
    assert await ours.counter() == (0, 0, 0)
    await ours.admitted(ours.call(2))
    await ours.settle(ours.call(1), 1_500)
    assert await ours.counter() == (1_500, 2_000, 0)
    await ours.settle(ours.call(2), 2_000)
    assert await ours.counter() == (3_500, 0, 0)


async def test_a_sweep_takes_batches_of_all_tenants(db: Database) -> None:
    """Everything that is expired, whoever's it is."""
    theirs, ours = await team(db, "ten_b", turns=1), await team(db, "ten_a", turns=101)
    for one in (theirs, ours):
        await one.limit(FAR, FAR)
        for turn in range(1, one.turns + 1):
            await one.admitted(one.call(turn))
    assert await sweep(db, NOV + LEASE_MS + 1) == 102
    assert await ours.counter() == await theirs.counter() == (0, 0, 0)


async def test_a_call_belongs_to_the_month_in_which_it_was_admitted(db: Database) -> None:
    """Also when it is settled in the next one."""
    ours = await team(db, turns=2)
    december = month_of(MONTH.end_ms)
    await ours.limit(2_000, 2_000)
    await ours.limit(2_000, 2_000, month=december)
    await ours.admitted(ours.call(1), at_ms=MONTH.end_ms - 1)
    await ours.admitted(ours.call(2), at_ms=MONTH.end_ms)
    await ours.settle(ours.call(1), 1)
    assert await ours.counter() == (1, 0, 0)
    assert await ours.counter(december) == (0, 2_000, 0)


async def test_thresholds_are_told_once(db: Database) -> None:
    """At 80 and 100 % of what is included; only the highest of two that come together."""
    ours = await team(db, turns=9)
    await ours.limit(10_000, 15_000)

    def told(percent: int) -> tuple[str, str]:
        return "quota.threshold", f'{{"percent": {percent}, "period_start": {MONTH.start_ms}}}'

    await ours.use(ours.call(1), 7_999)
    assert await ours.events() == []
    await ours.use(ours.call(2), 1)
    await ours.use(ours.call(3), 1_999)
    assert await ours.events() == [told(80)]
    await ours.use(ours.call(4), 1)
    await ours.use(ours.call(5), 500)
    assert await ours.events() == [told(80), told(100)]
    await ours.limit(20_000, 30_000)  # a larger plan has its own
    await ours.use(ours.call(6), 5_500)
    assert await ours.events() == [told(80), told(100), told(80)]
    await ours.use(ours.call(7), 5_000)
    assert await ours.events() == [told(80), told(100), told(80), told(100)]


async def test_the_safety_cap_raises_an_alarm(db: Database) -> None:
    """When it is reached, and when a call is refused for it; once."""
    ours = await team(db, turns=3)
    await ours.limit(100_000, None, 3_000)
    await ours.use(ours.call(1), 2_999)
    assert await ours.events() == []
    await ours.refused(ours.call(2))
    await ours.limit(100_000, None, 6_000)
    await ours.use(ours.call(2), 3_001)
    await ours.refused(ours.call(3))
    kinds = [kind for kind, _ in await ours.events()]
    assert kinds == ["quota.exceeded", "quota.alarm", "quota.alarm", "quota.exceeded"]


async def test_a_worker_without_the_turn_is_fenced(db: Database) -> None:
    """Nothing is held for an attempt that is over."""
    ours = await team(db)
    await ours.limit(9_000, 9_000)
    with pytest.raises(Fenced):
        await ours.reserve(replace(ours.call(), id=f"{ours.call().turn_id}.2.1"))
    assert await ours.counter() == (0, 0, 0)


async def test_a_call_of_the_grace_brings_its_row(db: Database) -> None:
    """Admitted while the database was away, it is stored and counted with its settlement."""
    ours = await team(db)
    call = ours.call()
    settlement = Settlement(
        call_id=call.id, usage=Usage(output_tokens=9), state=CallState.ESTIMATED, call=call
    )
    await db.transaction(settle, settlement)
    await db.transaction(settle, settlement)
    ((state, start),) = await rows(db, "SELECT state, period_start FROM model_calls")
    assert state == "estimated"
    assert isinstance(start, int)
    assert await ours.counter(month_of(start)) == (9, 0, 0)


async def test_a_grace_that_was_recorded_after_all_gives_its_hold_back(db: Database) -> None:
    """The commit's answer was lost: the row is there, and its settlement is the usual one."""
    ours = await team(db)
    await ours.limit(9_000, 9_000)
    call = ours.call()
    await ours.admitted(call)
    await db.transaction(settle, Settlement(call_id=call.id, usage=Usage(), call=call))
    assert await ours.counter() == (0, 0, 0)


async def test_where_billing_is_off_everything_is_counted_and_nothing_refused(
    db: Database,
) -> None:
    """Limits of the month are ignored."""
    ours = await team(db, turns=2)
    meter = RecordingMeter(db, Hands())
    await meter.reserve(ours.call(1))
    assert await ours.counter() == (0, 2_000, 0)
    await ours.limit(1, 1)
    await meter.reserve(ours.call(2))
    await ours.settle(ours.call(1), 5_000)
    assert await ours.counter() == (5_000, 2_000, 0)


async def test_a_call_from_before_quotas_is_counted_in_its_month(db: Database) -> None:
    """It was open while the tables were changed: nothing was held for it."""
    ours = await team(db)
    await ours.limit(9_000, 9_000)
    await ours.admitted(ours.call())

    def age(conn: sa.Connection) -> None:
        execute(
            conn,
            "UPDATE model_calls SET period_start = 0, reserved_tokens = 0, lease_until = 0",
        )
        execute(conn, "UPDATE quota_counters SET reserved = 0")

    await db.transaction(age)
    assert await sweep(db, NOV) == 1
    await ours.settle(ours.call(), 6)
    assert await ours.counter() == (6, 0, 0)


async def test_a_beat_extends_the_calls_of_running_turns(db: Database) -> None:
    """Those near their end of turns that the worker has; nobody else's, and none that is fresh."""
    turn = await leased(db, await install(db))
    ours = await team(db)
    meter = RecordingMeter(db)
    await meter.reserve(ours.call())
    mine = replace(ours.call(), id=f"{turn.id}.1.1", tenant_id=turn.tenant_id, turn_id=turn.id)
    await meter.reserve(mine)
    lease = "SELECT lease_until FROM model_calls WHERE turn_id = :turn"
    ((fresh,),) = await rows(db, lease, turn=turn.id)
    leases = SqlLeases(db)
    await leases.beat("w_1", 10_000, (turn,))
    assert await rows(db, lease, turn=turn.id) == [(fresh,)]

    def near(conn: sa.Connection) -> None:
        execute(conn, "UPDATE model_calls SET lease_until = 5")

    await db.transaction(near)
    await leases.beat("w_1", 10_000, ())
    assert await rows(db, lease, turn=turn.id) == [(5,)]
    await leases.beat("w_1", 10_000, (turn,))
    ((renewed,),) = await rows(db, lease, turn=turn.id)
    assert isinstance(renewed, int)
    assert isinstance(fresh, int)
    assert renewed >= fresh
    assert await rows(db, lease, turn=ours.call().turn_id) == [(5,)]


async def test_a_model_without_a_price_is_counted(db: Database) -> None:
    """The tokens count, though nobody knows their cost."""
    ours = await team(db)
    await ours.limit(9_000, 9_000)
    with structlog.testing.capture_logs():
        await ours.use(ours.call(model="mystery"), 50)
    assert await ours.counter() == (50, 0, 0)
