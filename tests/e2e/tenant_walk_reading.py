"""What another team's conversations hold, asked for by every method that reads them back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from core.tenants import User
from core.turns import Turn
from storage.conversation_list import SqlShelf
from storage.database import Database
from storage.team_queue import SqlTeamQueues
from storage.turn_reads import SqlTurnReads


def calls(
    db: Database, mine: User, victim: User, turn: Turn
) -> dict[str, Callable[[], Awaitable[object]]]:
    """Each method with the victim's ids and the intruder's team."""
    shelf, reads, tenant = SqlShelf(db), SqlTurnReads(db), mine.tenant_id
    conversation = turn.conversation_id
    sha256 = turn.attachments[0].sha256 if turn.attachments else "0" * 64
    return {
        "SqlShelf.listed": lambda: shelf.listed(tenant, victim.id, query="a", after=None, limit=9),
        "SqlShelf.entry": lambda: shelf.entry(tenant, victim.id, conversation),
        "SqlShelf.rename": lambda: shelf.rename(tenant, victim.id, conversation, "forged"),
        "SqlShelf.news": lambda: shelf.news(tenant, victim.id, since_ms=1),
        "SqlTeamQueues.queue": lambda: SqlTeamQueues(db).queue(tenant),
        "SqlTurnReads.turns": lambda: reads.turns(
            tenant, victim.id, conversation, before=None, limit=9
        ),
        "SqlTurnReads.calls": lambda: reads.calls(tenant, victim.id, turn.id),
        "SqlTurnReads.output": lambda: reads.output(tenant, victim.id, turn.id, "t"),
        "SqlTurnReads.file": lambda: reads.file(tenant, victim.id, conversation, sha256),
    }
