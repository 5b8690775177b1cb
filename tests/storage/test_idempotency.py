"""Answers under their keys, on both databases."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from core.idempotency import KEPT_MS, TAKEN_OVER_MS, Claimed, InFlight, Kept, Keyed, Reused
from storage.database import Database
from storage.idempotency import SqlKeys, purge
from tests.fakes.billing_desk import MovedClock

NOW_MS = 1_793_620_800_000
REQUEST = Keyed(tenant_id="ten_1", user_id="u_1", key="k", request_hash="h")


def keys_of(db: Database) -> tuple[SqlKeys, MovedClock]:
    """The keys, and the clock that they age by."""
    clock = MovedClock(NOW_MS)
    return SqlKeys(db, clock), clock


async def claimed(keys: SqlKeys, request: Keyed = REQUEST) -> Claimed:
    """Take a key that is free."""
    claim = await keys.claim(request)
    assert isinstance(claim, Claimed)
    return claim


async def test_an_answer_is_told_again_for_a_day(db: Database) -> None:
    """In flight, then kept, then forgotten; another request under the key is told so."""
    keys, clock = keys_of(db)
    claim = await claimed(keys)
    assert await keys.claim(REQUEST) == InFlight()
    await keys.keep(claim, 200, '{"a": "ü"}')
    clock.at_ms += KEPT_MS - 1
    assert await keys.claim(REQUEST) == Kept(status=200, answer='{"a": "ü"}')
    other = replace(REQUEST, request_hash="other")
    assert await keys.claim(other) == Reused()
    clock.at_ms += 1
    assert (await claimed(keys, other)).at_ms == clock.at_ms
    assert await keys.claim(REQUEST) == Reused()


@pytest.mark.parametrize("change", [{"tenant_id": "ten_2"}, {"user_id": "u_2"}, {"key": "l"}])
async def test_a_key_belongs_to_one_person_of_one_team(
    db: Database, change: dict[str, str]
) -> None:
    """The same key of another team or person is another key."""
    keys, _ = keys_of(db)
    await keys.keep(await claimed(keys), 200, "{}")
    await claimed(keys, replace(REQUEST, **change))


async def test_a_released_key_is_free(db: Database) -> None:
    """As if it had never been sent; what is kept cannot be released."""
    keys, _ = keys_of(db)
    await keys.release(await claimed(keys))
    claim = await claimed(keys)
    await keys.keep(claim, 409, "{}")
    await keys.release(claim)
    assert await keys.claim(REQUEST) == Kept(status=409, answer="{}")


async def test_a_dead_request_is_taken_over_once(db: Database) -> None:
    """After a minute one of those who ask carries it out; the first one's answer is not kept."""
    keys, clock = keys_of(db)
    first = await claimed(keys)
    clock.at_ms += TAKEN_OVER_MS - 1
    assert await keys.claim(REQUEST) == InFlight()
    clock.at_ms += 1
    claims = await asyncio.gather(*(keys.claim(REQUEST) for _ in range(8)))
    taken = [claim for claim in claims if isinstance(claim, Claimed)]
    assert (len(taken), claims.count(InFlight())) == (1, 7)
    await keys.keep(first, 200, "late")
    await keys.release(first)
    assert await keys.claim(REQUEST) == InFlight()
    await keys.keep(taken[0], 200, "taken")
    assert await keys.claim(REQUEST) == Kept(status=200, answer="taken")


async def test_of_many_at_once_one_is_carried_out(db: Database) -> None:
    """However they race, a single one gets the key."""
    keys, _ = keys_of(db)
    claims = await asyncio.gather(*(keys.claim(REQUEST) for _ in range(16)))
    assert sum(isinstance(claim, Claimed) for claim in claims) == 1
    assert claims.count(InFlight()) == 15


async def test_old_keys_are_purged_in_batches(db: Database) -> None:
    """What is a day old goes, whether answered or not; the rest stays."""
    keys, clock = keys_of(db)
    for number in range(3):
        await claimed(keys, replace(REQUEST, key=f"old{number}"))
    clock.at_ms += 1
    await keys.keep(await claimed(keys), 200, "{}")
    at_ms = NOW_MS + KEPT_MS
    assert await db.transaction(purge, at_ms, 2) == 2
    assert await db.transaction(purge, at_ms, 2) == 1
    assert await db.transaction(purge, at_ms, 2) == 0
    assert await keys.claim(REQUEST) == Kept(status=200, answer="{}")
