"""Defects that a review found, each as the behaviour that it broke."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
import sqlalchemy as sa

from core.replies import destination
from storage.database import Database, execute
from storage.deliveries import SqlDeliveries
from storage.leases import SqlLeases
from tests.storage.kit import WORKER, accept, answer, install, message
from tests.storage.places import KINDS, Places, opened


@pytest.fixture(params=KINDS)
async def db(request: pytest.FixtureRequest, places: Places) -> AsyncGenerator[Database]:
    """An empty, migrated database of either kind."""
    async with opened(places.new(request.param, "review")) as database:
        yield database


def _overdue(conn: sa.Connection) -> None:
    execute(conn, "UPDATE turns SET deliver_until = 0 WHERE status = 'done'")


async def test_a_sweep_claims_only_replies_that_it_can_deliver(db: Database) -> None:
    """A platform that this process does not serve keeps its replies, and delays no others."""
    admin = await install(db)
    for number, platform in enumerate(("slack", "web")):
        said = message(admin, number)
        said = replace(said, address=replace(said.address, platform=platform))
        turn = (await accept(db, said)).leased
        assert turn is not None
        await answer(db, turn, deliver=True)
        await db.transaction(_overdue)
    due = await SqlDeliveries(db).claim_undelivered(
        WORKER, platforms=("web", "api"), hold_ms=60_000, limit=5
    )
    assert [reply.to.address.platform for reply in due] == ["web"]
    none: tuple[str, ...] = ()
    rest = SqlDeliveries(db)
    assert await rest.claim_undelivered(WORKER, platforms=none, hold_ms=60_000, limit=5) == ()


async def test_a_claim_of_a_reply_is_renewed_by_its_holder_alone(db: Database) -> None:
    """Nobody else, and nobody after the delivery, can prolong a claim."""
    admin = await install(db)
    leases = SqlLeases(db)
    await leases.beat("w_2", 10_000, ())
    await leases.beat(WORKER, 10_000, ())
    turn = (await accept(db, message(admin, 1))).leased
    assert turn is not None
    await answer(db, turn, deliver=True)
    await db.transaction(_overdue)
    due, to = SqlDeliveries(db), destination(turn)
    (reply,) = await due.claim_undelivered(WORKER, platforms=("api",), hold_ms=0, limit=1)
    assert await due.renew(reply.to, WORKER, 60_000)
    assert await due.claim_undelivered("w_2", platforms=("api",), hold_ms=0, limit=1) == ()
    assert not await due.renew(to, "w_2", 60_000)
    await due.delivered(to, epoch=None, problem="")
    assert not await due.renew(to, WORKER, 60_000)
