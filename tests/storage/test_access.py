"""Codes and strangers in the database: single use, for the right person, in the right place."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from core.commands_people import LetIn
from core.messages import Actor, ConversationAddress, InboundMessage, Overlap
from core.refusals import Rejected
from core.tenants import Role, User
from core.turns import Turn, TurnKind
from storage.access import BAD_CODE, SqlGate
from storage.audit import SqlAudit
from storage.choices import SqlChoices
from storage.codes import MEMBER, NO_ADMIN
from storage.database import Database, execute
from storage.joining import address_of
from storage.people import SqlPeople
from storage.team import SqlTeam
from tests.storage.kit import accept, install, message

KEY = b"k" * 32
ANN = Actor(platform="telegram", workspace="", external_id="7", name="Ann")
EVE = Actor(platform="telegram", workspace="", external_id="9", name="Eve")
BOB = Actor(platform="telegram", workspace="", external_id="8", name="Bob")


def said(actor: Actor, text: str = "", group: str | None = None) -> InboundMessage:
    """A message of a platform's person, privately or in a group."""
    channel = group or actor.external_id
    address = ConversationAddress(
        platform=actor.platform, workspace=actor.workspace, channel=channel, thread=""
    )
    return InboundMessage(event_id="e", address=address, actor=actor, text=text, group=group)


def command(user: User, actor: Actor, text: str = "/x", turn_id: str = "turn_1") -> Turn:
    """A command turn of a platform's person."""
    return Turn(
        id=turn_id,
        tenant_id=user.tenant_id,
        conversation_id="conv_1",
        seq=1,
        epoch=1,
        attempt=1,
        failures=0,
        kind=TurnKind.COMMAND,
        event_id="e",
        user=user,
        address=said(actor).address,
        text=text,
        attachments=(),
        engine=None,
        overlap=Overlap.QUEUE,
        cancelled=False,
        created_at_ms=0,
        sender=actor.external_id,
    )


async def rows(db: Database, sql: str, **values: str) -> list[tuple[object, ...]]:
    """Read the database."""

    def work(conn: sa.Connection) -> list[tuple[object, ...]]:
        return [tuple(row) for row in execute(conn, sql, **values).all()]

    return await db.read(work)


async def invite(gate: SqlGate, by: User, email: str, role: Role = Role.VIEWER) -> str:
    """The code of an invitation."""
    code = await gate.invite_code(by, email=email, role=role)
    assert isinstance(code, str), code
    return code


async def write(db: Database, sql: str) -> None:
    """Change the database behind the gate's back."""

    def work(conn: sa.Connection) -> None:
        execute(conn, sql)

    await db.transaction(work)


async def who(db: Database, actor: Actor) -> list[tuple[object, ...]]:
    """Address and role of everybody that the person is."""
    return await rows(
        db,
        "SELECT u.email, u.role FROM identities i JOIN users u ON u.id = i.user_id"
        " WHERE i.platform = :platform AND i.external_id = :id ORDER BY u.email",
        platform=actor.platform,
        id=actor.external_id,
    )


async def member(db: Database, admin: User, email: str, role: Role = Role.OPERATOR) -> User:
    """Somebody more of the admin's team."""
    name = email.partition("@")[0]
    added = await SqlPeople(db).add_user(admin.tenant_id, email=email, name=name, role=role)
    assert isinstance(added, User)
    return added


async def other_team(db: Database, name: str = "other") -> User:
    """The admin of another team."""
    people = SqlPeople(db)
    tenant = await people.add_tenant(name)
    email = f"{name}@example.com"
    admin = await people.add_user(tenant.id, email=email, name=name, role=Role.ADMIN)
    assert isinstance(admin, User)
    return admin


async def test_a_code_is_good_once_for_one_person(db: Database) -> None:
    """Its first sender may send it again, which changes nothing; nobody else may."""
    admin, gate = await install(db), SqlGate(db, KEY)
    code = await gate.link_code(admin)
    assert await gate.redeem(said(ANN), code.lower()) is None
    log = await rows(db, "SELECT COUNT(*) FROM audit_log")
    assert await gate.redeem(said(ANN), code) is None
    assert await gate.redeem(said(BOB), code) == BAD_CODE
    assert await who(db, ANN) == [(admin.email, "admin")]
    assert await who(db, BOB) == []
    assert await rows(db, "SELECT COUNT(*) FROM audit_log") == log
    assert await SqlAudit(db, KEY).verify() == {}
    assert code not in str(await rows(db, "SELECT hash, used_by FROM codes"))


async def test_codes_end(db: Database) -> None:
    """By time, and when their maker asks for another one; a wrong one never begins."""
    admin, gate = await install(db), SqlGate(db, KEY)
    first = await gate.link_code(admin)
    second = await gate.link_code(admin)
    assert await gate.redeem(said(ANN), first) == BAD_CODE
    await write(db, "UPDATE codes SET expires_at = {now} - 1")
    assert await gate.redeem(said(ANN), second) == BAD_CODE
    for wrong in ("", "0000-0000-0000", "x" * 500, "' OR 1=1 --"):
        assert await gate.redeem(said(ANN), wrong) == BAD_CODE
    assert await who(db, ANN) == []


async def test_first_codes_outlive_a_restart(db: Database) -> None:
    """At most three live at a time; none is made once somebody is known."""
    admin, gate = await install(db), SqlGate(db, KEY)
    codes = []
    for _ in range(5):
        codes.append(await gate.first_link_code(admin))
        await write(db, "UPDATE codes SET created_at = created_at - 10")
    assert await rows(db, "SELECT COUNT(*) FROM codes") == [(3,)]
    assert await gate.redeem(said(ANN), str(codes[0])) == BAD_CODE
    assert await gate.redeem(said(ANN), str(codes[2])) is None
    assert await gate.first_link_code(admin) is None


async def test_of_many_who_send_a_code_at_once_one_gets_in(db: Database) -> None:
    """The same code from several people in the same moment: one winner, no second user."""
    admin, gate = await install(db), SqlGate(db, KEY)
    for kind, code in (
        ("link", await gate.link_code(admin)),
        ("invite", await invite(gate, admin, "new@example.com", Role.VIEWER)),
    ):
        crowd = [
            Actor(platform="telegram", workspace="", external_id=f"{kind}{n}") for n in range(8)
        ]
        answers = await asyncio.gather(*(gate.redeem(said(one), code) for one in crowd))
        assert sorted(answer is None for answer in answers) == [False] * 7 + [True]
        inside = [one for one in crowd if await who(db, one)]
        assert inside == [crowd[answers.index(None)]]
    assert await rows(db, "SELECT COUNT(*) FROM users") == [(2,)]


async def test_a_code_that_was_read_in_another_teams_place_is_used_up(db: Database) -> None:
    """Refused there with nobody linked, and good nowhere else: everybody there has seen it."""
    admin, gate = await install(db), SqlGate(db, KEY)
    rival = await other_team(db)
    assert await gate.redeem(said(BOB, group="-1"), await gate.link_code(rival)) is None
    code = await gate.link_code(admin)
    refused = await gate.redeem(said(ANN, group="-1"), code)
    assert refused is not None
    assert refused.code == "linked_elsewhere"
    for somebody in (ANN, EVE):
        assert await gate.redeem(said(somebody), code) == BAD_CODE
        assert await who(db, somebody) == []
    links = await rows(db, "SELECT group_id, tenant_id FROM links ORDER BY group_id")
    assert links == [("-1", rival.tenant_id)]


async def test_of_two_teams_that_link_a_place_at_once_one_has_it(db: Database) -> None:
    """The other is told so, and its people stay as they were."""
    admin, gate = await install(db), SqlGate(db, KEY)
    rival = await other_team(db)
    ours, theirs = await gate.link_code(admin), await gate.link_code(rival)
    answers = await asyncio.gather(
        gate.redeem(said(ANN, group="-1"), ours), gate.redeem(said(BOB, group="-1"), theirs)
    )
    lost = [answer for answer in answers if answer is not None]
    assert [answer.code for answer in lost] == ["linked_elsewhere"]
    loser = BOB if answers[0] is None else ANN
    assert await who(db, loser) == []


async def test_only_an_admin_links_a_place(db: Database) -> None:
    """An operator's code makes them known in the group, but the group stays nobody's."""
    admin, gate = await install(db), SqlGate(db, KEY)
    code = await invite(gate, admin, "op@example.com", Role.OPERATOR)
    assert await gate.redeem(said(BOB, group="-1"), code) is None
    assert await rows(db, "SELECT * FROM links") == []
    refused = await gate.link_group(said(BOB, group="-1"))
    assert refused is not None
    assert refused.code == "not_allowed"
    stranger = await gate.link_group(said(ANN, group="-1"))
    assert stranger is not None
    assert await rows(db, "SELECT * FROM links") == []


async def test_an_invitation_never_makes_its_sender_somebody_who_is_there(db: Database) -> None:
    """No invitation of a member, made or sent; whoever knows an address gets nobody's account."""
    admin, gate = await install(db), SqlGate(db, KEY)
    code = await invite(gate, admin, "New@Example.com", Role.OPERATOR)
    late = await invite(gate, admin, "new@example.com", Role.ADMIN)
    assert await gate.redeem(said(ANN), code) is None
    assert await gate.redeem(said(ANN), code) is None  # its second delivery is no other person
    assert await who(db, ANN) == [("new@example.com", "operator")]
    assert await gate.redeem(said(BOB), late) == MEMBER
    assert await who(db, BOB) == []
    for email in ("NEW@example.com", admin.email):
        assert await gate.invite_code(admin, email=email, role=Role.ADMIN) == MEMBER


async def test_who_is_no_admin_makes_no_invitation(db: Database) -> None:
    """It would open nothing; the role of this moment counts, not the one the caller remembers."""
    admin, gate = await install(db), SqlGate(db, KEY)
    second = await member(db, admin, "b@example.com", Role.ADMIN)
    await SqlTeam(db, KEY).set_role(admin.tenant_id, second.id, Role.OPERATOR, actor=admin.id)
    refused = await gate.invite_code(second, email="x@example.com", role=Role.VIEWER)
    assert refused == NO_ADMIN
    assert await rows(db, "SELECT * FROM codes") == []


async def test_who_was_shut_out_comes_back_only_by_a_later_invitation(db: Database) -> None:
    """Codes that were made before they left are dead, their own and those of others."""
    admin, gate = await install(db), SqlGate(db, KEY)
    team = SqlTeam(db, KEY)
    early = await invite(gate, admin, "eve@example.com", Role.ADMIN)
    eve = await SqlPeople(db).add_user(
        admin.tenant_id, email="eve@example.com", name="eve", role=Role.ADMIN
    )
    assert isinstance(eve, User)
    kept = [
        early,
        await gate.link_code(eve),
        await invite(gate, eve, "friend@example.com", Role.ADMIN),
    ]
    await write(db, "UPDATE codes SET created_at = created_at - 1000")
    await team.disable_user(admin.tenant_id, eve.id, actor=admin.id)
    for code in kept:
        assert await gate.redeem(said(BOB), code) == BAD_CODE
    assert await who(db, BOB) == []
    await write(db, "UPDATE users SET disabled_at = disabled_at - 1000 WHERE disabled_at > 0")
    back = await invite(gate, admin, eve.email, Role.VIEWER)
    assert await gate.redeem(said(BOB), back) is None
    assert await who(db, BOB) == [("eve@example.com", "viewer")]


async def test_an_invitation_dies_with_its_makers_right(db: Database) -> None:
    """Who is no admin any more opens no door with a code of before."""
    admin, gate = await install(db), SqlGate(db, KEY)
    second = await SqlPeople(db).add_user(
        admin.tenant_id, email="b@example.com", name="b", role=Role.ADMIN
    )
    assert isinstance(second, User)
    code = await invite(gate, second, "friend@example.com", Role.ADMIN)
    await SqlTeam(db, KEY).set_role(admin.tenant_id, second.id, Role.OPERATOR, actor=admin.id)
    assert await gate.redeem(said(BOB), code) == BAD_CODE
    assert await who(db, BOB) == []


async def test_a_late_second_delivery_does_not_undo_a_choice(db: Database) -> None:
    """A member of two teams chose one; the code of the other one arrives again."""
    admin, gate, choices = await install(db), SqlGate(db, KEY), SqlChoices(db, KEY)
    rival = await other_team(db)
    assert await gate.redeem(said(ANN), await gate.link_code(admin)) is None
    code = await gate.link_code(rival)
    assert await gate.redeem(said(ANN), code, confirmed=True) is None
    assert await choices.choose_team(command(admin, ANN), rival.tenant_id)
    assert await choices.choose_team(command(rival, ANN), admin.tenant_id)
    assert await gate.redeem(said(ANN), code, confirmed=True) is None
    chosen = await rows(
        db, "SELECT tenant_id FROM identities WHERE platform = 'telegram' ORDER BY chosen_at DESC"
    )
    assert chosen[0] == (admin.tenant_id,)


async def test_an_admin_lets_a_stranger_in(db: Database) -> None:
    """By the code that the stranger was shown; a re-run of the turn tells the same."""
    admin, gate = await install(db), SqlGate(db, KEY)
    code = await gate.ask_in(said(BOB))
    assert await gate.ask_in(said(BOB)) == code
    first = await gate.let_in(command(admin, ANN), code, Role.OPERATOR)
    assert isinstance(first, LetIn)
    assert (first.name, first.platform, first.person) == ("Bob", "telegram", "8")
    assert first.role is Role.OPERATOR
    assert await gate.let_in(command(admin, ANN), code, Role.OPERATOR) == first
    assert await gate.let_in(command(admin, ANN, turn_id="turn_2"), code, Role.ADMIN) is None
    assert await who(db, BOB) == [("telegram-8@invited.invalid", "operator")]
    log = await rows(db, "SELECT action FROM audit_log ORDER BY seq")
    assert log == [("user.let_in",), ("identity.linked",)]
    assert await SqlAudit(db, KEY).verify() == {}


async def test_of_two_teams_that_let_a_stranger_in_one_does(db: Database) -> None:
    """A pairing code is used up; one that is too old lets nobody in."""
    admin, gate = await install(db), SqlGate(db, KEY)
    rival = await other_team(db)
    code = await gate.ask_in(said(BOB))
    answers = await asyncio.gather(
        gate.let_in(command(admin, ANN), code, Role.VIEWER),
        gate.let_in(command(rival, ANN, turn_id="turn_2"), code, Role.VIEWER),
    )
    assert sorted(answer is None for answer in answers) == [False, True]
    assert len(await who(db, BOB)) == 1
    old = await gate.ask_in(said(ANN))
    await write(db, "UPDATE pairings SET expires_at = {now} - 1")
    assert await gate.let_in(command(admin, BOB, turn_id="turn_3"), old, Role.VIEWER) is None


async def test_a_stranger_who_was_shut_out_comes_back_by_an_admins_word(db: Database) -> None:
    """The same user again, with the new role; their history is theirs."""
    admin, gate = await install(db), SqlGate(db, KEY)
    await gate.let_in(command(admin, ANN), await gate.ask_in(said(BOB)), Role.OPERATOR)
    user = await rows(db, "SELECT id FROM users WHERE email LIKE 'telegram%'")
    await SqlTeam(db, KEY).disable_user(admin.tenant_id, str(user[0][0]), actor=admin.id)
    code = await gate.ask_in(said(BOB))
    again = await gate.let_in(command(admin, ANN, turn_id="turn_2"), code, Role.VIEWER)
    assert again is not None
    assert await who(db, BOB) == [("telegram-8@invited.invalid", "viewer")]
    assert await rows(db, "SELECT id FROM users WHERE email LIKE 'telegram%'") == user


async def test_recent_conversations_are_ones_own(db: Database) -> None:
    """For a platform's person: theirs alone, the newest first; strangers are told how to come."""
    admin, gate = await install(db), SqlGate(db, KEY)
    rival = await other_team(db)
    await gate.redeem(said(ANN), await gate.link_code(admin))
    await accept(db, message(admin, 1), worker=None)
    await accept(db, message(admin, 2), worker=None)
    await accept(db, message(rival, 3), worker=None)
    listed = await gate.recent(ANN, None, limit=10)
    assert not isinstance(listed, Rejected)
    assert [info.title[:1] for info in listed] == ["2", "1"]
    assert len(listed) == 2
    assert isinstance(await gate.recent(BOB, None, limit=10), Rejected)
    assert isinstance(await gate.recent(ANN, "-1", limit=10), Rejected)


names = st.text(alphabet="aA1-é\0", max_size=3)
people = st.tuples(st.sampled_from(["slack", "telegram"]), names, names)


@given(people, people)
def test_no_two_people_get_one_address(
    one: tuple[str, str, str], two: tuple[str, str, str]
) -> None:
    """The address of who came without one tells them apart, whatever their platform's ids are."""
    first, second = (
        address_of(Actor(platform=platform, workspace=workspace, external_id=person))
        for platform, workspace, person in (one, two)
    )
    assert (first == second) == (one == two)
    assert first.endswith("@invited.invalid")
    assert len(first.partition("@")[0]) <= 64


def test_addresses_say_who_it_is() -> None:
    """Platform and id can be read off."""
    assert address_of(BOB) == "telegram-8@invited.invalid"
    slack = Actor(platform="slack", workspace="T0AB", external_id="U0CD")
    assert address_of(slack) == "slack-t0ab-u0cd@invited.invalid"
