"""Announcements: who is told, where, as which turn, and what becomes of it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from core.clock import SystemClock
from core.commands_notice import NoticeCommand
from core.inbox import Accepted
from core.messages import Actor, ConversationAddress, InboundMessage
from core.tenants import Role, User
from core.turns import Outcome, Turn, TurnKind
from core.words import Sentence, Words, sentence
from storage.announcements import SqlNotices, announce
from storage.approval_desk import SqlApprovalDesk
from storage.conversations import SqlConversations
from storage.database import Database, execute
from storage.inbox import SqlInbox
from storage.leases import SqlLeases
from storage.people import SqlPeople
from tests.storage.events_kit import START_MS, Hands, relayed
from tests.storage.kit import WORKER, answer, install
from tests.storage.racing import rows

CHANNEL, DIRECT = "C1", "D1"
NOTICES = (
    "SELECT event_id, platform, channel, thread, text, status, sender, conversation_id FROM turns"
    " WHERE event_id LIKE 'notice/%' ORDER BY event_id"
)


@pytest.fixture
async def admin(db: Database) -> User:
    """Of an installation."""
    return await install(db)


async def colleague(db: Database, admin: User, name: str, role: Role = Role.ADMIN) -> User:
    """Another person of the team."""
    user = await SqlPeople(db).add_user(
        admin.tenant_id, email=f"{name}@example.org", name=name, role=role
    )
    assert isinstance(user, User)
    return user


async def write(db: Database, sql: str, **params: str | int) -> None:
    """Write behind the code's back."""

    def work(conn: sa.Connection) -> None:
        execute(conn, sql, **params)

    await db.transaction(work)


async def known(db: Database, user: User, platform: str, account: str) -> None:
    """The person has this account on the platform."""
    await write(
        db,
        "INSERT INTO identities (platform, workspace, external_id, tenant_id, user_id, created_at)"
        " VALUES (:platform, :workspace, :account, :tenant, :user, 1)",
        platform=platform,
        workspace="W" if platform == "slack" else "",
        account=account,
        tenant=user.tenant_id,
        user=user.id,
    )


async def says(
    db: Database, platform: str, account: str, channel: str, *, language: str = "", number: int = 1
) -> Turn:
    """The account writes there, and is answered."""
    accepted = await SqlInbox(db, b"k").accept(
        InboundMessage(
            event_id=f"{platform}:{channel}:{account}:{number}",
            address=ConversationAddress(
                platform=platform, workspace="W", channel=channel, thread="th"
            ),
            actor=Actor(
                platform="it0" if platform == "api" else platform,
                workspace="W" if platform == "slack" else "",
                external_id=account,
                language=language,
            ),
            text="hello",
        ),
        kind=TurnKind.MESSAGE,
        title="hello",
        worker=WORKER,
        tenant_limit=99,
    )
    assert isinstance(accepted, Accepted)
    assert accepted.leased is not None
    await answer(db, accepted.leased)
    return accepted.leased


async def tell(
    db: Database,
    admin: User,
    *,
    key: str = "k/1",
    user: User | None = None,
    conversation: str | None = None,
    message: Sentence | None = None,
) -> int:
    """Announce."""

    def work(conn: sa.Connection) -> int:
        return announce(
            conn,
            tenant_id=admin.tenant_id,
            user_id=user.id if user else None,
            conversation_id=conversation,
            key=key,
            message=message
            or sentence("The message is empty. Write a question, or attach a file."),
            at_ms=START_MS,
        )

    return await db.transaction(work)


async def claimed(db: Database) -> list[Turn]:
    """The turns that are ready."""
    await SqlLeases(db).beat(WORKER, 10_000, ())
    return list(await SqlLeases(db).claim(WORKER, 10, 10))


async def test_every_admin_is_told_in_their_latest_private_chat(db: Database, admin: User) -> None:
    """Never in a channel, and never an operator or a viewer; who has no place is not counted."""
    await known(db, admin, "slack", "U1")
    await says(db, "slack", "U1", DIRECT)
    await says(db, "slack", "U1", CHANNEL)
    other = await colleague(db, admin, "other")
    await known(db, other, "telegram", "77")
    await says(db, "telegram", "77", "77")
    await says(db, "telegram", "77", "-5")
    await colleague(db, admin, "placeless")
    operator = await colleague(db, admin, "operator", Role.OPERATOR)
    await known(db, operator, "telegram", "88")
    await says(db, "telegram", "88", "88")
    assert await tell(db, admin) == 2
    found = {row[0]: (row[1], row[2], row[3], row[4], row[6]) for row in await rows(db, NOTICES)}
    assert found == {
        f"notice/k/1/{admin.id}": ("slack", DIRECT, "th", "/notice k/1", "U1"),
        f"notice/k/1/{other.id}": ("telegram", "77", "th", "/notice k/1", "77"),
    }


async def test_without_a_chat_it_waits_in_the_latest_api_conversation(
    db: Database, admin: User
) -> None:
    """Whoever has not even that is told nowhere."""
    assert await tell(db, admin) == 0
    assert await rows(db, NOTICES) == []
    said = await says(db, "api", admin.id, "x")
    assert await tell(db, admin) == 1
    assert [(row[1], row[7]) for row in await rows(db, NOTICES)] == [("api", said.conversation_id)]


async def test_a_private_chat_that_waits_for_a_human_is_passed_by(
    db: Database, admin: User
) -> None:
    """Said at the same place, once a person, and in the chat itself when it is free again."""
    said = await says(db, "api", admin.id, "x")
    await write(
        db,
        "UPDATE conversations SET parked_until = {now} + 60000, done_seq = done_seq - 1"
        " WHERE id = :id",
        id=said.conversation_id,
    )
    assert await tell(db, admin, key="k/1") == 1
    assert await tell(db, admin, key="k/1") == 1
    assert await tell(db, admin, key="k/2") == 1
    (first, second) = await rows(db, NOTICES)
    assert first[1:4] == second[1:4] == ("api", "x", "th")
    assert first[7] == second[7] != said.conversation_id
    ready = {turn.conversation_id for turn in await claimed(db)}
    assert ready == {first[7]}
    await write(
        db,
        "UPDATE conversations SET parked_until = NULL, done_seq = last_seq WHERE id = :id",
        id=said.conversation_id,
    )
    assert await tell(db, admin, key="k/3") == 1
    assert (await rows(db, NOTICES))[2][7] == said.conversation_id


async def test_an_erased_conversation_of_notices_is_not_written_to(
    db: Database, admin: User
) -> None:
    """What its owner erased stays erased: the notice waits in the chat."""
    said = await says(db, "api", admin.id, "x")
    await write(
        db,
        "UPDATE conversations SET parked_until = {now} + 60000 WHERE id = :id",
        id=said.conversation_id,
    )
    await tell(db, admin, key="k/1")
    await write(
        db,
        "UPDATE conversations SET deleted_at = {now} WHERE id <> :id",
        id=said.conversation_id,
    )
    await tell(db, admin, key="k/2")
    assert (await rows(db, NOTICES))[1][7] == said.conversation_id


async def test_a_key_is_told_once_a_person(db: Database, admin: User) -> None:
    """A repetition takes no number of the conversation, though there is a newer chat by then."""
    await says(db, "api", admin.id, "x")
    assert await tell(db, admin) == 1
    await known(db, admin, "slack", "U1")
    await says(db, "slack", "U1", DIRECT)
    assert await tell(db, admin) == 1
    assert len(await rows(db, NOTICES)) == 1
    assert await rows(db, "SELECT last_seq FROM conversations ORDER BY platform") == [(2,), (1,)]
    assert await tell(db, admin, key="k/2") == 1
    assert len(await rows(db, NOTICES)) == 2


async def test_a_conversation_is_told_where_it_goes_on(db: Database, admin: User) -> None:
    """In the thread, also of a channel, as the person who wrote there."""
    await known(db, admin, "slack", "U1")
    await write(
        db,
        "INSERT INTO links (platform, group_id, tenant_id, user_id, created_at)"
        " VALUES ('slack', 'W', :tenant, :user, 1)",
        tenant=admin.tenant_id,
        user=admin.id,
    )
    said = await says(db, "slack", "U1", CHANNEL)
    assert await tell(db, admin, conversation=said.conversation_id) == 1
    assert [(row[2], row[7]) for row in await rows(db, NOTICES)] == [
        (CHANNEL, said.conversation_id)
    ]
    await write(db, "DELETE FROM links WHERE platform = 'slack'")
    assert await tell(db, admin, key="k/2", conversation=said.conversation_id) == 0


async def test_other_teams_and_the_gone_are_not_told(db: Database, admin: User) -> None:
    """Nothing of another tenant, of a deleted conversation, or as a person who was let go."""
    said = await says(db, "api", admin.id, "x")
    stranger = User(id="u", tenant_id="ten_x", email="", name="", role=Role.ADMIN)
    assert await tell(db, stranger, conversation=said.conversation_id) == 0
    assert await tell(db, stranger, user=admin) == 0
    await write(db, "UPDATE users SET disabled_at = 1")
    assert await tell(db, admin) == 0
    assert await tell(db, admin, user=admin) == 0
    assert await tell(db, admin, conversation=said.conversation_id) == 0
    await write(db, "UPDATE users SET disabled_at = NULL")
    await SqlConversations(db).delete(admin.tenant_id, admin.id, said.conversation_id)
    assert await tell(db, admin, conversation=said.conversation_id) == 0
    assert await tell(db, admin) == 0


async def test_an_account_that_is_no_longer_theirs_is_not_written_to(
    db: Database, admin: User
) -> None:
    """A chat of an account that was unlinked belongs to nobody we know."""
    await known(db, admin, "telegram", "77")
    await says(db, "telegram", "77", "77")
    await write(db, "DELETE FROM identities WHERE platform = 'telegram'")
    assert await tell(db, admin) == 0


async def test_the_turn_says_the_sentence_in_its_readers_language(
    db: Database, admin: User
) -> None:
    """With its values, also such as are sentences; and it is ready at once."""
    await known(db, admin, "telegram", "77")
    await says(db, "telegram", "77", "77", language="zh-hans")
    inner = sentence("Telegram, private chat")
    message = sentence("There is no command `/{word}`. `/help` lists them all.", word=inner)
    await tell(db, admin, message=message)
    turn = (await claimed(db))[0]
    assert (turn.kind, turn.language) == (TurnKind.COMMAND, "zh-hans")
    ending = await notice_command(db).notice(turn, "k/1")
    assert ending.outcome is Outcome.ANSWERED
    assert ending.reply == Words("zh").of(message)
    assert ending.reply not in {message, ""}


def notice_command(db: Database) -> NoticeCommand:
    """As the installation makes it."""
    return NoticeCommand(SqlNotices(db), SqlApprovalDesk(db, b"k"), SystemClock())


async def test_nobody_can_type_it(db: Database, admin: User) -> None:
    """Who types the word is told that there is no such command, whatever the key."""
    turn = await says(db, "api", admin.id, "x")
    await tell(db, admin)
    ending = await notice_command(db).notice(turn, "k/1")
    assert ending.outcome is Outcome.REFUSED
    assert ending.reply == "There is no command `/notice`. `/help` lists them all."


async def test_a_key_of_another_team_is_not_read(db: Database, admin: User) -> None:
    """Nor is one that was forgotten; the reader is told so."""
    await says(db, "api", admin.id, "x")
    await tell(db, admin)
    assert await SqlNotices(db).notice("ten_x", "k/1") is None
    turn = (await claimed(db))[0]
    ending = await notice_command(db).notice(turn, "k/9")
    assert ending.reply == "There was news for you here, but it is no longer kept."


async def test_it_leaves_title_age_and_memory_alone(db: Database, admin: User) -> None:
    """The list of conversations stays as it was, and no model reads the turn."""
    said = await says(db, "api", admin.id, "x")
    sql = "SELECT title, updated_at FROM conversations"
    before = await rows(db, sql)
    await tell(db, admin)
    assert await rows(db, sql) == before
    notice = (await claimed(db))[0]
    await answer(db, notice)
    later = await says(db, "api", admin.id, "x", number=2)
    assert later.conversation_id == said.conversation_id
    memory = await SqlConversations(db).remember(later, max_turns=9)
    assert [past.turn_id for past in memory.past] == [said.id]


async def test_its_sentence_needs_no_consumer(db: Database, admin: User) -> None:
    """The relay marks it as sent; it stays readable until it is forgotten."""
    await says(db, "api", admin.id, "x")
    await tell(db, admin)
    await relayed(db, Hands())
    sent = "SELECT sent_at, problem FROM outbox WHERE kind = 'notice'"
    assert await rows(db, sent) == [(START_MS, "")]
    assert await SqlNotices(db).notice(admin.tenant_id, "k/1") is not None
