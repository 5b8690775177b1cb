"""What people let others in with, and what ends with it when they go."""

from __future__ import annotations

from core.sign_in import Cookie, Opened
from core.tenants import Role, User
from storage.operations import SqlOperations
from tests.storage.test_web_sessions import Desk, desk
from tests.support.core_fixtures import migrated_postgres, postgres_place, site, sqlite_template

__all__ = ["desk", "migrated_postgres", "postgres_place", "site", "sqlite_template"]


async def test_who_lets_others_in_takes_it_along_when_they_go(desk: Desk) -> None:
    """An admin who opened somebody else's link is out with all of it, shut out or demoted."""
    tenant_id, boss = desk.admin.tenant_id, desk.admin.id
    eve = await desk.people.add_user(
        tenant_id, email="eve@example.com", name="Eve", role=Role.ADMIN
    )
    assert isinstance(eve, User)

    async def as_ann() -> tuple[Opened, str]:
        """Eve lets herself in as Ann, signs out, and housekeeping forgets her own session."""
        own = await desk.open(eve)
        session_id = own.signed_in.session.id
        taken = await desk.open(desk.member, user_id=eve.id, parent=session_id)
        waiting = await desk.link(desk.member, user_id=eve.id, parent=None)
        assert await desk.sessions.sign_out(eve, session_id)
        await SqlOperations(desk.db).housekeep()
        assert await desk.live(taken.cookie)
        return taken, waiting

    taken, waiting = await as_ann()
    await desk.team.set_role(tenant_id, eve.id, Role.OPERATOR, actor=boss)
    assert not await desk.live(taken.cookie)
    assert await desk.sessions.open(waiting, "") is None
    await desk.team.set_role(tenant_id, eve.id, Role.ADMIN, actor=boss)
    taken, waiting = await as_ann()
    await desk.team.disable_user(tenant_id, eve.id, actor=boss)
    assert not await desk.live(taken.cookie)
    assert await desk.sessions.open(waiting, "") is None


async def test_forgetting_a_session_breaks_no_chain(desk: Desk) -> None:
    """What a stolen session let in over others ends with it, also when those are forgotten."""
    first = await desk.open()
    second = await desk.open(parent=first.signed_in.session.id)
    third = await desk.open(parent=second.signed_in.session.id)
    assert await desk.sessions.sign_out(desk.admin, second.signed_in.session.id)
    await SqlOperations(desk.db).housekeep()
    assert await desk.live(third.cookie)
    assert not await desk.live(Cookie(series=first.cookie.series, token="stolen"))
    assert not await desk.live(third.cookie)
