"""Whole scenarios: what people do in Slack, and what comes of it in the core and in Slack."""

from __future__ import annotations

import asyncio

from tests.bots.slack.kit import slack_house
from tests.fakes.scripted_engine import Say, ScriptedEngine, Signal, Until
from tests.fakes.slack import SlackFake, pings, plain_text
from tests.support.core_kit import Site, eventually

TURNS = "SELECT COUNT(*) FROM turns"
TEXTS = "SELECT text FROM turns ORDER BY created_at, seq"


async def test_a_mention_makes_one_turn_however_often_it_is_sent(
    fake: SlackFake, place: Site
) -> None:
    """Its twin, a duplicate delivery and a late redelivery change nothing."""
    fake.weather.duplicates = 2
    async with slack_house(place, fake) as world:
        asked = world.mention("hello")
        await world.answer(world.channel, asked.ts, "Fine.")
        for delivery in fake.deliveries("app_mention"):
            assert await fake.outbox.redeliver(delivery).done()
        await fake.settled()
        await world.house.settled()
        assert await world.house.rows(TURNS) == [(1,)]
        assert fake.texts(world.channel, asked.ts) == ["Fine."]


async def test_direct_messages_are_answered_without_a_thread(fake: SlackFake, place: Site) -> None:
    """The answer is posted and edited, because streams live in threads alone."""
    async with slack_house(place, fake) as world:
        world.admin.say(world.dm, "hello")
        answer = await world.answer(world.dm, None, "Fine.")
        assert answer.thread_ts is None
        assert fake.count("chat.startStream") == 0


async def test_nothing_is_lost_while_the_database_is_down(fake: SlackFake, place: Site) -> None:
    """What cannot be stored is not acknowledged, over HTTP with an error: Slack sends it again."""
    async with slack_house(place, fake, http=True) as world:
        world.house.faults.refuse = lambda name: name == "_accept"
        asked = world.mention("hello")
        (sent,) = fake.deliveries("app_mention")
        await eventually(lambda: len(sent.attempts) > 1)
        assert {item.status for item in sent.attempts} == {500}
        world.house.faults.refuse = lambda _name: False
        await world.answer(world.channel, asked.ts, "Fine.")
        await fake.settled()
        assert await world.house.rows(TURNS) == [(1,)]


async def test_an_edit_reaches_a_message_that_waits(fake: SlackFake, place: Site) -> None:
    """The second message waits behind the first, and is answered as it reads then."""
    go = asyncio.Event()
    engine = ScriptedEngine([Until(go), Say("Fine.")])
    async with slack_house(place, fake, engine=engine) as world:
        first = world.mention("one")
        await world.house.until("SELECT COUNT(*) FROM turns WHERE status = 'running'")
        second = world.mention("two", thread_ts=first.ts)
        await world.house.until(TURNS, 2)
        world.admin.edit(second, f"{world.team.mention} three")
        await world.house.until("SELECT COUNT(*) FROM turns WHERE text = 'three'")
        world.admin.unfurl(second)
        go.set()
        await fake.settled()
        await world.house.settled()
        assert await world.house.rows(TEXTS) == [("one",), ("three",)]


async def test_a_deleted_message_is_not_answered_any_more(fake: SlackFake, place: Site) -> None:
    """Whoever deletes the question stops its turn."""
    began = asyncio.Event()
    engine = ScriptedEngine([Signal(began), Until(asyncio.Event()), Say("Never.")])
    async with slack_house(place, fake, engine=engine) as world:
        asked = world.admin.say(world.dm, "one")
        await began.wait()
        world.admin.delete(asked)
        await world.house.until("SELECT outcome FROM turns", "cancelled")


async def test_bots_do_not_answer_each_other(fake: SlackFake, place: Site) -> None:
    """Neither its own messages nor another bot's mention start a turn."""
    async with slack_house(place, fake) as world:
        world.team.bot_message(world.channel, f"{world.team.mention} deploy done")
        world.team.user("robot", is_bot=True).say(world.channel, f"{world.team.mention} hi")
        asked = world.mention("hello")
        await world.answer(world.channel, asked.ts, "Fine.")
        await fake.settled()
        assert await world.house.rows(TURNS) == [(1,)]


async def test_a_thread_is_answered_only_when_mentioned(fake: SlackFake, place: Site) -> None:
    """People may talk among themselves in a thread that the bot answered."""
    async with slack_house(place, fake) as world:
        asked = world.mention("hello")
        await world.answer(world.channel, asked.ts, "Fine.")
        world.admin.say(world.channel, "thanks all", thread_ts=asked.ts)
        world.mention("and now?", thread_ts=asked.ts)
        await world.house.until(TURNS, 2)
        await fake.settled()
        await world.house.settled()
        rows = await world.house.rows("SELECT COUNT(DISTINCT conversation_id) FROM turns")
        assert rows == [(1,)]
        assert await world.house.rows(TEXTS) == [("hello",), ("and now?",)]


async def test_strangers_are_told_once_and_cost_nothing(fake: SlackFake, place: Site) -> None:
    """Only they see how to get in, with the command as it is typed in Slack."""
    async with slack_house(place, fake) as world:
        stranger = world.team.user("eve")
        stranger.say(world.channel, f"{world.team.mention} hi")
        await fake.wait_for(lambda: world.channel.ephemerals)
        stranger.say(world.channel, f"{world.team.mention} hi again")
        await fake.settled()
        (told,) = world.channel.ephemerals
        assert told.ephemeral_to == stranger.id
        assert "/it0 link CODE" in plain_text(told)
        assert "/it0 invite" in plain_text(told)
        assert await world.house.rows(TURNS) == [(0,)]


async def test_people_of_another_workspace_are_strangers(fake: SlackFake, place: Site) -> None:
    """In a shared channel somebody from outside is told politely, and answered by nobody."""
    other = fake.team("other", installed=False)
    async with slack_house(place, fake) as world:
        world.team.share(world.channel, other)
        guest = other.user("gus")
        guest.say(world.channel, f"{world.team.mention} status?")
        await fake.wait_for(lambda: world.channel.ephemerals)
        assert world.channel.ephemerals[0].ephemeral_to == guest.id
        assert await world.house.rows(TURNS) == [(0,)]


async def test_the_persons_language_and_name_come_along(fake: SlackFake, place: Site) -> None:
    """Slack knows them; they are asked once, however much somebody writes."""
    async with slack_house(place, fake) as world:
        world.admin.locale = "fr-FR"
        for text in ("one", "two"):
            world.admin.say(world.dm, text)
        await world.house.until(TURNS, 2)
        await world.house.settled()
        assert await world.house.rows("SELECT DISTINCT language FROM turns") == [("fr-FR",)]
        assert fake.count("users.info") <= 2


async def test_strangers_are_told_in_their_own_language(fake: SlackFake, place: Site) -> None:
    """In direct messages as a message that stays, with the command as it is typed in Slack."""
    async with slack_house(place, fake) as world:
        stranger = world.team.user("li", locale="zh-CN")
        stranger.say(world.team.dm(stranger), "hello")
        await fake.wait_for(lambda: fake.bot_messages(world.team.dm(stranger)))
        (told,) = fake.texts(world.team.dm(stranger))
        assert "/it0 link" in told
        assert any("\u4e00" <= char <= "\u9fff" for char in told)


async def test_a_slash_command_is_answered_in_the_direct_messages(
    fake: SlackFake, place: Site
) -> None:
    """Who types it in a channel is told where to look; nobody else sees anything."""
    async with slack_house(place, fake, http=True) as world:
        used = world.admin.slash("/it0", "how are the servers?", world.channel)
        assert await used.delivery.done()
        assert "direct messages" in used.responses.shown[0]
        await world.answer(world.dm, None, "Fine.")
        assert fake.bot_messages(world.channel) == []
        again = world.admin.slash("/it0", "help", world.dm)
        await world.answer(world.dm, None, "sessions")
        assert again.responses.shown == []


async def test_private_answers_stay_private(fake: SlackFake, place: Site) -> None:
    """``whoami`` in a channel is answered in the direct messages."""
    async with slack_house(place, fake) as world:
        world.mention("whoami")
        await world.answer(world.dm, None, "role")
        await world.house.settled()
        assert fake.bot_messages(world.channel) == []


async def test_an_answer_to_the_models_question_erases_nothing(
    fake: SlackFake, place: Site
) -> None:
    """The bare word goes to the model; the command is typed with its slash."""
    engine = ScriptedEngine([Say("Shall I keep or delete the old logs?"), Say("They are gone.")])
    async with slack_house(place, fake, engine=engine) as world:
        world.admin.say(world.dm, "the disk is full")
        await world.answer(world.dm, None, "keep or delete")
        world.admin.say(world.dm, "delete")
        await world.house.until(TURNS, 2)
        await world.house.settled()
        assert await world.house.rows("SELECT DISTINCT kind FROM turns") == [("message",)]
        world.admin.slash("/it0", "delete", world.dm)
        await world.house.until("SELECT COUNT(*) FROM turns WHERE text = '/delete'")


async def test_files_arrive_in_the_turn(fake: SlackFake, place: Site) -> None:
    """A log is fetched with the workspace's token and seen by the engine."""
    engine = ScriptedEngine([Say("Fine.")])
    async with slack_house(place, fake, engine=engine) as world:
        log = world.admin.file("nginx.log", "text/plain", b"connection refused")
        world.admin.say(world.dm, "what is this?", files=[log])
        await world.answer(world.dm, None, "Fine.")
        assert [item.name for item in engine.requests[0].attachments] == ["nginx.log"]


async def test_an_answer_can_not_ping_anybody(fake: SlackFake, place: Site) -> None:
    """Whatever a model writes, streamed or edited, nobody is notified by it."""
    evil = "Hi <!channel> @here <@U000000001> <!subteam^S1> done."
    async with slack_house(place, fake, engine=ScriptedEngine([Say(evil)])) as world:
        asked = world.mention("hello")
        streamed = await world.answer(world.channel, asked.ts, "done.")
        world.admin.say(world.dm, "hello")
        edited = await world.answer(world.dm, None, "done.")
        assert pings(streamed) == pings(edited) == set()
