"""How a team's messages fare, counted."""

from __future__ import annotations

from core.team_queue import TeamQueue
from storage.database import Database
from storage.team_queue import SqlTeamQueues
from tests.storage.kit import accept, answer, install, message, write

NOTHING = TeamQueue(
    queued=0, running=0, waiting=0, overdue=0, undelivered=0, oldest_ms=0, lost=0, problem=""
)


async def test_a_team_without_messages_waits_for_nothing(db: Database) -> None:
    """All are zero."""
    admin = await install(db)
    assert await SqlTeamQueues(db).queue(admin.tenant_id) == NOTHING


async def test_turns_are_counted_by_what_they_wait_for(db: Database) -> None:
    """Running, in the queue, late, for a human, on their way, given up; and one team's alone."""
    admin = await install(db)
    running = await accept(db, message(admin, 1))
    assert running.leased is not None
    await accept(db, message(admin, 2), worker=None)
    late = await accept(db, message(admin, 3), worker=None)
    parked = await accept(db, message(admin, 4), worker=None)
    for number in (5, 6):
        done = await accept(db, message(admin, number))
        assert done.leased is not None
        await answer(db, done.leased)
    await write(db, "UPDATE turns SET created_at = {now} - 90000 WHERE id = :id", id=late.turn_id)
    await write(
        db,
        "UPDATE conversations SET parked_until = {now} + 60000 WHERE id = :id",
        id=parked.conversation_id,
    )
    await write(db, "UPDATE turns SET delivered_at = NULL WHERE event_id LIKE '%5'")
    await write(db, "UPDATE turns SET delivery_problem = 'It is gone.' WHERE event_id LIKE '%6'")
    found = await SqlTeamQueues(db).queue(admin.tenant_id)
    assert (found.queued, found.running, found.waiting, found.overdue) == (2, 1, 1, 1)
    assert (found.undelivered, found.lost, found.problem) == (1, 1, "It is gone.")
    assert 90_000 <= found.oldest_ms < 3_600_000
    assert await SqlTeamQueues(db).queue("ten_other") == NOTHING
