"""The page's part of the tenant walk: sessions, links, and what the page knows of its reader."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from core.sign_in import Cookie, Maker
from core.tenants import User
from storage.database import Database
from storage.profiles import SqlProfiles
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
    cookie: Cookie

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody of another team is told."""
        return self.session_id, self.code, self.cookie.series, self.cookie.token


async def furnish(storage: Storage, victim: User) -> Page:
    """A session, and a link that waits."""
    sessions = SqlSessions(storage.db, storage.keys.derive("audit"))
    maker = Maker(user_id=victim.id)
    code = await sessions.new_link(victim, maker)
    waiting = await sessions.new_link(victim, maker)
    assert code is not None
    assert waiting is not None
    opened = await sessions.open(code, "Firefox on Linux")
    assert opened is not None
    return Page(opened.signed_in.session.id, waiting, opened.cookie)


def calls(
    db: Database, mine: User, victim: User, page: Page
) -> dict[str, Callable[[], Awaitable[object]]]:
    """Each method with the victim's ids and the intruder's tenant."""
    sessions, profiles = SqlSessions(db, KEY), SqlProfiles(db)
    forged = User(
        id=victim.id, tenant_id=mine.tenant_id, email="x@example.com", name="x", role=victim.role
    )
    theirs = Maker(user_id=mine.id, parent=page.session_id)
    return {
        "SqlSessions.new_link": lambda: sessions.new_link(forged, Maker(user_id=mine.id)),
        "SqlSessions.new_link parent": lambda: sessions.new_link(mine, theirs),
        "SqlSessions.alive": lambda: sessions.alive(mine.tenant_id, page.session_id),
        "SqlSessions.of_user": lambda: sessions.of_user(mine.tenant_id, victim.id),
        "SqlSessions.sign_out": lambda: sessions.sign_out(forged, page.session_id),
        "SqlSessions.revoke": lambda: sessions.revoke(forged, page.session_id, None),
        "SqlSessions.revoke_others": lambda: sessions.revoke_others(forged, None),
        "SqlProfiles.profile": lambda: profiles.profile(forged),
        "SqlProfiles.choose_language": lambda: profiles.choose_language(forged, "zh"),
        "SqlProfiles.member": lambda: profiles.member(mine.tenant_id, victim.email),
    }
