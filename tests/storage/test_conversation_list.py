"""The list of a person's conversations: pages, search, titles, news."""

from __future__ import annotations

import pytest

from core.errors import NotFound
from core.messages import Actor, ConversationAddress, InboundMessage
from core.reading import Activity
from core.tenants import Role, User
from core.turns import TurnKind
from storage.conversation_list import SqlShelf
from storage.conversations import SqlConversations
from storage.database import Database
from storage.people import SqlPeople
from tests.storage.kit import accept, answer, install, message, write


@pytest.fixture
async def admin(db: Database) -> User:
    """Of an installation."""
    return await install(db)


async def said(db: Database, user: User, number: int, text: str) -> str:
    """A conversation in which this was asked and answered; its id."""
    asked = InboundMessage(
        event_id=f"api:{number}",
        address=ConversationAddress(
            platform="api", workspace="", channel=user.id, thread=str(number)
        ),
        actor=Actor(platform="it0", workspace="", external_id=user.id),
        text=text,
    )
    accepted = await accept(db, asked)
    assert accepted.leased is not None
    await answer(db, accepted.leased)
    return accepted.conversation_id


async def test_pages_follow_each_other_without_gap_or_repetition(db: Database, admin: User) -> None:
    """Also where several conversations were used in the same millisecond."""
    ids = [await said(db, admin, number, f"question {number}") for number in range(7)]
    for at, conversation in enumerate(ids):
        await write(
            db,
            "UPDATE conversations SET updated_at = :at WHERE id = :id",
            at=1000 + at // 3,
            id=conversation,
        )
    shelf = SqlShelf(db)
    seen: list[str] = []
    after = None
    while True:
        page = await shelf.listed(admin.tenant_id, admin.id, query="", after=after, limit=2)
        seen += [entry.id for entry in page.entries]
        after = page.following
        if after is None:
            break
    whole = await shelf.listed(admin.tenant_id, admin.id, query="", after=None, limit=50)
    assert seen == [entry.id for entry in whole.entries]
    assert sorted(seen) == sorted(ids)
    with pytest.raises(ValueError, match="no page"):
        await shelf.listed(admin.tenant_id, admin.id, query="", after="x", limit=2)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("NGINX", [1]),
        ("100%", [2]),
        ("_", [3]),
        ("磁盘", [4]),
        ("Über", [5]),
        ("nothing of that kind", []),
        ("!", [6]),
    ],
)
async def test_a_search_finds_what_was_asked(
    db: Database, admin: User, query: str, found: list[int]
) -> None:
    """Whatever the case; wildcards of the database are ordinary characters."""
    texts = ["plain", "is nginx up?", "is it 100% full", "a_b", "磁盘满了吗", "Über alles", "ah!"]
    ids = {await said(db, admin, number, text): number for number, text in enumerate(texts)}
    # What the kit answers holds odd signs; here the questions count.
    await write(db, "UPDATE turns SET reply = ''")
    page = await SqlShelf(db).listed(admin.tenant_id, admin.id, query=query, after=None, limit=50)
    assert [ids[entry.id] for entry in page.entries] == found


async def test_an_excerpt_shows_the_place_found(db: Database, admin: User) -> None:
    """Where the title does not have it: cut on both sides, on one line."""
    conversation = await said(db, admin, 1, "hello")
    reply = f"{'before ' * 30}the needle\nis here {'after ' * 30}"
    await write(
        db,
        "UPDATE turns SET reply = :reply WHERE conversation_id = :id",
        reply=reply,
        id=conversation,
    )
    page = await SqlShelf(db).listed(admin.tenant_id, admin.id, query="NEEDLE", after=None, limit=5)
    (entry,) = page.entries
    assert "the needle is here" in entry.excerpt
    assert entry.excerpt.startswith("…")
    assert entry.excerpt.endswith("…")
    assert len(entry.excerpt) < 150


async def test_a_search_goes_on_where_it_ran_out_of_time(
    db: Database, admin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages may be empty and still have a next one; together they find it."""
    monkeypatch.setattr("storage.conversation_search.BUDGET_S", 0.0)
    monkeypatch.setattr("storage.conversation_search.CHUNK", 1)
    oldest = await said(db, admin, 1, "a needle")
    for number in (2, 3):
        await said(db, admin, number, "hay" * 40_000)
    found: list[str] = []
    after: str | None = None
    for _ in range(4):
        page = await SqlShelf(db).listed(
            admin.tenant_id, admin.id, query="needle", after=after, limit=5
        )
        found += [entry.id for entry in page.entries]
        after = page.following
        if after is None:
            break
    assert (found, after) == ([oldest], None)


async def test_others_commands_are_not_searched(db: Database, admin: User) -> None:
    """Their answers were for their senders' eyes."""
    other = await SqlPeople(db).add_user(
        admin.tenant_id, email="b@example.org", name="b", role=Role.VIEWER
    )
    assert isinstance(other, User)
    await said(db, admin, 1, "secretword")
    await write(
        db, "UPDATE turns SET kind = :kind, user_id = :other", kind=TurnKind.COMMAND, other=other.id
    )
    await write(db, "UPDATE conversations SET title = 'x'")
    page = await SqlShelf(db).listed(
        admin.tenant_id, admin.id, query="secretword", after=None, limit=5
    )
    assert page.entries == ()


async def test_a_title_is_the_owners(db: Database, admin: User) -> None:
    """It stays over later turns; nobody else's conversation is renamed."""
    conversation = await said(db, admin, 1, "hello")
    shelf = SqlShelf(db)
    renamed = await shelf.rename(admin.tenant_id, admin.id, conversation, "The disks")
    assert renamed.title == "The disks"
    accepted = await accept(db, message(admin, 2))
    assert accepted.leased is not None
    await answer(db, accepted.leased)
    assert (await shelf.entry(admin.tenant_id, admin.id, conversation)).title == "The disks"
    await write(db, "UPDATE conversations SET updated_at = 1")
    start = await shelf.news(admin.tenant_id, admin.id, since_ms=None)
    told = await shelf.news(admin.tenant_id, admin.id, since_ms=start.now_ms)
    assert [entry.title for entry in told.changed] == ["The disks"]
    for who in ((admin.tenant_id, "usr_x"), ("ten_x", admin.id)):
        with pytest.raises(NotFound):
            await shelf.rename(*who, conversation, "Mine")
    assert (await shelf.entry(admin.tenant_id, admin.id, conversation)).title == "The disks"


async def test_news_are_what_is_busy_ended_or_gone(db: Database, admin: User) -> None:
    """A turn that runs, its end, a wait for a human and an erasure are each told."""
    shelf = SqlShelf(db)
    start = await shelf.news(admin.tenant_id, admin.id, since_ms=None)
    assert (start.changed, start.deleted, start.approvals) == ((), (), 0)
    accepted = await accept(db, message(admin, 1))
    assert accepted.leased is not None

    async def activity() -> Activity:
        news = await shelf.news(admin.tenant_id, admin.id, since_ms=start.now_ms)
        (entry,) = news.changed
        assert entry.id == accepted.conversation_id
        return entry.activity

    assert await activity() is Activity.RUNNING
    await write(db, "UPDATE turns SET status = 'queued'")
    assert await activity() is Activity.QUEUED
    await write(db, "UPDATE conversations SET parked_until = {now} + 60000")
    assert await activity() is Activity.WAITING
    await write(db, "UPDATE conversations SET parked_until = NULL")
    await write(db, "UPDATE turns SET status = 'running'")
    await answer(db, accepted.leased)
    assert await activity() is Activity.IDLE
    await write(db, "UPDATE conversations SET updated_at = 0")
    await write(db, "UPDATE turns SET finished_at = 0")
    quiet = await shelf.news(admin.tenant_id, admin.id, since_ms=start.now_ms)
    assert quiet.changed == ()
    await SqlConversations(db).delete(admin.tenant_id, admin.id, accepted.conversation_id)
    gone = await shelf.news(admin.tenant_id, admin.id, since_ms=start.now_ms)
    assert gone.deleted == (accepted.conversation_id,)
    assert gone.changed == ()


async def test_what_waits_is_counted_for_who_may_decide(db: Database, admin: User) -> None:
    """Not for viewers, and not one's own where four eyes are wanted."""
    viewer = await SqlPeople(db).add_user(
        admin.tenant_id, email="v@example.org", name="v", role=Role.VIEWER
    )
    assert isinstance(viewer, User)
    for number, four_eyes in enumerate((0, 1)):
        await write(
            db,
            "INSERT INTO approvals (id, tenant_id, turn_id, conversation_id, call_id, digest,"
            " tool, level, card, asked_by, four_eyes, on_timeout, status, created_at, expires_at)"
            " VALUES (:id, :tenant, :id, 'c', 'call', 'd', 't', 'L2', '{}', :by, :four, 'deny',"
            " 'pending', {now}, {now} + 60000)",
            id=f"a{number}",
            tenant=admin.tenant_id,
            by=admin.id,
            four=four_eyes,
        )
    shelf = SqlShelf(db)
    assert (await shelf.news(admin.tenant_id, admin.id, since_ms=None)).approvals == 1
    assert (await shelf.news(admin.tenant_id, viewer.id, since_ms=None)).approvals == 0
    await write(db, "UPDATE approvals SET expires_at = 1")
    assert (await shelf.news(admin.tenant_id, admin.id, since_ms=None)).approvals == 0
