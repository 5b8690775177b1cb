"""Sessions on both databases: links work once, cookies change, and everything ends with its maker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import app
from core.errors import NotFound
from core.keys import KEY_FILE
from core.rotation import OFFER_AGAIN_MS, ROTATE_MS, SETTLED_MS
from core.sign_in import IDLE_MS, LOGIN_TTL_MS, MOST_LINKS, WHOLE_MS, Cookie, Maker, Opened
from core.tenants import Role, User
from storage.backup import backup
from storage.database import Database, execute
from storage.operations import SqlOperations
from storage.people import SqlPeople
from storage.profiles import SqlProfiles
from storage.restore import restore
from storage.team import SqlTeam
from storage.web_sessions import SqlSessions
from tests.storage.kit import install
from tests.storage.places import KINDS, Places, opened
from tests.support.core_fixtures import migrated_postgres, postgres_place, site, sqlite_template
from tests.support.core_kit import Site

__all__ = ["migrated_postgres", "postgres_place", "site", "sqlite_template"]

KEY = b"k" * 32
_TIMES = ("rotated_at", "offered_at", "created_at", "seen_at", "expires_at", "ends_at")


class Desk:
    """The sessions of one installation, and a clock that only goes forward."""

    def __init__(self, db: Database, admin: User, member: User) -> None:
        """Wire the stores."""
        self.db, self.admin, self.member = db, admin, member
        self.sessions = SqlSessions(db, KEY)
        self.people, self.team = SqlPeople(db), SqlTeam(db, KEY)

    async def link(self, user: User | None = None, **maker: object) -> str:
        """A new link."""
        user = user or self.admin
        made = Maker(**{"user_id": user.id, **maker})  # type: ignore[arg-type]
        code = await self.sessions.new_link(user, made)
        assert code is not None
        return code

    async def open(self, user: User | None = None, **maker: object) -> Opened:
        """A new session."""
        opened = await self.sessions.open(await self.link(user, **maker), "Firefox on Linux")
        assert opened is not None
        return opened

    async def later(self, ms: int) -> None:
        """As if so many milliseconds had passed."""
        moved = ", ".join(f"{name} = {name} - :ms" for name in _TIMES)
        await self._write(f"UPDATE web_sessions SET {moved}", ms=ms)
        ended = "UPDATE web_sessions SET revoked_at = revoked_at - :ms WHERE revoked_at IS NOT NULL"
        await self._write(ended, ms=ms)
        await self._write("UPDATE sign_in_codes SET expires_at = expires_at - :ms", ms=ms)

    async def _write(self, sql: str, **values: int) -> None:
        def work(conn: object) -> None:
            execute(conn, sql, **values)  # type: ignore[arg-type]

        await self.db.transaction(work)

    async def actions(self) -> list[str]:
        """What the audit log says of sessions, oldest first."""
        sql = "SELECT action FROM audit_log WHERE action LIKE 'session.%' ORDER BY seq"
        rows = await self.db.read(lambda conn: execute(conn, sql).all())
        return [str(row[0]) for row in rows]

    async def live(self, cookie: Cookie) -> bool:
        """Whether a cookie is taken."""
        return await self.sessions.see(cookie) is not None


@pytest.fixture
async def desk(site: Site) -> AsyncIterator[Desk]:
    """An installation with an admin and a member."""
    async with app.open_storage(site.settings()) as storage:
        people = storage.people
        admin = await people.install(tenant_name="My team", admin_email="admin@localhost")
        member = await people.add_user(
            admin.tenant_id, email="ann@example.com", name="Ann", role=Role.OPERATOR
        )
        assert isinstance(member, User)
        yield Desk(storage.db, admin, member)


async def test_of_two_at_once_one_gets_in(desk: Desk) -> None:
    """A code is used up by exactly one, however many send it at the same moment."""
    code = await desk.link()
    opened = await asyncio.gather(*(desk.sessions.open(code, "") for _ in range(4)))
    assert sum(one is not None for one in opened) == 1
    assert await desk.sessions.open(code, "") is None
    assert await desk.actions() == ["session.link_made", "session.opened"]


async def test_a_link_is_old_after_half_an_hour(desk: Desk) -> None:
    """One millisecond before it works; and what was never a code does not."""
    first, second = await desk.link(), await desk.link()
    await desk.later(LOGIN_TTL_MS - 20_000)
    assert await desk.sessions.open(first, "") is not None
    await desk.later(20_001)
    assert await desk.sessions.open(second, "") is None
    assert await desk.sessions.open("never was one", "") is None


async def test_unused_links_are_few(desk: Desk) -> None:
    """A new one kills the oldest of the same person, and of nobody else."""
    other = await desk.link(desk.member)
    codes = []
    for _ in range(MOST_LINKS + 2):
        codes.append(await desk.link())
        await asyncio.sleep(0.002)  # of the same millisecond none is the oldest
    worked = [await desk.sessions.open(code, "") is not None for code in codes]
    assert worked == [False] * 2 + [True] * MOST_LINKS
    assert await desk.sessions.open(other, "") is not None


async def test_nothing_that_opens_anything_is_stored(desk: Desk) -> None:
    """The database has hashes alone: of the code, and of both halves of the cookie."""
    code = await desk.link()
    opened = await desk.sessions.open(code, "")
    assert opened is not None
    for table in ("web_sessions", "sign_in_codes", "audit_log"):
        rows = await desk.db.read(lambda conn, t=table: execute(conn, f"SELECT * FROM {t}").all())  # type: ignore[misc]
        assert rows
        for secret in (code, opened.cookie.series, opened.cookie.token):
            assert secret not in repr(rows)


async def test_a_cookie_changes_every_hour(desk: Desk) -> None:
    """The old one goes on until the new one was seen, and a minute longer."""
    old = (await desk.open()).cookie
    assert await desk.sessions.offer(old) is None
    await desk.later(ROTATE_MS)
    seen = await desk.sessions.see(old)
    assert seen is not None
    assert seen.rotate
    token = await desk.sessions.offer(old)
    assert token is not None
    assert await desk.sessions.offer(old) is None, "another tab waits for that answer"
    assert await desk.live(old), "the answer may be lost"
    new = Cookie(series=old.series, token=token)
    assert await desk.live(new)
    assert await desk.live(old)
    await desk.later(SETTLED_MS - 5000)
    assert await desk.live(old)


async def test_a_lost_answer_is_made_up_for(desk: Desk) -> None:
    """Whoever never got the offered token is offered another one, and keeps the old one meanwhile."""
    old = (await desk.open()).cookie
    await desk.later(ROTATE_MS)
    lost = await desk.sessions.offer(old)
    await desk.later(OFFER_AGAIN_MS)
    token = await desk.sessions.offer(old)
    assert token not in (None, lost)
    assert await desk.live(Cookie(series=old.series, token=str(token)))


async def test_a_copy_ends_the_session_for_both(desk: Desk) -> None:
    """An old cookie that comes back later was copied: the log says so, nobody stays."""
    old = (await desk.open()).cookie
    await desk.later(ROTATE_MS)
    new = Cookie(series=old.series, token=str(await desk.sessions.offer(old)))
    assert await desk.live(new)
    await desk.later(SETTLED_MS + 1)
    assert await desk.live(new)
    assert not await desk.live(old)
    assert not await desk.live(new)
    assert (await desk.actions())[-1] == "session.copied"
    assert await desk.sessions.of_user(desk.admin.tenant_id, desk.admin.id) == ()


async def test_a_very_old_copy_is_noticed_too(desk: Desk) -> None:
    """However many times the cookie changed since; a wrong series touches nobody."""
    first = cookie = (await desk.open()).cookie
    for _ in range(4):
        await desk.later(ROTATE_MS)
        cookie = Cookie(series=first.series, token=str(await desk.sessions.offer(cookie)))
        assert await desk.live(cookie)
    assert not await desk.live(Cookie(series="x" * 43, token=cookie.token))
    assert await desk.live(cookie)
    assert not await desk.live(first)
    assert not await desk.live(cookie)


async def test_of_two_offers_at_once_one_counts(desk: Desk) -> None:
    """Two tabs that ask in the same moment get one new token between them."""
    old = (await desk.open()).cookie
    await desk.later(ROTATE_MS)
    offers = await asyncio.gather(*(desk.sessions.offer(old) for _ in range(4)))
    assert sum(offer is not None for offer in offers) == 1


async def test_idle_sessions_end_and_used_ones_go_on(desk: Desk) -> None:
    """A week without a request is the end; each request makes it a week again, thirty days long."""
    idle = (await desk.open()).cookie
    await desk.later(IDLE_MS - 10_000)
    assert await desk.live(idle)
    await desk.later(IDLE_MS - 10_000)
    assert await desk.live(idle)
    await desk.later(IDLE_MS + 1)
    assert not await desk.live(idle)
    used = (await desk.open()).cookie
    for _ in range(6):
        await desk.later(WHOLE_MS // 6 - 1000)
        assert await desk.live(used)
    await desk.later(10_000)
    assert not await desk.live(used)


async def test_roles_are_read_at_each_request_and_leavers_are_out(desk: Desk) -> None:
    """A new role counts at once; who is disabled is out, comes back without sessions or links."""
    cookie = (await desk.open(desk.member)).cookie
    waiting = await desk.link(desk.member)
    tenant_id, admin = desk.admin.tenant_id, desk.admin.id
    await desk.team.set_role(tenant_id, desk.member.id, Role.VIEWER, actor=admin)
    seen = await desk.sessions.see(cookie)
    assert seen is not None
    assert seen.user.role is Role.VIEWER
    assert await desk.sessions.alive(tenant_id, seen.session.id)
    await desk.team.disable_user(tenant_id, desk.member.id, actor=admin)
    assert not await desk.live(cookie)
    assert not await desk.sessions.alive(tenant_id, seen.session.id)
    assert await desk.sessions.new_link(desk.member, Maker(user_id=admin)) is None
    back = await desk.team.add_user(
        tenant_id, email=desk.member.email, name="Ann", role=Role.OPERATOR, actor=admin
    )
    assert isinstance(back, User)
    assert not await desk.live(cookie)
    assert await desk.sessions.open(waiting, "") is None


async def test_tokens_end_with_the_session_they_were_made_in(desk: Desk) -> None:
    """On signing out; and none is made in a session that has ended."""
    session = (await desk.open()).signed_in.session
    await desk.people.save_token(desk.admin, "tok_1", expires_ms=2**50, parent=session.id)
    await desk.people.save_token(desk.admin, "tok_2", expires_ms=2**50, parent="tok_1")
    assert await desk.people.token_user("tok_2", desk.admin.id) is not None
    assert await desk.sessions.sign_out(desk.admin, session.id)
    for token_id in ("tok_1", "tok_2"):
        assert await desk.people.token_user(token_id, desk.admin.id) is None
    with pytest.raises(NotFound):
        await desk.people.save_token(desk.admin, "tok_3", expires_ms=2**50, parent=session.id)
    assert not await desk.sessions.sign_out(desk.admin, session.id)


async def test_a_session_ends_with_the_token_its_link_was_made_with(desk: Desk) -> None:
    """Revoked or expired: a stolen token does not live on as a session, nor as a link."""
    await desk.people.save_token(desk.admin, "tok_1", expires_ms=2**50)
    opened = await desk.open(parent="tok_1", ends_ms=2**50)
    waiting = await desk.link(parent="tok_1")
    child = await desk.open(parent=opened.signed_in.session.id)
    revoked = await desk.team.revoke_token(
        desk.admin.tenant_id, "tok_1", owner=None, actor=desk.admin.id
    )
    assert revoked
    assert not await desk.live(opened.cookie)
    assert not await desk.live(child.cookie)
    assert await desk.sessions.open(waiting, "") is None
    assert await desk.sessions.new_link(desk.admin, Maker(user_id="x", parent="tok_1")) is None
    ends = opened.signed_in.session.created_at_ms + 3_600_000
    short = await desk.open(ends_ms=ends)
    assert short.signed_in.session.ends_at_ms == short.signed_in.session.expires_at_ms == ends


async def test_signing_out_leaves_the_phone_in(desk: Desk) -> None:
    """What was let in from a browser goes on when it signs out, but not when it was copied."""
    first = await desk.open()
    phone = await desk.open(parent=first.signed_in.session.id)
    assert await desk.sessions.sign_out(desk.admin, first.signed_in.session.id)
    assert await desk.live(phone.cookie)
    second = await desk.open()
    theirs = await desk.open(parent=second.signed_in.session.id)
    assert not await desk.live(Cookie(series=second.cookie.series, token="stolen"))
    assert not await desk.live(theirs.cookie)


async def test_one_ends_ones_own_sessions_alone(desk: Desk) -> None:
    """All but the current one, or one by one; nobody else's; the one that asks is spared."""
    first = await desk.open()
    here = await desk.open(parent=first.signed_in.session.id)
    foreign = await desk.open(desk.member)
    waiting = await desk.link()
    current = here.signed_in.session.id
    listed = await desk.sessions.of_user(desk.admin.tenant_id, desk.admin.id)
    assert {one.id for one in listed} == {first.signed_in.session.id, current}
    assert listed[0].browser == "Firefox on Linux"
    assert not await desk.sessions.revoke(desk.admin, foreign.signed_in.session.id, current)
    assert await desk.sessions.revoke(desk.admin, first.signed_in.session.id, current)
    assert not await desk.live(first.cookie)
    assert await desk.live(here.cookie)
    more = await desk.open()
    assert await desk.sessions.revoke_others(desk.admin, current) == 1
    assert not await desk.live(more.cookie)
    assert await desk.live(here.cookie)
    assert await desk.live(foreign.cookie)
    assert await desk.sessions.open(waiting, "") is None


async def test_what_has_ended_is_forgotten(desk: Desk) -> None:
    """The housekeeping removes it, and ends the tokens of sessions that nobody used any more."""
    opened = await desk.open()
    await desk.people.save_token(
        desk.admin, "tok_1", expires_ms=2**50, parent=opened.signed_in.session.id
    )
    other = await desk.open()
    await desk.sessions.sign_out(desk.admin, other.signed_in.session.id)
    await desk.link()
    await desk.later(IDLE_MS + 1)
    stays = await desk.open()
    await SqlOperations(desk.db).housekeep()
    for table, left in (("web_sessions", 1), ("sign_in_codes", 1)):
        rows = await desk.db.read(
            lambda conn, t=table: execute(conn, f"SELECT * FROM {t}").all()  # type: ignore[misc]
        )
        assert len(rows) == left, table
    assert await desk.people.token_user("tok_1", desk.admin.id) is None
    assert await desk.live(stays.cookie)


async def test_the_page_knows_its_reader(desk: Desk) -> None:
    """Team, language and whether it is the operator's team; another team's people are nobody."""
    profiles = SqlProfiles(desk.db)
    assert (await profiles.profile(desk.admin)).operator_team
    await profiles.choose_language(desk.admin, "zh")
    assert (await profiles.profile(desk.admin)).language == "zh"
    await profiles.choose_language(desk.admin, None)
    assert (await profiles.profile(desk.admin)).language == ""
    tenant = await desk.people.add_tenant("Other")
    assert await profiles.member(tenant.id, desk.member.email) is None
    assert await profiles.member(desk.admin.tenant_id, "ANN@example.com") == desk.member
    foreign = await desk.people.add_user(
        tenant.id, email="eve@example.com", name="Eve", role=Role.ADMIN
    )
    assert isinstance(foreign, User)
    profile = await profiles.profile(foreign)
    assert (profile.team, profile.operator_team) == ("Other", False)


@pytest.mark.parametrize("kind", KINDS)
async def test_nobody_is_signed_in_after_a_restore(places: Places, kind: str) -> None:
    """Who signed out since the backup was written stays out, and its links open nothing."""
    source = places.new("sqlite", "source")
    async with opened(source) as db:
        admin = await install(db, source.data_dir)
        sessions = SqlSessions(db, KEY)
        codes = [await sessions.new_link(admin, Maker(user_id=admin.id)) for _ in range(2)]
        session = await sessions.open(str(codes[0]), "")
        assert session is not None
    await backup(source, places.root / "file")
    key = (source.data_dir / KEY_FILE).read_text().strip()
    copy = places.new(kind, "copy", secret=key)
    await restore(copy, places.root / "file")
    async with opened(copy) as db:
        sessions = SqlSessions(db, KEY)
        assert await sessions.see(session.cookie) is None
        assert await sessions.open(str(codes[1]), "") is None
