"""The fake Bot API, driven by python-telegram-bot, is as strict as the real one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from telegram import (
    Bot,
    BotCommand,
    BotCommandScopeAllGroupChats,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    Message,
    Update,
)
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Conflict,
    EndPointNotFound,
    Forbidden,
    InvalidToken,
)

from tests.fakes.telegram import Chat, TelegramFake
from tests.fakes.telegram_text import utf16_len

KEYS = InlineKeyboardMarkup([[InlineKeyboardButton("Yes", callback_data="y:1")]])
Act = Callable[[Bot, Chat], Awaitable[object]]


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramFake]:
    """The fake, without limits."""
    async with TelegramFake() as fake:
        yield fake


@pytest.fixture
async def bot(telegram: TelegramFake) -> AsyncIterator[Bot]:
    """The real library, pointed at the fake."""
    async with Bot(
        telegram.token, base_url=telegram.base_url, base_file_url=telegram.base_file_url
    ) as client:
        yield client


async def test_a_bot_knows_itself(telegram: TelegramFake, bot: Bot) -> None:
    """Its id is that of the token; getMe says so."""
    assert (bot.id, bot.username) == (123456, "it0_bot")


async def test_a_wrong_token_is_refused(telegram: TelegramFake) -> None:
    """401, which the library calls InvalidToken."""
    client = Bot("123456:WRONG", base_url=telegram.base_url)
    with pytest.raises(InvalidToken):
        await client.initialize()
    await client.shutdown()
    assert telegram.calls[-1].status == 401


async def test_an_unknown_method_is_not_found(bot: Bot) -> None:
    """Nothing answers by accident."""
    with pytest.raises(EndPointNotFound):
        await bot.do_api_request("sendRichMessage")


@pytest.mark.parametrize("how", ["json", "data", "query"])
async def test_every_kind_of_body_is_read(telegram: TelegramFake, how: str) -> None:
    """JSON, a form, and the query string say the same."""
    chat = telegram.private(7)
    given = {"chat_id": 7, "text": "hi"}
    options = {"params" if how == "query" else how: given}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{telegram.base_url}{telegram.token}/sendmessage", **options) as answer,  # type: ignore[arg-type]
    ):
        assert (await answer.json())["ok"] is True
    assert chat.texts() == ["hi"]


async def test_polling_confirms_by_offset(telegram: TelegramFake, bot: Bot) -> None:
    """An update comes again until a higher offset is asked for."""
    chat = telegram.private(7, first_name="Ann", language_code="zh-hans")
    chat.say(chat.user, "/start now @someone")
    first = await bot.get_updates()
    again = await bot.get_updates(offset=first[0].update_id)
    assert [item.update_id for item in again] == [first[0].update_id]
    message = first[0].message
    assert message is not None
    assert message.from_user is not None
    assert message.from_user.language_code == "zh-hans"
    assert [(item.type, item.offset, item.length) for item in message.entities] == [
        ("bot_command", 0, 6),
        ("mention", 11, 8),
    ]
    assert await bot.get_updates(offset=first[0].update_id + 1) == ()
    assert not telegram.updates.pending


async def test_a_poll_waits_for_an_update(telegram: TelegramFake, bot: Bot) -> None:
    """A long poll returns as soon as there is something."""
    chat = telegram.private(7)
    poll = asyncio.create_task(bot.get_updates(timeout=20))
    await telegram.wait_for(lambda: telegram.updates.polled)
    chat.say(chat.user, "hello")
    assert len(await poll) == 1


async def test_a_second_poller_ends_the_first(telegram: TelegramFake, bot: Bot) -> None:
    """The older poll gets 409, the newer one goes on."""
    chat = telegram.private(7)
    first = asyncio.create_task(bot.get_updates(timeout=20))
    await telegram.wait_for(lambda: telegram.updates.polled)
    async with Bot(telegram.token, base_url=telegram.base_url) as other:
        second = asyncio.create_task(other.get_updates(timeout=20))
        with pytest.raises(Conflict, match="other getUpdates"):
            await first
        chat.say(chat.user, "hello")
        assert len(await second) == 1


async def test_only_wanted_updates_come(telegram: TelegramFake, bot: Bot) -> None:
    """allowed_updates holds until it is changed."""
    chat = telegram.private(7)
    await bot.get_updates(allowed_updates=["edited_message"])
    message = chat.say(chat.user, "one")
    chat.edit(message, "two")
    (update,) = await bot.get_updates()
    assert update.edited_message is not None
    assert (update.edited_message.text, update.edited_message.edit_date is None) == ("two", False)


async def test_a_message_is_sent_edited_and_deleted(telegram: TelegramFake, bot: Bot) -> None:
    """The fake keeps what was shown and when, and knows what stands now."""
    chat = telegram.private(7)
    sent = await bot.send_message(7, "<b>one</b> 😀 <code>x</code>", parse_mode="HTML")
    assert [(item.type, item.offset, item.length) for item in sent.entities] == [
        ("bold", 0, 3),
        ("code", 7, 1),
    ]
    edited = await bot.edit_message_text("two", 7, sent.message_id, reply_markup=KEYS)
    assert isinstance(edited, Message)
    assert edited.reply_markup == KEYS
    await bot.edit_message_reply_markup(7, sent.message_id, reply_markup=None)
    (message,) = chat.shown()
    assert [text for _, text in message.texts] == ["one 😀 x", "two"]
    assert message.markup is None
    assert telegram.seen_by(7) == [message]
    assert await bot.delete_message(7, sent.message_id)
    assert (chat.texts(), telegram.seen_by(7)) == ([], [])
    assert [call.method for call in telegram.calls][1:] == [
        "sendMessage",
        "editMessageText",
        "editMessageReplyMarkup",
        "deleteMessage",
    ]


async def test_a_button_is_pressed_and_answered(telegram: TelegramFake, bot: Bot) -> None:
    """The press brings the data and the message; the answer reaches who pressed."""
    chat = telegram.private(7)
    await bot.send_message(7, "Sure?", reply_markup=KEYS)
    press = chat.press(chat.user, chat.shown()[0], "Yes")
    (update,) = await bot.get_updates()
    query = update.callback_query
    assert query is not None
    assert (query.data, query.from_user.id) == ("y:1", 7)
    assert await query.answer("Done", show_alert=True)
    assert press.answers == [{"text": "Done", "show_alert": True}]
    with pytest.raises(BadRequest, match="Query is too old"):
        await bot.answer_callback_query("1")


async def test_an_old_press_cannot_be_answered() -> None:
    """After its life is over the query is too old."""
    now = 100.0
    async with TelegramFake(clock=lambda: now) as telegram:
        chat = telegram.private(7)
        async with Bot(telegram.token, base_url=telegram.base_url) as bot:
            await bot.send_message(7, "Sure?", reply_markup=KEYS)
            press = chat.press(chat.user, chat.shown()[0], "Yes")
            now += 31
            with pytest.raises(BadRequest, match="Query is too old"):
                await bot.answer_callback_query(press.id)


def _draft(chat: Chat) -> str | None:
    return None if chat.draft is None else chat.draft.text


async def test_drafts_vanish() -> None:
    """A draft is there for 30 seconds, or until a message comes."""
    now = 100.0
    async with TelegramFake(clock=lambda: now) as telegram:
        chat = telegram.private(7)
        async with Bot(telegram.token, base_url=telegram.base_url) as bot:
            await bot.send_message_draft(7, 5)
            assert _draft(chat) == ""
            await bot.send_message_draft(7, 5, "Hel")
            now += 29
            assert _draft(chat) == "Hel"
            now += 1
            assert _draft(chat) is None
            await bot.send_message_draft(7, 5, "Hello")
            await bot.send_message(7, "Hello!")
            assert _draft(chat) is None
            assert [draft.text for draft in chat.drafts] == ["", "Hel", "Hello"]


async def test_an_old_server_knows_no_drafts(telegram: TelegramFake, bot: Bot) -> None:
    """404, which the library takes for a wrong token."""
    telegram.drafts = False
    telegram.private(7)
    with pytest.raises(InvalidToken):
        await bot.send_message_draft(7, 5, "Hel")
    assert telegram.calls[-1].description == "Not Found"


async def test_a_topic_is_a_thread_of_its_own(telegram: TelegramFake, bot: Bot) -> None:
    """Every message of a topic seems to reply to the message that made the topic."""
    ann = telegram.person(7)
    forum = telegram.supergroup("Ops", [ann], forum=True)
    topic = forum.topic("Disks", by=ann)
    forum.say(ann, "@it0_bot full?", topic=topic)
    _, update = await bot.get_updates()
    message = update.message
    assert message is not None
    assert (message.message_thread_id, message.is_topic_message) == (topic.id, True)
    assert message.reply_to_message is not None
    assert message.reply_to_message.forum_topic_created is not None
    assert message.chat.is_forum
    sent = await bot.send_message(forum.id, "No", message_thread_id=topic.id)
    assert (sent.message_thread_id, forum.texts(topic.id)) == (topic.id, ["No"])
    assert await bot.send_chat_action(forum.id, "typing", message_thread_id=topic.id)
    with pytest.raises(BadRequest, match="Message thread not found"):
        await bot.send_message(forum.id, "No", message_thread_id=1)
    topic.closed = True
    with pytest.raises(BadRequest, match="Topic_closed"):
        await bot.send_message(forum.id, "No", message_thread_id=topic.id)


async def test_a_reply_starts_a_thread_that_is_no_topic(telegram: TelegramFake, bot: Bot) -> None:
    """In a supergroup without topics; in a private chat a reply has no thread."""
    ann = telegram.private(7)
    for chat, threaded in ((telegram.supergroup("Ops", [ann.user]), True), (ann, False)):
        first = await bot.send_message(chat.id, "one")
        chat.say(ann.user, "two", reply_to=chat.messages[first.message_id])
        message = (await bot.get_updates(offset=-1))[0].message
        assert message is not None
        assert message.message_thread_id == (first.message_id if threaded else None)
        assert not message.is_topic_message


async def test_files_go_both_ways(telegram: TelegramFake, bot: Bot) -> None:
    """What people send can be fetched; what the bot sends is kept."""
    chat = telegram.private(7)
    chat.document(chat.user, "app.log", b"line\n", caption="look")
    chat.album(chat.user, [b"a" * 100, b"b" * 100], caption="two")
    chat.voice(chat.user, b"OggS")
    chat.location(chat.user, 48.1, 11.6)
    chat.sticker(chat.user)
    messages = [update.message for update in await bot.get_updates()]
    log, first, second, voice, place, sticker = messages
    assert log is not None
    assert log.document is not None
    assert (log.caption, log.document.file_name) == ("look", "app.log")
    file = await bot.get_file(log.document)
    assert bytes(await file.download_as_bytearray()) == b"line\n"
    assert first is not None
    assert second is not None
    assert first.media_group_id == second.media_group_id is not None
    assert (first.caption, second.caption, len(first.photo)) == ("two", None, 3)
    assert voice is not None
    assert voice.voice is not None
    assert place is not None
    assert place.location is not None
    assert sticker is not None
    assert sticker.sticker is not None
    sent = await bot.send_document(7, b"full answer", filename="answer.md", caption="*a*")
    assert sent.document is not None
    stored = telegram.hub.files[sent.document.file_id]
    assert (stored.data, chat.texts()) == (b"full answer", ["*a*"])


async def test_a_big_file_cannot_be_fetched(telegram: TelegramFake, bot: Bot) -> None:
    """20 MB is the limit; the message itself comes."""
    chat = telegram.private(7)
    chat.document(chat.user, "big.log", b"x", size=21 * 1024 * 1024)
    (update,) = await bot.get_updates()
    assert update.message is not None
    assert update.message.document is not None
    with pytest.raises(BadRequest, match="File is too big"):
        await bot.get_file(update.message.document)


async def test_commands_are_kept_by_scope_and_language(telegram: TelegramFake, bot: Bot) -> None:
    """Each pair has its own list; languages have two letters."""
    groups = BotCommandScopeAllGroupChats()
    help_command = BotCommand("help", "What I can do")
    await bot.set_my_commands([help_command])
    await bot.set_my_commands([BotCommand("help", "帮助")], scope=groups, language_code="zh")
    assert await bot.get_my_commands() == (help_command,)
    assert (await bot.get_my_commands(groups, "zh"))[0].description == "帮助"
    assert await bot.get_my_commands(groups) == ()
    with pytest.raises(BadRequest, match="language code"):
        await bot.set_my_commands([help_command], language_code="zh-hans")
    with pytest.raises(BadRequest, match="Bot_command_invalid"):
        await bot.set_my_commands([["Help", "x"]])  # type: ignore[list-item]
    await bot.set_my_description("It helps", language_code="en")
    assert (await bot.get_my_description("en")).description == "It helps"


async def test_a_group_becomes_a_supergroup(telegram: TelegramFake, bot: Bot) -> None:
    """Both sides tell, and the old id says where to go."""
    group = telegram.group("Ops", [telegram.person(7)])
    new = group.migrate()
    old, fresh = [update.message for update in await bot.get_updates()]
    assert old is not None
    assert fresh is not None
    assert (old.chat.id, old.migrate_to_chat_id) == (group.id, new.id)
    assert (fresh.chat.id, fresh.migrate_from_chat_id) == (new.id, group.id)
    with pytest.raises(ChatMigrated) as caught:
        await bot.send_message(group.id, "hi")
    assert caught.value.new_chat_id == new.id
    assert (await bot.send_message(new.id, "hi")).chat.type == "supergroup"


async def test_a_blocked_bot_is_told(telegram: TelegramFake, bot: Bot) -> None:
    """my_chat_member comes, sending is forbidden, until the person starts the bot again."""
    chat = telegram.private(7)
    chat.block()
    (update,) = await bot.get_updates()
    assert update.my_chat_member is not None
    assert update.my_chat_member.new_chat_member.status == "kicked"
    with pytest.raises(Forbidden, match="bot was blocked by the user"):
        await bot.send_message(7, "hi")
    chat.unblock()
    await bot.send_message(7, "hi")
    assert chat.texts() == ["hi"]


async def test_a_bot_leaves(telegram: TelegramFake, bot: Bot) -> None:
    """Afterwards it may not write, and hears nothing."""
    ann = telegram.person(7)
    group = telegram.supergroup("Ops", [ann])
    assert (await bot.get_chat(group.id)).title == "Ops"
    await bot.leave_chat(group.id)
    group.say(ann, "gone?")
    assert [update.message for update in await bot.get_updates()] == [None]
    with pytest.raises(Forbidden, match="not a member of the supergroup"):
        await bot.send_message(group.id, "hi")


PAYLOADS = sorted((Path(__file__).parents[1] / "payloads" / "telegram").glob("*.json"))


@pytest.mark.parametrize("path", PAYLOADS, ids=lambda path: path.stem)
def test_recorded_updates_are_read_by_the_library(path: Path) -> None:
    """Each holds one kind of update, and entities that lie inside of their text."""
    given = json.loads(path.read_text(encoding="utf-8"))
    update = Update.de_json(given, None)
    (kind,) = given.keys() - {"update_id"}
    assert getattr(update, kind) is not None
    assert not update.api_kwargs
    message = update.effective_message
    for entity in getattr(message, "entities", ()):
        assert 0 < entity.length <= utf16_len(given[kind]["text"]) - entity.offset


def test_updates_of_the_fake_have_the_recorded_shape() -> None:
    """Every field that a recorded message of a kind always has is there."""
    telegram = TelegramFake()
    chat = telegram.private(7, username="ann")
    forum = telegram.supergroup("Ops", [chat.user], forum=True)
    topic = forum.topic("Disks", by=chat.user)
    optional = {"link_preview_options", "caption_entities", "caption"}
    made = {
        "private_text": chat.say(chat.user, "see https://a.org"),
        "forum_topic_message": forum.say(chat.user, "@it0_bot", topic=topic),
        "photo_with_caption": chat.photo(chat.user, b"x", caption="#c"),
        "album_first": chat.album(chat.user, [b"x"], caption="c")[0],
        "document_log": chat.document(chat.user, "a.log", b"x"),
        "voice": chat.voice(chat.user, b"x"),
        "sticker": chat.sticker(chat.user),
    }
    recorded = {
        path.stem: json.loads(path.read_text())["message"] for path in PAYLOADS if path.stem in made
    }
    for name, message in made.items():
        assert recorded[name].keys() - optional == message.json().keys() - optional, name
