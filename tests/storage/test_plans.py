from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from core.agent_config import ConfigChanges
from core.messages import Attachment, Overlap
from core.sinks import Destination, destination
from core.streams import START
from core.turns import Turn
from storage.agent_config import SqlAgentConfigs
from storage.conversations import SqlConversations
from storage.database import DRIVER
from storage.deliveries import SqlDeliveries
from storage.inbox import SqlInbox
from storage.leases import SqlLeases
from storage.operations import SqlOperations
from storage.people import SqlPeople
from storage.sqlite import SqliteDatabase
from storage.streams import SqlStreamLog
from tests.storage.kit import WORKER, accept, answer, install, message, sqlite_database

HARMLESS = {"workers", "tenants", "CONSTANT", "r", "b"}
"""Small tables, and what a statement has already narrowed down (the claim's ranks)."""

PARTIAL = {
    "conversations_ready",
    "conversations_leased",
    "turns_open",
    "turns_undelivered",
    "turns_active",
}
"""Indexes that hold only what is open: to walk one of these is to look at what waits."""


async def _statements(db: SqliteDatabase) -> set[str]:
    """What SQLite ran, with its values, during a turn and the loops around it."""
    seen: set[str] = set()

    def trace(conn: sa.Connection) -> None:
        driver: sqlite3.Connection = conn.info[DRIVER]
        driver.set_trace_callback(seen.add)

    admin = await install(db)
    await db.transaction(trace)
    await db.read(trace)
    said = message(admin, 1)
    first = (await accept(db, said)).leased
    assert first is not None
    again = replace(said, event_id="api:again", overlap=Overlap.INTERRUPT)
    await accept(db, again)
    await SqlInbox(db, b"k").stop(replace(said, event_id="api:stop", text="/stop"))
    await SqlConversations(db).remember(first, max_turns=10)
    await answer(db, first, deliver=True)
    to: Destination = destination(first)
    await SqlDeliveries(db).parts(to.tenant_id, to.turn_id)
    await SqlDeliveries(db).claim_undelivered(
        WORKER, platforms=("api", "slack"), hold_ms=1000, limit=5
    )
    await SqlDeliveries(db).renew(to, WORKER, 1000)
    await SqlDeliveries(db).delivered(to, epoch=first.epoch, problem="")
    await SqlLeases(db).beat(WORKER, 10_000, ())
    (second,) = await SqlLeases(db).claim(WORKER, 4, 4)
    await SqlConversations(db).remember(second, max_turns=10)
    await SqlLeases(db).hand_back(second, settlements=(), failed=False, pause_ms=0)
    await _rare(db, second)
    await SqlStreamLog(db).read_stream(first.tenant_id, first.id, START)
    await SqlOperations(db).queue_state()
    return seen


SEARCH_OF_FILES = "SELECT tenant_id, sha256 FROM attachments a"
"""The housekeeping's; it reads an index beside the writer thread, every ten minutes."""


async def _rare(db: SqliteDatabase, turn: Turn) -> None:
    """What runs once an hour, or when somebody deletes: on the writer thread that all wait for."""
    await SqlOperations(db).housekeep()
    await SqlPeople(db).user_by_email("a@example.org")
    await _agent(db, turn)
    file = Attachment(name="a", media_type="text/plain", data=b"x")
    other = (await accept(db, message(turn.user, 7, attachments=(file,)))).leased
    assert other is not None
    await answer(db, other)
    await SqlConversations(db).resume_conversation(turn, other.conversation_id)
    assert await SqlConversations(db).delete_conversation(turn, other.conversation_id) is None


async def _agent(db: SqliteDatabase, turn: Turn) -> None:
    """What a team chose for its agent is read at each turn."""
    configs = SqlAgentConfigs(db, b"k" * 32, b"k" * 32)
    await configs.set_model(turn, "m")
    await configs.change(turn.user.id, turn.tenant_id, ConfigChanges(api_key="k", engine="e"), 1)
    assert (await configs.of(turn.tenant_id)).model == "m"
    await configs.read(turn.tenant_id)


async def test_no_statement_of_a_turn_walks_a_table(tmp_path: Path) -> None:
    """Every hot statement finds its rows by an index, however many turns there have been."""
    async with sqlite_database(tmp_path / "it0.db") as db:
        statements = await _statements(db)
    assert len(statements) > 40
    walked: set[str] = set()
    with sqlite3.connect(tmp_path / "it0.db") as conn:
        for statement in statements:
            if not statement.lstrip().startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
                continue
            for row in conn.execute(f"EXPLAIN QUERY PLAN {statement}"):
                words = row[3].split()
                narrowed = words[1] in HARMLESS or words[1].startswith("(subquery")
                narrowed = narrowed or bool(PARTIAL & set(words))
                if words[0] == "SCAN" and not (narrowed or statement.startswith(SEARCH_OF_FILES)):
                    walked.add(f"{row[3]}: {statement}")
    conn.close()
    assert walked == set()


async def test_a_finish_does_not_walk_its_conversation(tmp_path: Path) -> None:
    """Ending a turn reads rows of its own, not every earlier turn of the conversation."""
    async with sqlite_database(tmp_path / "it0.db") as db:
        statements = await _statements(db)
    updates = [s for s in statements if "merged_into =" in s or "cancel_at =" in s]
    assert len(updates) >= 3
    with sqlite3.connect(tmp_path / "it0.db") as conn:
        for statement in updates:
            plan = [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {statement}")]
            for step in plan:
                if "turns_order" in step:
                    assert "seq>" in step, statement
    conn.close()
