"""Handovers in the database: who is told what, whom they are for, and accepting them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest
import sqlalchemy as sa

from core.audit import AuditEntry
from core.handover import Handover, Wanted, Writer
from core.messages import ConversationAddress
from core.refusals import Rejected
from core.tenants import Role, User
from storage.audit import SqlAudit, append_audit
from storage.database import Database, execute, now_ms
from storage.handover_erasure import forget
from storage.handovers import SqlHandovers
from tests.storage.orders_kit import KEY, MOSTLY_LITE, Shop, opened_shop
from tests.storage.places import Places, opened
from tests.storage.racing import rows
from tests.storage.test_announcements import write

OPS = ConversationAddress(platform="slack", workspace="W", channel="COPS", thread="1")
SECRETS = ConversationAddress(platform="slack", workspace="W", channel="CHR", thread="1")
HOUR = 3_600_000


@dataclass(frozen=True, kw_only=True)
class Team:
    """A team of which everybody wrote somewhere."""

    db: Database
    ann: User
    bob: User
    vi: User
    now: int

    @property
    def desk(self) -> SqlHandovers:
        """Where handovers are."""
        return SqlHandovers(self.db, KEY)

    async def said(self, who: User, text: str, place: ConversationAddress | None = None) -> str:
        """A message with its answer; its conversation is named after it."""
        at = place or ConversationAddress(
            platform="slack", workspace="W", channel=f"D{who.id}", thread=""
        )
        ids: dict[str, str | int] = {
            "cid": f"conv_{text}",
            "tenant": who.tenant_id,
            "user": who.id,
            "at": self.now - 9,
        }
        where: dict[str, str | int] = {
            "p": at.platform,
            "w": at.workspace,
            "c": at.channel,
            "t": at.thread,
        }
        await write(
            self.db,
            "INSERT INTO conversations (id, tenant_id, user_id, platform, workspace, channel,"
            " thread, title, created_at, updated_at, last_seq, done_seq) VALUES (:cid, :tenant,"
            " :user, :p, :w, :c, :t, '', :at, :at, 1, 1)",
            **ids,
            **where,
        )
        await write(
            self.db,
            "INSERT INTO turns (id, tenant_id, conversation_id, seq, user_id, event_id, kind,"
            " overlap, platform, workspace, channel, thread, text, attachments, status, sender,"
            " created_at, reply, outcome) VALUES (:id, :tenant, :cid, 1, :user, :id, 'message',"
            " 'queue', :p, :w, :c, :t, :text, '[]', 'done', :sender, :at, :reply, 'answered')",
            id=f"turn_{text}",
            text=text,
            reply=f"answer to {text}",
            sender=f"slack_{who.id}",
            **ids,
            **where,
        )
        return f"conv_{text}"

    async def did(
        self, who: str, action: str, detail: dict[str, str | int], turn: str = ""
    ) -> None:
        """A row of the audit log."""
        entry = AuditEntry(actor=who, action=action, turn_id=turn, detail=detail)

        def work(conn: sa.Connection) -> None:
            append_audit(conn, KEY, self.ann.tenant_id, entry)

        await self.db.transaction(work)

    async def told(self, who: User, place: ConversationAddress | None = None) -> str:
        """The handover of the last hour as somebody gets it."""
        made = await self.desk.write(Writer(user=who, place=place), self.hour())
        assert isinstance(made, Handover), made
        return made.body

    def hour(self, to: str = "") -> Wanted:
        """The last hour."""
        return Wanted(since_ms=self.now - HOUR, to=to)


async def team_of(db: Database) -> Team:
    """Ann is the admin, Bob an operator, Vi a viewer."""
    shop: Shop = await opened_shop(db)
    bob, vi = await shop.colleague("bob"), await shop.colleague("vi", Role.VIEWER)
    return Team(db=db, ann=shop.admin, bob=bob, vi=vi, now=await db.read(now_ms))


@pytest.fixture(params=MOSTLY_LITE)
async def team(request: pytest.FixtureRequest, places: Places) -> AsyncGenerator[Team]:
    """A team."""
    async with opened(places.new(request.param, "handover")) as db:
        yield await team_of(db)


def code(answer: object) -> str:
    """Of a refusal."""
    assert isinstance(answer, Rejected), answer
    return answer.code


async def test_texts_are_told_to_those_who_may_read_them(db: Database) -> None:
    """Own private chats and places one writes in; the private chats of others are counted."""
    team = await team_of(db)
    await team.said(team.ann, "anns-private")
    await team.said(team.bob, "bobs-private")
    await team.said(team.bob, "bob-in-ops", OPS)
    await team.said(team.ann, "ann-in-ops", OPS)
    await team.said(team.ann, "ann-in-hr", SECRETS)
    bobs, anns, vis = [await team.told(who) for who in (team.bob, team.ann, team.vi)]
    for said in ("bobs-private", "bob-in-ops", "ann-in-ops", "answer to bob-in-ops"):
        assert said in bobs
    for kept in ("anns-private", "ann-in-hr"):
        assert kept not in bobs
        assert kept in anns
    assert "bobs-private" not in anns
    assert "Not shown: 3 conversations" in bobs  # Ann's two, and the one of the installation
    assert "answer to" not in vis
    assert "Not shown: 6 conversations" in vis


async def test_in_a_shared_place_only_that_place_is_told(team: Team) -> None:
    """Others read along: not even what who asks wrote in private, or elsewhere."""
    await team.said(team.ann, "anns-private")
    await team.said(team.ann, "ann-in-hr", SECRETS)
    await team.said(team.bob, "bob-in-ops", OPS)
    body = await team.told(team.ann, OPS)
    assert "bob-in-ops" in body
    assert "anns-private" not in body
    assert "ann-in-hr" not in body


async def act(team: Team) -> None:
    """A change, one that was denied and refused for it, one of unknown outcome, a look."""
    call: dict[str, str | int] = {"tool": "run_command", "servers": "web-1,web-2", "level": "L2"}
    ran: dict[str, str | int] = {
        **call,
        "call_id": "1",
        "summary": "systemctl restart nginx",
        "exit_status": 0,
        "ms": 1200,
        "approved_by": "Ann",
    }
    await team.did(team.bob.id, "tool.ran", ran)
    denied: dict[str, str | int] = {**call, "call_id": "2", "summary": "rm -r /srv/www"}
    commented = {**denied, "comment": "not on a Friday"}
    await team.did(team.ann.id, "approval.denied", commented, "t")
    await team.did(team.bob.id, "tool.refused", {**denied, "reasons": "denied"}, "t")
    await team.did(team.bob.id, "tool.unknown", {**call, "call_id": "3", "summary": "reboot now"})
    look: dict[str, str | int] = {"level": "L0", "call_id": "4", "summary": "df -h"}
    await team.did(team.bob.id, "tool.ran", look)


async def test_what_was_done_is_told_to_operators(team: Team) -> None:
    """Exact commands with servers, exit status and who decided; looks are left out; once each."""
    await act(team)
    body = await team.told(team.ann)
    assert (
        "`systemctl restart nginx` (L2), asked by bob, approved by Ann, exit status 0, 1.2 s, "
        "on web-1,web-2" in body
    )
    assert body.count("rm -r /srv/www") == 1
    assert "denied by a (not on a Friday)" in body
    unknown = body.index("Outcome unknown")
    assert unknown < body.index("reboot now") < body.index("**Changed**")
    assert "df -h" not in body
    for viewer in (await team.told(team.vi), await team.told(team.vi, OPS)):
        assert "nginx" not in viewer
        assert "/srv/www" not in viewer


async def test_nobody_is_named_where_nobody_decided(team: Team) -> None:
    """A timeout approved; it is no person."""
    ran: dict[str, str | int] = {
        "tool": "t",
        "level": "L2",
        "call_id": "1",
        "summary": "x",
        "ms": 1,
    }
    await team.did(team.bob.id, "tool.ran", {**ran, "approved_by": "system"})
    body = await team.told(team.ann)
    assert "approved, because nobody decided in time" in body
    assert "by system" not in body


async def test_standing_orders_and_open_approvals_are_told(team: Team) -> None:
    """Runs by state with how often; what waits with its command and id; open questions."""
    at, tenant = team.now - 5, team.ann.tenant_id
    await write(
        team.db,
        "INSERT INTO standing_orders (id, tenant_id, name, created_by, conversation_id, prompt,"
        " cron, timezone, misfire, state, created_at, updated_at) VALUES ('o', :t, 'Disks', :u,"
        " 'c', 'p', '* * * * *', 'UTC', 'skip', 'active', 1, 1)",
        t=tenant,
        u=team.ann.id,
    )
    runs = (("ended", "answered"), ("ended", "answered"), ("missed", "late:3"), ("missed", ""))
    for n, (state, reason) in enumerate(runs):
        await write(
            team.db,
            "INSERT INTO order_runs (order_id, due_at, tenant_id, state, reason, created_at)"
            " VALUES ('o', :due, :t, :state, :reason, 1)",
            due=at - n,
            t=tenant,
            state=state,
            reason=reason,
        )
    card = (
        '{"tool": "t", "action": "reboot", "level": "L2", "servers": ["web-9"], "why": "",'
        ' "asked": "", "asked_by": "bob", "unattended": false, "risks": [], "steps": []}'
    )
    await write(
        team.db,
        "INSERT INTO approvals (id, tenant_id, turn_id, conversation_id, call_id, digest, tool,"
        " level, card, asked_by, on_timeout, status, created_at, expires_at) VALUES ('appr_1', :t,"
        " 'x', 'c', '1', 'd', 't', 'L2', :card, :bob, 'deny', 'pending', 1, :until)",
        t=tenant,
        card=card,
        bob=team.bob.id,
        until=team.now + HOUR,
    )
    await team.said(team.ann, "still-open", OPS)
    await write(team.db, "UPDATE turns SET status = 'running' WHERE id = 'turn_still-open'")
    body = await team.told(team.ann)
    there = await team.told(team.ann, OPS)
    assert "Disks" not in there  # they are told, and wait, elsewhere
    assert "reboot" not in there
    assert "Disks: ran, 2 times" in body
    assert "Disks: missed, 4 times" in body
    assert "`reboot` (L2), asked by bob" in body
    assert "`/approve appr_1`, on web-9" in body
    assert body.index("Still being worked on") < body.index("still-open")
    assert "reboot" not in await team.told(team.vi)
    accepted = await team.desk.write(Writer(user=team.ann), team.hour("bob@example.org"))
    assert isinstance(accepted, Handover)
    await known_chat(team, team.bob)
    assert not isinstance(await team.desk.accept(team.bob, accepted.id), Rejected)
    notices = await rows(team.db, "SELECT text FROM turns WHERE text LIKE '/notice %'")
    assert [str(text).rpartition("/")[2] for (text,) in notices] == ["appr_1"]


async def known_chat(team: Team, who: User) -> None:
    """They have written to IT0 in private on Slack."""
    await team.said(who, f"chat-of-{who.name}")
    await write(
        team.db,
        "INSERT INTO identities (platform, workspace, external_id, tenant_id, user_id, created_at)"
        " VALUES ('slack', 'W', :account, :tenant, :user, 1)",
        account=f"slack_{who.id}",
        tenant=who.tenant_id,
        user=who.id,
    )


async def test_it_is_handed_over_and_accepted_once(db: Database) -> None:
    """Told in their private chat; only that person accepts, once on the record."""
    team = await team_of(db)
    await known_chat(team, team.bob)
    by = Writer(user=team.ann, turn_id="turn_of_ann", conversation_id="c")
    made = await team.desk.write(by, team.hour("Bob@Example.org"))
    assert isinstance(made, Handover)
    assert (made.told, made.to_user, made.to_name) == (True, team.bob.id, "bob")
    again = await team.desk.write(by, team.hour("bob@example.org"))
    assert isinstance(again, Handover)
    assert again.id == made.id
    told = await rows(db, "SELECT text, user_id FROM turns WHERE text LIKE '/notice %'")
    assert told == [(f"/notice handover/{made.id}", team.bob.id)]
    for other in (team.ann, team.vi):
        assert code(await team.desk.accept(other, made.id)) in {"not_allowed", "not_found"}
    first, second = [await team.desk.accept(team.bob, made.id) for _ in range(2)]
    assert isinstance(first, Handover)
    assert first == second
    assert first.accepted_at_ms is not None
    noted = await rows(db, "SELECT actor, action FROM audit_log WHERE action LIKE 'handover.%'")
    assert noted == [(team.ann.id, "handover.written"), (team.bob.id, "handover.accepted")]
    assert await SqlAudit(db, KEY).verify() == {}
    assert [one.id for one in await team.desk.listed(team.bob, 9)] == [made.id]
    assert await team.desk.listed(team.vi, 9) == ()
    assert code(await team.desk.find(team.vi, made.id)) == "not_found"


async def test_whom_it_cannot_be_handed_to(team: Team) -> None:
    """Oneself, a viewer, nobody; who has no chat is named to the writer."""
    for to, expected in (
        ("a@example.org", "not_allowed"),
        ("vi@example.org", "not_allowed"),
        ("nobody@example.org", "unknown_person"),
    ):
        assert code(await team.desk.write(Writer(user=team.ann), team.hour(to))) == expected
    made = await team.desk.write(Writer(user=team.ann), team.hour("bob@example.org"))
    assert isinstance(made, Handover)
    assert not made.told


async def test_one_conversation_is_told_as_a_whole(team: Team) -> None:
    """All of it and nothing else; over HTTP only one's own."""
    mine = await team.said(team.bob, "bobs-private")
    await team.said(team.bob, "bobs-other")
    for turn, what in (("turn_bobs-private", "touch x"), ("turn_bobs-other", "touch y")):
        await team.did(team.bob.id, "tool.ran", {"level": "L1", "summary": what}, turn)
    this = Wanted(since_ms=None)
    made = await team.desk.write(Writer(user=team.bob, conversation_id=mine), this)
    assert isinstance(made, Handover)
    for told in ("bobs-private", "touch x"):
        assert told in made.body
    for other in ("bobs-other", "touch y", "Not shown"):
        assert other not in made.body
    stranger = Writer(user=team.ann, conversation_id=mine)
    assert code(await team.desk.write(stranger, this)) == "not_found"


async def test_an_erased_conversation_is_told_no_more(team: Team) -> None:
    """What was written goes with it, in its owner's handovers alone."""
    mine = await team.said(team.bob, "bobs-private")
    await team.told(team.bob)
    await team.told(team.ann)

    def work(conn: sa.Connection) -> None:
        forget(conn, team.bob.tenant_id, mine)
        execute(conn, "UPDATE conversations SET deleted_at = 1 WHERE id = :id", id=mine)

    await team.db.transaction(work)
    kept = {one.body for one in await team.desk.listed(team.bob, 9)}
    assert kept == {"A conversation that was named here has been deleted."}
    assert all("Handover" in one.body for one in await team.desk.listed(team.ann, 9))
    assert "bobs-private" not in await team.told(team.bob)


async def test_what_was_done_in_private_is_not_told_in_a_shared_place(team: Team) -> None:
    """Others read along there, whatever the writer's role."""
    await team.said(team.bob, "bobs-private")
    await team.did(
        team.bob.id,
        "tool.ran",
        {
            "tool": "run_command",
            "servers": "hr-1",
            "level": "L2",
            "call_id": "1",
            "summary": "run_command command=userdel mallory",
            "ms": 1,
        },
        "turn_bobs-private",
    )
    assert "userdel" not in await team.told(team.ann, OPS)
    assert "userdel" in await team.told(team.ann)
