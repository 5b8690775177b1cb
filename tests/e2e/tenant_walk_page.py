"""The page's part of the tenant walk: sessions, links, its reader, and what it reads back."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import sqlalchemy as sa

from core.sign_in import Cookie, Maker
from core.tenants import User
from core.turns import Turn
from storage.conversation_list import SqlShelf
from storage.database import Database, execute
from storage.profiles import SqlProfiles
from storage.turn_reads import SqlTurnReads
from storage.web_sessions import SqlSessions
from stores import Storage

KEY = b"k" * 32
OF_THE_INSTALLATION = {
    "SqlSessions.open": "a one-time code decides whose session it is",
    "SqlSessions.see": "the cookie decides whose session it is",
    "SqlSessions.offer": "as above",
}


@dataclass(frozen=True, slots=True)
class Page:
    """What the victim has."""

    session_id: str
    code: str
    sha256: str
    """Of a file of theirs."""
    call_id: str
    """Of a tool call of their turn."""
    cookie: Cookie

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody of another team is told."""
        return self.session_id, self.code, self.cookie.series, self.cookie.token


async def furnish(storage: Storage, victim: User, turn_id: str) -> Page:
    """A session, and a link that waits; a file and a tool call of theirs are there already."""
    sessions = SqlSessions(storage.db, storage.keys.derive("audit"))
    maker = Maker(user_id=victim.id)
    code = await sessions.new_link(victim, maker)
    waiting = await sessions.new_link(victim, maker)
    assert code is not None
    assert waiting is not None
    opened = await sessions.open(code, "Firefox on Linux")
    assert opened is not None
    sha256, call_id = await storage.db.read(_their_things, turn_id)
    return Page(opened.signed_in.session.id, waiting, sha256, call_id, opened.cookie)


def _their_things(conn: sa.Connection, turn_id: str) -> tuple[str, str]:
    files = execute(conn, "SELECT attachments FROM turns WHERE id = :id", id=turn_id).one()
    steps = execute(conn, "SELECT payload FROM turn_steps WHERE turn_id = :id", id=turn_id).all()
    found = [step for row in steps if "call_id" in (step := json.loads(str(row[0])))]
    return json.loads(str(files[0]))[0]["sha256"], str(found[0]["call_id"])


def calls(
    db: Database, mine: User, victim: User, page: Page, theirs: Turn
) -> dict[str, Callable[[], Awaitable[object]]]:
    """Each method with the victim's ids and the intruder's tenant."""
    sessions, profiles = SqlSessions(db, KEY), SqlProfiles(db)
    forged = User(
        id=victim.id, tenant_id=mine.tenant_id, email="x@example.com", name="x", role=victim.role
    )
    maker = Maker(user_id=mine.id, parent=page.session_id)
    shelf, reads = SqlShelf(db), SqlTurnReads(db)
    who, conversation = (mine.tenant_id, victim.id), theirs.conversation_id
    return {
        "SqlSessions.new_link": lambda: sessions.new_link(forged, Maker(user_id=mine.id)),
        "SqlSessions.new_link parent": lambda: sessions.new_link(mine, maker),
        "SqlSessions.alive": lambda: sessions.alive(mine.tenant_id, page.session_id),
        "SqlSessions.of_user": lambda: sessions.of_user(mine.tenant_id, victim.id),
        "SqlSessions.succeed": lambda: sessions.succeed(forged, page.session_id, "ses_x"),
        "SqlSessions.sign_out": lambda: sessions.sign_out(forged, page.session_id),
        "SqlSessions.revoke": lambda: sessions.revoke(forged, page.session_id, None),
        "SqlSessions.revoke_others": lambda: sessions.revoke_others(forged, None),
        "SqlProfiles.profile": lambda: profiles.profile(forged),
        "SqlProfiles.choose_language": lambda: profiles.choose_language(forged, "zh"),
        "SqlProfiles.member": lambda: profiles.member(mine.tenant_id, victim.email),
        "SqlShelf.listed": lambda: shelf.listed(*who, query="", after=None, limit=10),
        "SqlShelf.entry": lambda: shelf.entry(*who, conversation),
        "SqlShelf.rename": lambda: shelf.rename(*who, conversation, "forged"),
        "SqlShelf.news": lambda: shelf.news(*who, since_ms=0),
        "SqlTurnReads.turns": lambda: reads.turns(*who, conversation, before=None, limit=10),
        "SqlTurnReads.calls": lambda: reads.calls(*who, theirs.id),
        "SqlTurnReads.output": lambda: reads.output(*who, theirs.id, page.call_id),
        "SqlTurnReads.file": lambda: reads.file(*who, conversation, page.sha256),
    }
