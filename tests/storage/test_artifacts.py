"""Whole outputs in the database, on both databases: bounded, compressed, each tenant's own."""

from __future__ import annotations

import sqlalchemy as sa

from core.fleet.artifacts import MAX_ARTIFACT_BYTES
from core.tools import ToolContext
from storage import artifacts as stored
from storage.artifacts import SqlArtifacts
from storage.database import Database, execute, now_ms

OURS = ToolContext(tenant_id="ten_1", user_id="usr_1", turn_id="trn_1", call_id="call_1")
DATA = b"line of output \xff\x00\n" * 10_000


async def rows(db: Database) -> list[tuple[object, ...]]:
    """What is stored, without the data but with its length."""

    def work(conn: sa.Connection) -> list[tuple[object, ...]]:
        statement = (
            "SELECT tenant_id, turn_id, call_id, server, size, total, length(data) FROM artifacts"
        )
        return [tuple(row) for row in execute(conn, statement).all()]

    return await db.read(work)


async def test_an_output_is_kept_byte_for_byte(db: Database) -> None:
    """Compressed, with whose call it was and how much there was in all."""
    artifacts = SqlArtifacts(db)
    name = await artifacts.keep(OURS, "web-1", DATA, total=len(DATA) + 7)
    assert name.startswith("art_")
    assert await artifacts.read("ten_1", name) == DATA
    ((*fields, packed),) = await rows(db)
    assert fields == ["ten_1", "trn_1", "call_1", "web-1", len(DATA), len(DATA) + 7]
    assert isinstance(packed, int)
    assert packed < len(DATA) // 50


async def test_another_tenants_output_does_not_exist(db: Database) -> None:
    """The same id reads nothing."""
    artifacts = SqlArtifacts(db)
    name = await artifacts.keep(OURS, "web-1", b"x", total=1)
    assert await artifacts.read("ten_2", name) is None
    assert await artifacts.read("ten_1", "art_0") is None


async def test_more_than_the_bound_is_only_counted(db: Database) -> None:
    """The beginning is kept."""
    artifacts = SqlArtifacts(db)
    data = b"a" * MAX_ARTIFACT_BYTES + b"b"
    name = await artifacts.keep(OURS, "web-1", data, total=len(data))
    assert await artifacts.read("ten_1", name) == data[:-1]
    assert (await rows(db))[0][4:6] == (MAX_ARTIFACT_BYTES, MAX_ARTIFACT_BYTES + 1)


async def test_old_outputs_are_forgotten_a_few_at_a_time(db: Database) -> None:
    """Only those before the given time; the number tells whether to go on."""
    artifacts = SqlArtifacts(db)
    for _ in range(stored.FORGET_AT_ONCE + 1):
        await artifacts.keep(OURS, "web-1", b"x", total=1)
    assert await artifacts.forget(0) == 0
    later = await db.read(now_ms) + 1_000
    assert await artifacts.forget(later) == stored.FORGET_AT_ONCE
    assert await artifacts.forget(later) == 1
    assert await rows(db) == []
