"""Groups, buttons, albums and strangers on the real core."""

from __future__ import annotations

from core.buttons import Action
from core.messages import ConversationAddress
from tests.bots.telegram.kit import BUTTONS, Scene, open_scene
from tests.bots.telegram.test_webhook import picture
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.fakes.telegram import Chat, TelegramFake
from tests.support.core_gate import Gate
from tests.support.core_kit import Probe, Site


async def linked_group(scene: Scene, chat: Chat) -> Chat:
    """A group with the admin in it, linked to their team."""
    chat.members[scene.admin.id] = scene.admin.user
    await scene.link(chat)
    return chat


async def test_a_group_is_answered_when_it_asks(place: Site) -> None:
    """A mention is answered as a reply; talk among people is not heard."""
    async with TelegramFake() as fake, open_scene(place, fake) as scene:
        group = await linked_group(scene, fake.supergroup("Ops", []))
        group.say(scene.admin.user, "just talking")
        asked = group.say(scene.admin.user, "@it0_bot hello")
        await scene.answered(group, "Fine.")
        assert group.shown()[-1].reply_to is asked
        assert [request.text for request in scene.house.engine.requests] == ["hello"]


async def test_a_group_that_becomes_a_supergroup_keeps_its_link(place: Site) -> None:
    """The conversation goes on under the new id."""
    async with TelegramFake() as fake, open_scene(place, fake) as scene:
        group = await linked_group(scene, fake.group("Ops", []))
        group.say(scene.admin.user, "@it0_bot hello")
        await scene.answered(group, "Fine.")
        new = group.migrate(by=scene.admin.user)
        new.say(scene.admin.user, "@it0_bot still there?")
        await scene.answered(new, "Fine.")
        rows = await scene.house.rows(
            "SELECT COUNT(DISTINCT conversation_id) FROM turns WHERE kind = 'message'"
        )
        assert rows == [(1,)]


async def test_strangers_are_told_once(place: Site) -> None:
    """How to get in, the first time; then silence, and never a turn."""
    async with TelegramFake() as fake, open_scene(place, fake) as scene:
        bob = fake.private(6001, first_name="Bob")
        for number in range(4):
            bob.say(bob.user, f"let me in {number}")
        scene.admin.say(scene.admin.user, "hello")
        await scene.answered(scene.admin, "Fine.")
        await fake.wait_for(bob.texts)
        assert len(bob.texts()) == 1
        assert "I do not know you yet" in bob.texts()[0]
        assert len(scene.house.engine.requests) == 1


async def test_stickers_are_answered_once_a_minute(place: Site) -> None:
    """Politely, without a turn."""
    async with TelegramFake() as fake, open_scene(place, fake) as scene:
        for _ in range(3):
            scene.admin.sticker(scene.admin.user)
        scene.admin.location(scene.admin.user, 48.1, 11.5)
        await fake.wait_for(lambda: any("location" in text for text in scene.admin.texts()))
        said = [text for text in scene.admin.texts() if text.startswith("I cannot")]
        assert ["stickers" in text for text in said] == [True, False]
        assert scene.house.engine.requests == []


async def test_an_album_is_one_turn(place: Site) -> None:
    """Each part is stored as it comes, under the id of the first one."""
    async with TelegramFake() as fake, open_scene(place, fake) as scene:
        parts = scene.admin.album(scene.admin.user, [picture(n) for n in range(3)], caption="look")
        await scene.answered(scene.admin, "Fine.")
        request = scene.house.engine.requests[-1]
        assert (request.text, len(request.attachments)) == ("look", 3)
        event = f"telegram:{fake.bot.id}:{scene.admin.id}:{parts[0].id}"
        rows = await scene.house.rows("SELECT event_id FROM turns WHERE kind = 'message'")
        assert rows == [(event,)]


async def test_an_edit_of_a_waiting_message_counts(place: Site) -> None:
    """What waits behind a running turn is answered as it reads now."""
    gate = Gate()
    async with (
        TelegramFake() as fake,
        open_scene(place, fake, gate.engine(), tools=[Probe("look").tool()]) as scene,
    ):
        ada = scene.admin
        ada.say(ada.user, "hold")
        await gate.reached.wait()
        waiting = ada.say(ada.user, "first thought")
        ada.edit(waiting, "second thought")
        await scene.house.until("SELECT COUNT(*) FROM turns WHERE text = 'second thought'")
        gate.opened.set()
        await scene.answered(ada, "Answer to second thought.")


async def test_a_stop_button_stops_its_turn_once(place: Site) -> None:
    """Pressed by its owner it stops the turn; a second press says so; each press is answered."""
    gate = Gate()
    async with (
        TelegramFake(drafts=False) as fake,
        open_scene(place, fake, gate.engine(), tools=[Probe("look").tool()]) as scene,
    ):
        ada = scene.admin
        ada.say(ada.user, "hold")
        await gate.reached.wait()
        running = ada.shown()[-1]
        data = str(running.button("Stop")["callback_data"])
        pressed = ada.press(ada.user, running, "Stop")
        await fake.wait_for(lambda: pressed.answers)
        assert pressed.answers == [{"text": "Stopped.", "show_alert": False}]
        await scene.house.until("SELECT outcome FROM turns WHERE text = 'hold'", "cancelled")
        again = ada.press(ada.user, running, "", data=data)
        await fake.wait_for(lambda: again.answers)
        await scene.house.settled()


async def test_buttons_of_others_do_nothing(place: Site) -> None:
    """Forged data, data of another chat and a stranger's press are answered and change nothing."""
    gate = Gate()
    async with (
        TelegramFake(drafts=False) as fake,
        open_scene(place, fake, gate.engine(), tools=[Probe("look").tool()]) as scene,
    ):
        group = await linked_group(scene, fake.supergroup("Ops", []))
        eve = fake.private(6666, first_name="Eve")
        group.members[eve.id] = eve.user
        group.say(scene.admin.user, "@it0_bot hold")
        await gate.reached.wait()
        running = group.shown()[-1]
        turn = (await scene.house.rows("SELECT id FROM turns WHERE text = 'hold'"))[0][0]
        elsewhere = ConversationAddress(
            platform="telegram", workspace=str(fake.bot.id), channel=str(eve.id), thread=""
        )
        presses = [
            group.press(eve.user, running, "Stop"),
            group.press(scene.admin.user, running, "", data=f"s{turn}.00"),
            group.press(
                scene.admin.user, running, "", data=BUTTONS.seal(Action.STOP, turn, elsewhere)
            ),
        ]
        await fake.wait_for(lambda: all(press.answers for press in presses))
        assert all(press.answers[0]["show_alert"] for press in presses)
        assert "not yours" in presses[1].answers[0]["text"]
        gate.opened.set()
        await fake.wait_for(lambda: "Done." in group.texts()[-1])
        await scene.house.settled()


async def test_the_language_of_the_platform_is_spoken(place: Site) -> None:
    """Buttons and refusals in Chinese for a Chinese client."""
    async with (
        TelegramFake() as fake,
        open_scene(place, fake, ScriptedEngine([Say("好")])) as scene,
    ):
        li = fake.private(6120, first_name="李", language_code="zh-hans")
        await scene.link(li)
        li.say(li.user, "你好")
        await scene.answered(li, "好")
        assert {
            turn[0]
            for turn in await scene.house.rows("SELECT language FROM turns WHERE sender = '6120'")
        } == {"zh-hans"}
