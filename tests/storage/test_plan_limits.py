"""How many people a plan allows, wherever somebody is let in."""

from __future__ import annotations

import asyncio
import time

import pytest

from billing.invoices import Party
from billing.periods import DAY_MS, month_of
from core.refusals import Rejected
from core.tenants import Role, User
from storage.access import SqlGate
from storage.admission import ensure_counter
from storage.database import Database, execute
from storage.people import SqlPeople
from storage.plan_limits import switch
from storage.plans import SqlPlans
from storage.rows import integer
from storage.subscriptions import current
from storage.team import SqlTeam
from tests.storage.kit import install
from tests.storage.payment_kit import Hands
from tests.storage.racing import rows
from tests.storage.test_access import ANN, BOB, command, said

KEY = b"k" * 32


async def team_of(db: Database, people: int, *, on: bool = True) -> User:
    """A team on the free plan, which has room for three."""
    admin = await install(db)
    await SqlPlans(db, Hands(), "USD", Party(name="IT0")).seed()
    await db.transaction(switch, on=on)
    for number in range(1, people):
        assert isinstance(await added(db, admin, f"u{number}@example.org"), User)
    return admin


async def added(db: Database, admin: User, email: str) -> User | str | Rejected:
    """What comes of adding somebody."""
    return await SqlTeam(db, KEY).add_user(
        admin.tenant_id, email=email, name="", role=Role.VIEWER, actor=admin.id
    )


async def test_a_full_team_takes_nobody_in(db: Database) -> None:
    """Neither by address, nor by invitation, nor by the code of a stranger; each time it says why.

    Who is there already is told that, and the stranger's code still works afterwards.
    """
    admin, gate = await team_of(db, 3), SqlGate(db, KEY)
    full = await added(db, admin, "new@example.org")
    assert isinstance(full, Rejected)
    assert full.code == "limit_reached"
    assert "Free plan allows 3 people" in full.sentence
    assert isinstance(await added(db, admin, "U1@example.org"), str)
    code = await gate.ask_in(said(BOB))
    assert isinstance(await gate.let_in(command(admin, ANN), code, Role.VIEWER), Rejected)
    invited = await gate.invite_code(admin, email="new@example.org", role=Role.VIEWER)
    assert isinstance(invited, Rejected)
    await db.transaction(switch, on=False)
    assert not isinstance(await gate.let_in(command(admin, ANN), code, Role.VIEWER), Rejected)


async def test_an_invitation_finds_no_seat_after_a_downgrade(db: Database) -> None:
    """Whoever comes too late is told so, and may use the code once there is room again."""
    admin, gate = await team_of(db, 2), SqlGate(db, KEY)
    code = await gate.invite_code(admin, email="new@example.org", role=Role.VIEWER)
    assert isinstance(code, str)
    assert isinstance(await added(db, admin, "faster@example.org"), User)
    refused = await gate.redeem(said(BOB), code)
    assert isinstance(refused, Rejected)
    assert refused.code == "limit_reached"
    await SqlTeam(db, KEY).disable_user(
        admin.tenant_id, (await added_before(db, admin)).id, actor=admin.id
    )
    assert await gate.redeem(said(BOB), code) is None


async def added_before(db: Database, admin: User) -> User:
    """Somebody of the team who is not its admin."""
    users = await SqlPeople(db).users(admin.tenant_id)
    return next(user for user in users if user.id != admin.id)


async def test_of_two_who_come_at_once_one_takes_the_last_seat(db: Database) -> None:
    """Also where the team has no subscription row yet that could be locked."""
    admin = await team_of(db, 2)
    await db.transaction(lambda conn: execute(conn, "DELETE FROM subscriptions"))
    results = await asyncio.gather(
        *(added(db, admin, f"at-once-{number}@example.org") for number in range(4))
    )
    assert [type(result).__name__ for result in results].count("User") == 1
    late = await SqlPeople(db).add_user(
        admin.tenant_id, email="late@example.org", name="", role=Role.VIEWER
    )
    assert "Free plan allows 3 people" in str(late)


@pytest.mark.parametrize("people", [1, 2])
async def test_an_open_invitation_keeps_a_seat(db: Database, people: int) -> None:
    """No more are invited than there are seats left."""
    admin, gate = await team_of(db, people), SqlGate(db, KEY)
    for number in range(people, 3):
        code = await gate.invite_code(admin, email=f"i{number}@example.org", role=Role.VIEWER)
        assert isinstance(code, str)
    assert isinstance(
        await gate.invite_code(admin, email="late@example.org", role=Role.VIEWER), Rejected
    )


async def test_without_plans_there_is_room_for_everybody(db: Database) -> None:
    """Where billing is off no plan limits anything."""
    admin = await team_of(db, 4, on=False)
    assert isinstance(await added(db, admin, "fifth@example.org"), User)


async def test_what_was_used_without_plans_is_never_billed(db: Database) -> None:
    """Switching plans on forgives what came before; a start that changes nothing does not."""
    admin = await team_of(db, 1, on=False)
    clock = Hands()
    month = month_of(clock.at)
    await db.transaction(current, admin.tenant_id, month.start_ms - 40 * DAY_MS)
    await db.transaction(ensure_counter, admin.tenant_id, clock.at)
    await db.transaction(
        lambda conn: execute(conn, "UPDATE quota_counters SET used = 5000, own_used = 1000")
    )
    await db.transaction(switch, on=True)
    billed = "SELECT MAX(billed) FROM quota_counters"
    assert await rows(db, billed) == [(4_000,)]
    ((end,),) = await rows(db, "SELECT period_end FROM subscriptions")
    assert integer(end) > time.time() * 1000
    await db.transaction(lambda conn: execute(conn, "UPDATE quota_counters SET used = 6000"))
    await db.transaction(switch, on=True)
    assert await rows(db, billed) == [(4_000,)]
