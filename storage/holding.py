"""The fence of a leased turn's writes."""

from __future__ import annotations

import sqlalchemy as sa

from core.errors import Fenced
from core.turns import Turn
from storage.database import execute

HELD = "lease_epoch = :epoch AND done_seq < :seq"
"""The fence of a turn's writes: this worker's lease, and the turn has not ended under it."""


def hold(conn: sa.Connection, turn: Turn, lock: str = "{row}") -> None:
    """Lock the turn's conversation to the end of the transaction, or raise ``Fenced``."""
    row = execute(
        conn,
        f"SELECT 1 FROM conversations WHERE id = :cid AND tenant_id = :tenant AND {HELD}{lock}",
        cid=turn.conversation_id,
        tenant=turn.tenant_id,
        epoch=turn.epoch,
        seq=turn.seq,
    ).first()
    if row is None:
        raise fenced()


def fenced() -> Fenced:
    """What a write raises whose lease is gone."""
    return Fenced("The conversation has another owner now.")
