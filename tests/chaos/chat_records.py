"""What the database says of the turns of a chat run, besides ``tests.chaos.records``."""

from __future__ import annotations

import json

import sqlalchemy as sa

import app
from settings import Settings
from storage.database import execute
from storage.rows import text
from tests.chaos.chat_checks import Stored
from tests.chaos.records import read_records


async def read_stored(settings: Settings) -> tuple[Stored, ...]:
    """Every turn, with its conversation, its text and how many files were fetched for it."""
    records = {turn.id: turn for turn in (await read_records(settings)).turns}
    async with app.open_storage(settings) as storage:
        rows = await storage.db.read(_rows)
    return tuple(
        Stored(
            record=records[turn_id],
            conversation=conversation,
            text=said,
            files=len(json.loads(attachments)),
        )
        for turn_id, conversation, said, attachments in rows
    )


def _rows(conn: sa.Connection) -> list[tuple[str, str, str, str]]:
    found = execute(conn, "SELECT id, conversation_id, text, attachments FROM turns").all()
    return [(text(row[0]), text(row[1]), text(row[2]), text(row[3])) for row in found]
