"""Files that a turn fetched: committed with the turn, fenced by its lease."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, replace

import sqlalchemy as sa

from core.messages import Attachment, AttachmentRef
from core.turns import Turn
from storage import files
from storage.database import Database, execute
from storage.holding import hold


class SqlIntake:
    """Implements ``core.intake.IntakeLog``."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def take_in(self, turn: Turn, fetched: tuple[Attachment, ...], text: str) -> Turn:
        """See the port."""
        refs = await asyncio.to_thread(lambda: tuple(files.reference(item) for item in fetched))
        refs = (*turn.attachments, *refs)
        await self._db.transaction(_take_in, turn, fetched, refs, text)
        return replace(turn, attachments=refs, text=text, files=())


def _take_in(
    conn: sa.Connection,
    turn: Turn,
    fetched: tuple[Attachment, ...],
    refs: tuple[AttachmentRef, ...],
    text: str,
) -> None:
    hold(conn, turn)
    new = refs[len(turn.attachments) :]
    files.store(conn, turn.tenant_id, zip(new, fetched, strict=True))
    known = {ref.sha256 for ref in turn.attachments}
    files.link(conn, turn.tenant_id, turn.id, tuple(ref for ref in new if ref.sha256 not in known))
    execute(
        conn,
        "UPDATE turns SET attachments = :attachments, text = :text, files = '[]'"
        " WHERE id = :id AND tenant_id = :tenant",
        attachments=json.dumps([asdict(ref) for ref in refs]),
        text=text,
        id=turn.id,
        tenant=turn.tenant_id,
    )
