"""The fake Bot API under traffic: flood limits, webhooks, late and doubled updates, many chats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from telegram import Bot, Update
from telegram.error import BadRequest, Conflict
from telegram.ext import ApplicationBuilder, CallbackContext, MessageHandler, Updater, filters

from tests.fakes.telegram import ANONYMOUS_ADMIN, FloodLimits, TelegramFake
from tests.fakes.telegram_flood import ALL_CHATS, FloodModel


class Clock:
    """Time that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramFake]:
    """The fake, without limits."""
    async with TelegramFake() as fake:
        fake.updates.retry_s = 0.001
        yield fake


@pytest.fixture
async def bot(telegram: TelegramFake) -> AsyncIterator[Bot]:
    """The real library, pointed at the fake."""
    async with Bot(telegram.token, base_url=telegram.base_url) as client:
        yield client


class Hook:
    """A webhook that notes what it gets and answers what it is told."""

    def __init__(self) -> None:
        """Start accepting."""
        self.statuses: list[int] = []
        self.got: list[tuple[str | None, int]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        """One delivery."""
        update = await request.json()
        secret = request.headers.get("X-Telegram-Bot-Api-Secret-Token")
        self.got.append((secret, update["update_id"]))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


@asynccontextmanager
async def listening() -> AsyncIterator[Hook]:
    """A webhook on loopback."""
    hook = Hook()
    app = web.Application()
    app.router.add_post("/hook", hook.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield hook
    finally:
        await runner.cleanup()


# -- flood -------------------------------------------------------------------------------


def test_a_private_chat_refills_by_the_second() -> None:
    """A burst, then one a second, without a penalty for who keeps the pace."""
    clock = Clock()
    model = FloodModel(FloodLimits(private_burst=3), clock)
    assert [model.admit(7, "sendMessage") for _ in range(3)] == [0, 0, 0]
    for _ in range(5):
        clock.now += 1
        assert model.admit(7, "editMessageText") == 0
    assert not model.penalties


def test_a_group_has_twenty_a_minute() -> None:
    """The twenty-first within the minute is punished until a token is there."""
    clock = Clock()
    model = FloodModel(FloodLimits(total_burst=100), clock)
    assert [model.admit(-5, "sendMessage") for _ in range(21)] == [0] * 20 + [3]
    assert model.admit(7, "sendMessage") == 0
    (penalty,) = model.penalties[-5]
    assert (penalty.retry_after, penalty.method) == (3, "sendMessage")


def test_a_call_during_a_penalty_prolongs_it() -> None:
    """It is counted as provoked again; who waits as told is let through."""
    clock = Clock()
    model = FloodModel(FloodLimits(private_burst=1, penalty_s=3, extend_s=2), clock)
    assert [model.admit(7, "x") for _ in range(2)] == [0, 3]
    clock.now += 1
    assert model.admit(7, "x") == 4
    clock.now += 4
    assert model.admit(7, "x") == 0
    (penalty,) = model.penalties[7]
    assert (penalty.provoked_again, model.provoked_again()) == (1, 1)


def test_all_chats_share_thirty_a_second() -> None:
    """Too fast over all chats, the penalty is for all of them."""
    clock = Clock()
    model = FloodModel(FloodLimits(), clock)
    answers = [model.admit(chat_id, "x") for chat_id in range(1, 32)]
    assert answers == [0] * 30 + [3]
    assert model.admit(99, "x") == 5
    assert list(model.penalties) == [ALL_CHATS]
    clock.now += 5
    assert model.admit(99, "x") == 0


async def test_edits_and_sends_share_a_bucket() -> None:
    """429 with whole seconds; nothing is shown; actions cost nothing, drafts only if told."""
    clock = Clock()
    limits = FloodLimits(private_burst=2, drafts_count=True)
    async with TelegramFake(flood=limits, clock=clock) as telegram, aiohttp.ClientSession() as web_:
        chat = telegram.private(7)

        async def call(method: str, **params: object) -> int:
            url = f"{telegram.base_url}{telegram.token}/{method}"
            async with web_.post(url, json={"chat_id": 7, **params}) as answer:
                body = await answer.json()
                retry_after: int = body.get("parameters", {}).get("retry_after", 0)
                return retry_after

        assert await call("sendMessage", text="one") == 0
        number = chat.shown()[0].id
        assert await call("editMessageText", message_id=number, text="two") == 0
        assert await call("sendChatAction", action="typing") == 0
        assert await call("editMessageText", message_id=number, text="three") == 3
        assert await call("sendMessageDraft", draft_id=1, text="x") == 5
        assert (chat.texts(), chat.drafts) == (["two"], [])
        assert telegram.penalties[7][0].provoked_again == 1
        clock.now += 5
        assert await call("sendMessage", text="four") == 0


# -- webhook -----------------------------------------------------------------------------


async def test_a_webhook_gets_updates_in_order(telegram: TelegramFake, bot: Bot) -> None:
    """With the secret; what fails is sent again before what follows it in the chat."""
    async with listening() as hook:
        chat = telegram.private(7)
        waiting = chat.say(chat.user, "before").update_id
        hook.statuses = [200, 500, 503, 401]
        await bot.set_webhook(hook.url, secret_token="s3cret", allowed_updates=["message"])
        ids = [chat.say(chat.user, text).update_id for text in "ab"]
        await telegram.wait_for(lambda: not telegram.updates.pending)
        assert [number for _, number in hook.got] == [waiting, ids[0], ids[0], ids[0], *ids]
        assert {secret for secret, _ in hook.got} == {"s3cret"}
        info = await bot.get_webhook_info()
        assert (info.url, info.pending_update_count) == (hook.url, 0)
        assert "401" in str(info.last_error_message)
        with pytest.raises(Conflict, match="webhook is active"):
            await bot.get_updates()
        await bot.delete_webhook()
        chat.say(chat.user, "polled")
        assert len(await bot.get_updates()) == 1


async def test_a_webhook_is_set_anew_without_harm(telegram: TelegramFake, bot: Bot) -> None:
    """The same again changes nothing, a poll ends, pending updates go only if told."""
    async with listening() as hook:
        chat = telegram.private(7)
        poll = asyncio.create_task(bot.get_updates(timeout=20))
        await telegram.wait_for(lambda: telegram.updates.polled)
        await bot.set_webhook(hook.url)
        with pytest.raises(Conflict, match="terminated by setWebhook"):
            await poll
        webhook = telegram.updates.webhook
        await bot.set_webhook(hook.url)
        assert telegram.updates.webhook is webhook
        hook.statuses = [500] * 10_000
        chat.say(chat.user, "hello")
        await bot.delete_webhook(drop_pending_updates=True)
        assert await bot.get_updates() == ()


async def test_what_a_webhook_did_not_take_waits_for_polling(
    telegram: TelegramFake, bot: Bot
) -> None:
    """Deleting the webhook loses nothing."""
    async with listening() as hook:
        hook.statuses = [500] * 10_000
        chat = telegram.private(7)
        await bot.set_webhook(hook.url)
        number = chat.say(chat.user, "hello").update_id
        await telegram.wait_for(lambda: len(hook.got) > 2)
        await bot.delete_webhook()
    assert [update.update_id for update in await bot.get_updates()] == [number]


async def test_a_webhook_that_is_away_gets_its_updates_later(
    telegram: TelegramFake, bot: Bot, unused_tcp_port: int
) -> None:
    """A refused connection is a failed delivery, which is told and tried again."""
    chat = telegram.private(7)
    await bot.set_webhook(f"http://127.0.0.1:{unused_tcp_port}/hook")
    number = chat.say(chat.user, "hello").update_id
    await telegram.wait_for(lambda: len(telegram.updates.deliveries) > 2)
    assert {(item.update_id, item.status) for item in telegram.updates.deliveries} == {(number, 0)}
    info = await bot.get_webhook_info()
    assert (info.pending_update_count, info.last_error_message) == (1, "Connection refused")


async def test_a_webhook_must_be_sound(bot: Bot) -> None:
    """HTTPS off loopback, and a secret of plain characters."""
    with pytest.raises(BadRequest, match="an https url must be provided"):
        await bot.set_webhook("http://example.org/hook")
    with pytest.raises(BadRequest, match="unallowed characters"):
        await bot.set_webhook("https://example.org/hook", secret_token="a b")


async def test_updates_come_twice_and_backwards(telegram: TelegramFake, bot: Bot) -> None:
    """Polled, a confirmed update can come again and old messages after new ones."""
    chat = telegram.private(7)
    number = chat.say(chat.user, "one").update_id
    assert number is not None
    assert await bot.get_updates(offset=number + 1) == ()
    telegram.redeliver(number)
    (again,) = await bot.get_updates(offset=number + 1)
    assert again.update_id == number
    telegram.updates.hold()
    for text in ("two", "three"):
        chat.say(chat.user, text)
    assert await bot.get_updates(offset=number + 1) == ()
    ids = telegram.updates.release(backwards=True)
    updates = await bot.get_updates(offset=number + 1)
    assert [update.update_id for update in updates] == ids == sorted(ids)
    texts = [update.message.text for update in updates if update.message]
    assert texts == ["three", "two"]


async def test_a_webhook_sees_ids_fall(telegram: TelegramFake, bot: Bot) -> None:
    """Out of order over a webhook, each with its own id, and doubled."""
    async with listening() as hook:
        chat = telegram.private(7)
        await bot.set_webhook(hook.url, max_connections=1)
        telegram.updates.hold()
        for text in "abc":
            chat.say(chat.user, text)
        ids = telegram.updates.release(backwards=True)
        telegram.redeliver(ids[0])
        await telegram.wait_for(lambda: len(hook.got) == 4)
        assert [number for _, number in hook.got] == [*ids, ids[0]]
        assert ids == sorted(ids, reverse=True)


async def test_the_library_runs_its_loop_against_it(telegram: TelegramFake) -> None:
    """An application polls, handles and answers; what it handled is confirmed when it stops."""

    async def echo(update: Update, _context: CallbackContext[Any, Any, Any, Any]) -> None:
        assert update.effective_message is not None
        await update.effective_message.reply_text(f"You said {update.effective_message.text}")

    chat = telegram.private(7)
    chat.say(chat.user, "before")
    application = (
        ApplicationBuilder().token(telegram.token).base_url(telegram.base_url).updater(None).build()
    )
    application.add_handler(MessageHandler(filters.TEXT, echo))
    async with application, Updater(application.bot, application.update_queue) as updater:
        await application.start()
        await updater.start_polling()
        await telegram.wait_for(chat.texts)
        chat.say(chat.user, "after")
        await telegram.wait_for(lambda: len(chat.texts()) == 2)
        await updater.stop()
        await application.stop()
    assert chat.texts() == ["You said before", "You said after"]
    assert not telegram.updates.pending


# -- who sees what -----------------------------------------------------------------------


async def test_with_privacy_a_bot_hears_what_is_meant_for_it() -> None:
    """In groups: commands, mentions and replies to it; in private chats everything."""
    async with TelegramFake(privacy=True) as telegram:
        ann = telegram.person(7)
        group = telegram.supergroup("Ops", [ann])
        async with Bot(telegram.token, base_url=telegram.base_url) as shy:
            own = await shy.send_message(group.id, "Hello")
            heard = [
                group.say(ann, "just talking"),
                group.say(ann, "/status@it0_bot"),
                group.say(ann, "@it0_bot status?"),
                group.say(ann, "thanks", reply_to=group.messages[own.message_id]),
                group.say(ANONYMOUS_ADMIN, "/status"),
            ]
            updates = await shy.get_updates()
        assert [message.update_id is not None for message in heard] == [False, *[True] * 4]
        last = updates[-1].message
        assert last is not None
        assert last.sender_chat is not None
        assert last.sender_chat.id == group.id


async def test_a_channel_post_has_no_author(telegram: TelegramFake, bot: Bot) -> None:
    """It comes as channel_post, and ids count from the channel's own start."""
    channel = telegram.channel("News", username="it0_news")
    channel.say(None, "posted")
    (update,) = await bot.get_updates()
    assert update.channel_post is not None
    assert (update.channel_post.from_user, update.channel_post.sender_chat is None) == (None, False)
    sent = await bot.send_message("@it0_news", "answered")
    assert sent.message_id == update.channel_post.message_id + 1


async def test_a_hundred_chats_stream_at_once() -> None:
    """Every edit arrives, in its own chat, with its whole history."""
    async with TelegramFake(max_delay_s=0.001) as telegram, aiohttp.ClientSession() as session:
        chats = [telegram.private(number) for number in range(1, 101)]
        root = f"{telegram.base_url}{telegram.token}"

        async def stream(number: int) -> None:
            body = {"chat_id": number, "text": "start"}
            async with session.post(f"{root}/sendMessage", data=body) as answer:
                message_id = (await answer.json())["result"]["message_id"]
            for step in range(5):
                edit = {"chat_id": number, "message_id": message_id, "text": f"{number}.{step}"}
                async with session.post(f"{root}/editMessageText", data=edit) as answer:
                    assert answer.status == 200

        await asyncio.gather(*(stream(chat.id) for chat in chats))
        assert [chat.texts() for chat in chats] == [[f"{chat.id}.4"] for chat in chats]
        assert all(len(chat.shown()[0].texts) == 6 for chat in chats)
        assert telegram.count("editMessageText") == 500
