"""Sessions of browsers: opened with a one-time code, carried by a cookie, ended by people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from core.ids import new_id
from core.rotation import Rotation, Verdict, digest, new_secret
from core.sign_in import (
    IDLE_MS,
    MAX_BROWSER_CHARS,
    WHOLE_MS,
    Cookie,
    Maker,
    Opened,
    Session,
    SignedIn,
)
from core.tenants import Role, User
from storage.accounts import note
from storage.database import Database, execute, now_ms
from storage.derived import live_parent
from storage.joining import live_user
from storage.people import user_of_row
from storage.rows import integer, optional_text, text
from storage.session_endings import Ending, end_session, succeed
from storage.sign_in_codes import Used, new_link, note_opened, use_code

SEEN_EVERY_MS = 60 * 1000
"""``seen_at`` is written this seldom: most requests only read."""


class SqlSessions:
    """Implements ``bots.web.sign_in.SessionStore`` and ``core.sign_in.SignInLinks``."""

    def __init__(self, db: Database, audit_key: bytes) -> None:
        """``audit_key`` chains the rows that each beginning and end leaves."""
        self._db = db
        self._key = audit_key

    async def new_link(self, user: User, maker: Maker) -> str | None:
        """See ``core.sign_in.SignInLinks``."""
        return await self._db.transaction(new_link, self._key, user, maker)

    async def open(self, code: str, browser: str, attempt: str = "") -> Opened | None:
        """Use a code up: a new session, or None for a code that opens nothing (any more).

        ``attempt`` is the secret of the page that asks. Its answer may have been lost: the same
        attempt may ask again for a minute, and gets another session instead of the first.
        """
        return await self._db.transaction(_open, self._key, (code, attempt), browser)

    async def succeed(self, user: User, session_id: str, heir: str) -> None:
        """End a session whose browser has another one now, which keeps what was made in it."""
        await self._db.transaction(succeed, self._key, user, session_id, heir)

    async def see(self, cookie: Cookie) -> SignedIn | None:
        """Whose cookie it is now; None when it is nobody's.

        An older token than the session's ends it: somebody has a copy.
        """
        series, token = digest(cookie.series), digest(cookie.token)
        found = await self._db.read(_find, series)
        if found is None:
            return None
        if found.settled(token):
            return found.signed_in(token)
        return await self._db.transaction(_act, self._key, series, token)

    async def offer(self, cookie: Cookie) -> str | None:
        """Another token for the session, when it is time for one."""
        series, token = digest(cookie.series), digest(cookie.token)
        return await self._db.transaction(_offer, series, token)

    async def alive(self, tenant_id: str, session_id: str) -> bool:
        """Whether the session goes on."""
        return await self._db.read(_alive, tenant_id, session_id)

    async def of_user(self, tenant_id: str, user_id: str) -> tuple[Session, ...]:
        """A person's live sessions, the most recently used first."""
        return await self._db.read(_of_user, tenant_id, user_id)

    async def sign_out(self, user: User, session_id: str) -> bool:
        """End the session one is in, with the tokens that were made in it."""
        who = (user.tenant_id, user.id, session_id)
        return await self._db.transaction(end_session, self._key, who, Ending(why="signed out"))

    async def revoke(self, user: User, session_id: str, current: str | None) -> bool:
        """End a session of one's own, with all that was made in it; ``current`` goes on."""
        who = (user.tenant_id, user.id, session_id)
        how = Ending(why="revoked", deep=True, spare=current or "")
        return await self._db.transaction(end_session, self._key, who, how)

    async def revoke_others(self, user: User, current: str | None) -> int:
        """End all of one's own sessions but ``current``, and kill unused links; how many."""
        return await self._db.transaction(_revoke_others, self._key, user, current or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A live session of somebody who is not shut out."""

    user: User
    session: Session
    rotation: Rotation
    now: int

    def settled(self, token: str) -> bool:
        """Whether nothing has to be written."""
        fresh = 0 <= self.now - self.session.seen_at_ms < SEEN_EVERY_MS
        rotation = self.rotation
        good = rotation.judge(token) is Verdict.GOOD
        return fresh and good and rotation.used(token, self.now) == rotation

    def signed_in(self, token: str) -> SignedIn:
        """For a token that is good."""
        return SignedIn(
            user=self.user, session=self.session, rotate=self.rotation.due(token, self.now)
        )


_COLUMNS = (
    "s.id, s.created_at, s.seen_at, s.expires_at, s.ends_at, s.browser, s.token_hash,"
    " s.rotated_at, s.next_hash, s.offered_at, s.previous_hash,"
    " u.id, u.tenant_id, u.email, u.name, u.role"
)
_LIVE = (
    " FROM web_sessions s JOIN users u ON u.id = s.user_id AND u.tenant_id = s.tenant_id"
    " WHERE s.revoked_at IS NULL AND s.expires_at > {now} AND u.disabled_at IS NULL"
)


def _find(conn: sa.Connection, series: str) -> _Found | None:
    row = execute(
        conn, f"SELECT {_COLUMNS}{_LIVE} AND s.series_hash = :series", series=series
    ).first()
    if row is None:
        return None
    return _Found(
        user=user_of_row(row[11:16]),
        session=_session(row),
        rotation=Rotation(
            current=text(row[6]),
            rotated_at=integer(row[7]),
            offered=optional_text(row[8]),
            offered_at=None if row[9] is None else integer(row[9]),
            previous=optional_text(row[10]),
        ),
        now=now_ms(conn),
    )


def _session(row: Sequence[object]) -> Session:
    return Session(
        id=text(row[0]),
        created_at_ms=integer(row[1]),
        seen_at_ms=integer(row[2]),
        expires_at_ms=integer(row[3]),
        ends_at_ms=integer(row[4]),
        browser=text(row[5]),
    )


def _locked(conn: sa.Connection, series: str) -> _Found | None:
    """The session, locked first: on PostgreSQL what is read then is what counts."""
    execute(
        conn, "SELECT id FROM web_sessions WHERE series_hash = :series{row}", series=series
    ).all()
    return _find(conn, series)


def _act(conn: sa.Connection, key: bytes, series: str, token: str) -> SignedIn | None:
    """What a request changes: the offered token counts, or a copy ends the session."""
    found = _locked(conn, series)
    if found is None:
        return None
    rotation = found.rotation
    match rotation.judge(token):
        case Verdict.COPIED:
            who = (found.user.tenant_id, found.user.id, found.session.id)
            how = Ending(why="an older cookie was used", action="session.copied", deep=True)
            end_session(conn, key, who, how)
            return None
        case Verdict.FIRST_SEEN:
            rotation = rotation.seen(found.now)
        case Verdict.GOOD:
            rotation = rotation.used(token, found.now)
    _save(conn, found.session.id, rotation)
    execute(
        conn,
        "UPDATE web_sessions SET seen_at = {now}, expires_at ="
        " CASE WHEN ends_at < {now} + :idle THEN ends_at ELSE {now} + :idle END WHERE id = :id",
        idle=IDLE_MS,
        id=found.session.id,
    )
    after = _find(conn, series)
    return None if after is None else after.signed_in(token)


def _offer(conn: sa.Connection, series: str, token: str) -> str | None:
    found = _locked(conn, series)
    if found is None or not found.rotation.due(token, found.now):
        return None
    made = new_secret()
    _save(conn, found.session.id, found.rotation.offer(digest(made), found.now))
    return made


def _save(conn: sa.Connection, session_id: str, rotation: Rotation) -> None:
    execute(
        conn,
        "UPDATE web_sessions SET token_hash = :current, rotated_at = :rotated,"
        " next_hash = :offered, offered_at = :offered_at, previous_hash = :previous"
        " WHERE id = :id",
        current=rotation.current,
        rotated=rotation.rotated_at,
        offered=rotation.offered,
        offered_at=rotation.offered_at,
        previous=rotation.previous,
        id=session_id,
    )


def _open(conn: sa.Connection, key: bytes, asked: tuple[str, str], browser: str) -> Opened | None:
    used = use_code(conn, *asked)
    if used is None:
        return None
    user = live_user(conn, used.tenant_id, "id = :value", used.user_id)
    if user is None or not _made_by_somebody(conn, used):
        return None
    series, token, session_id = new_secret(), new_secret(), new_id("ses")
    now = now_ms(conn)
    ends = min(now + WHOLE_MS, now + WHOLE_MS if used.ends_ms is None else used.ends_ms)
    if ends <= now:
        return None
    session = Session(
        id=session_id,
        created_at_ms=now,
        seen_at_ms=now,
        expires_at_ms=min(ends, now + IDLE_MS),
        ends_at_ms=ends,
        browser=browser[:MAX_BROWSER_CHARS],
    )
    if used.opened is not None:  # the answer that told of it was lost
        execute(conn, "DELETE FROM web_sessions WHERE id = :id", id=used.opened)
    _insert(conn, user, session, (digest(series), digest(token)), used)
    note_opened(conn, asked[0], session_id)
    detail: dict[str, str | int] = {"session": session_id, "by": used.created_by}
    note(conn, key, user.tenant_id, user.id, "session.opened", detail)
    return Opened(
        signed_in=SignedIn(user=user, session=session), cookie=Cookie(series=series, token=token)
    )


def _made_by_somebody(conn: sa.Connection, used: Used) -> bool:
    """Whether what the link was made with is still live, and its maker may still make it."""
    if used.created_by != used.user_id:
        maker = live_user(conn, used.tenant_id, "id = :value", used.created_by)
        if maker is None or not maker.role.includes(Role.ADMIN):
            return False
    return used.parent is None or live_parent(conn, used.tenant_id, used.parent)


def _insert(
    conn: sa.Connection, user: User, session: Session, hashes: tuple[str, str], used: Used
) -> None:
    execute(
        conn,
        "INSERT INTO web_sessions (id, tenant_id, user_id, series_hash, token_hash, rotated_at,"
        " created_at, seen_at, expires_at, ends_at, browser, parent, made_by) VALUES (:id,"
        " :tenant, :user, :series, :token, :now, :now, :now, :expires, :ends, :browser, :parent,"
        " :by)",
        id=session.id,
        tenant=user.tenant_id,
        user=user.id,
        series=hashes[0],
        token=hashes[1],
        now=session.created_at_ms,
        expires=session.expires_at_ms,
        ends=session.ends_at_ms,
        browser=session.browser,
        parent=used.parent,
        by=used.created_by,
    )


def _alive(conn: sa.Connection, tenant_id: str, session_id: str) -> bool:
    row = execute(
        conn,
        f"SELECT 1{_LIVE} AND s.id = :id AND s.tenant_id = :tenant",
        id=session_id,
        tenant=tenant_id,
    ).first()
    return row is not None


def _of_user(conn: sa.Connection, tenant_id: str, user_id: str) -> tuple[Session, ...]:
    rows = execute(
        conn,
        f"SELECT {_COLUMNS}{_LIVE} AND s.tenant_id = :tenant AND s.user_id = :user"
        " ORDER BY s.seen_at DESC, s.id DESC",
        tenant=tenant_id,
        user=user_id,
    ).all()
    return tuple(_session(row) for row in rows)


def _revoke_others(conn: sa.Connection, key: bytes, user: User, current: str) -> int:
    execute(
        conn,
        "DELETE FROM sign_in_codes WHERE tenant_id = :tenant AND user_id = :user",
        tenant=user.tenant_id,
        user=user.id,
    )
    how = Ending(why="revoked", deep=True, spare=current)
    others = [one.id for one in _of_user(conn, user.tenant_id, user.id) if one.id != current]
    for session_id in others:
        end_session(conn, key, (user.tenant_id, user.id, session_id), how)
    return len(others)
