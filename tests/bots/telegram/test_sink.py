"""The sink against a strict server: what is shown where, and what refusals mean."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bots.telegram.pace import MAX_CHATS
from bots.telegram.sink import MAX_REMEMBERED, TelegramSink
from core.buttons import Action
from core.messages import ConversationAddress
from core.sinks import DeliveryFailed, Destination, Throttled, View
from tests.bots.telegram.kit import BUTTONS, open_sink
from tests.fakes.telegram import Chat, Message, TelegramFake
from tests.fakes.telegram_errors import bad
from tests.fakes.telegram_text import Formatted

PLACEHOLDER = View(text="…")
FINAL = View(text="All **fine**.", final=True)


def to(chat: Chat, *, thread: str = "", sender: int = 7, **more: object) -> Destination:
    """A destination in a chat."""
    address = ConversationAddress(
        platform="telegram", workspace="123456", channel=str(chat.id), thread=thread
    )
    plain = Destination(
        tenant_id="t", turn_id="turn_1", event_id="e", address=address, sender=str(sender)
    )
    return replace(plain, **more)  # type: ignore[arg-type]


async def shows(sink: TelegramSink, place: Destination, *views: View) -> str:
    """Post the first view, edit the others in."""
    ref = await sink.post(place, 1, views[0])
    for view in views[1:]:
        await sink.edit(place, ref, view)
    return ref


def stop_time(sink: TelegramSink) -> None:
    """From now on the pace knows one moment only."""
    moment = sink.pace.now()
    sink.pace.now = lambda: moment


async def test_a_reply_in_a_group_answers_its_message_and_can_be_stopped() -> None:
    """The placeholder replies and has a Stop button for its turn; the final text has none."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        ann = fake.person(7)
        group = fake.supergroup("Ops", [ann])
        asked = group.say(ann, "@it0_bot hello")
        place = to(group, source_ref=str(asked.id))
        ref = await shows(sink, place, PLACEHOLDER)
        posted = group.shown()[0]
        data = str(posted.button("Stop")["callback_data"])
        assert posted.reply_to is asked
        assert BUTTONS.unseal(data, place.address) == (Action.STOP, "turn_1")
        await sink.edit(place, ref, FINAL)
        assert (posted.text, posted.markup) == ("All fine.", None)
        assert [entity["type"] for entity in posted.entities] == ["bold"]
        assert all("parse_mode" not in call.params for call in fake.calls)


async def test_a_reply_in_a_topic_stays_in_it() -> None:
    """Also when the message it answers is gone."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        ann = fake.person(7)
        forum = fake.supergroup("Ops", [ann], forum=True)
        topic = forum.topic("Disks", by=ann)
        await shows(sink, to(forum, thread=str(topic.id), source_ref="99999"), FINAL)
        assert forum.texts(topic.id) == ["All fine."]


async def test_a_status_stands_in_italics_under_the_text() -> None:
    """It is no part of the answer, whatever markup it contains."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        chat = fake.private(7)
        view = View(text="So far 😀.", status="disk_usage *server*=web_3")
        ref = await shows(sink, to(chat), PLACEHOLDER, view)
        message = chat.shown()[0]
        assert message.text == "So far 😀.\n\ndisk_usage *server*=web_3"
        assert [(item["type"], item["offset"]) for item in message.entities] == [("italic", 12)]
        await sink.edit(to(chat), ref, View(text="", status="looking"))
        assert message.text == "looking"


@pytest.mark.parametrize("text", ["[](https://a.example)", "<!-- -->", "\u200b", "\\\n"])
async def test_nothing_visible_is_never_sent_empty(text: str) -> None:
    """Telegram refuses an empty message."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        chat = fake.private(7)
        await shows(sink, to(chat), View(text=text, final=True))
        assert len(chat.texts()) == 1


async def test_the_same_text_again_is_good() -> None:
    """A repeated final edit changes nothing, and is no failure."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        chat = fake.private(7)
        await shows(sink, to(chat), PLACEHOLDER, FINAL, FINAL)
        assert chat.texts() == ["All fine."]


async def test_drafts_preview_in_private_chats() -> None:
    """First a word in the person's language, then the text; one id, never zero."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        chat = fake.private(7)
        assert await sink.draft(to(chat), View(text=""))
        assert await sink.draft(to(chat), View(text="So *far*"))
        assert [draft.text for draft in chat.drafts] == ["Thinking…", "So far"]
        assert len({draft.draft_id for draft in chat.drafts} - {0}) == 1
        assert not await sink.draft(to(fake.supergroup("Ops", [])), View(text=""))


async def test_a_server_without_drafts_is_asked_once() -> None:
    """From then on messages are edited, for everybody."""
    async with TelegramFake(drafts=False) as fake, open_sink(fake) as sink:
        assert not await sink.draft(to(fake.private(7)), View(text=""))
        assert not await sink.draft(to(fake.private(8)), View(text=""))
        assert len(fake.calls_of("sendMessageDraft")) == 1


async def test_a_punished_draft_is_left_out_and_costs_from_then_on() -> None:
    """The preview is skipped, nothing is raised, and the chat is left in peace."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        fake.weather.limited, fake.weather.retry_after_s = 1, 3000
        stop_time(sink)
        chat = fake.private(7)
        assert await sink.draft(to(chat), View(text="a"))
        assert await sink.draft(to(chat), View(text="b"))
        assert len(fake.calls_of("sendMessageDraft")) == 1
        assert sink.pace.drafts_cost


@pytest.mark.parametrize("status", ["blocked", "kicked", "left"])
async def test_where_the_bot_may_not_write_nothing_helps(status: str) -> None:
    """Blocked or thrown out: permanent."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        chat = fake.private(7) if status == "blocked" else fake.group("Ops", [fake.person(7)])
        chat.status = status
        with pytest.raises(DeliveryFailed) as refused:
            await shows(sink, to(chat), FINAL)
        assert refused.value.permanent


async def test_an_unknown_chat_is_permanent() -> None:
    """There is nobody to tell."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        chat = fake.private(7)
        del fake.hub.chats[7], fake.hub.people[7]
        with pytest.raises(DeliveryFailed) as refused:
            await shows(sink, to(chat), FINAL)
        assert refused.value.permanent


async def test_a_penalty_is_obeyed() -> None:
    """The refusal says how long; until then the sink itself sends nothing there."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        chat = fake.private(7)
        fake.weather.limited, fake.weather.retry_after_s = 1, 40_000
        stop_time(sink)
        with pytest.raises(DeliveryFailed) as refused:
            await shows(sink, to(chat), FINAL)
        assert (refused.value.permanent, refused.value.retry_after_s) == (False, 40_000)
        with pytest.raises(DeliveryFailed) as held:
            await shows(sink, to(chat), FINAL)
        assert (held.value.retry_after_s or 0) > 30_000
        assert len(fake.calls_of("sendMessage")) == 1


@pytest.mark.parametrize("trouble", ["down", "lost_answers"])
async def test_an_outage_says_that_the_outcome_is_unknown(trouble: str) -> None:
    """Without a time to wait: the call may have taken effect."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        setattr(fake.weather, trouble, 1)
        with pytest.raises(DeliveryFailed) as lost:
            await shows(sink, to(fake.private(7)), FINAL)
        assert (lost.value.permanent, lost.value.retry_after_s) == (False, None)


async def test_a_deleted_message_is_replaced_once() -> None:
    """The answer is not lost and does not come twice, however often it is delivered."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        chat = fake.private(7)
        ref = await shows(sink, to(chat), PLACEHOLDER)
        chat.delete(chat.shown()[0])
        with pytest.raises(DeliveryFailed) as gone:
            await sink.edit(to(chat), ref, View(text="so far"))
        assert gone.value.permanent
        assert chat.texts() == []
        await sink.edit(to(chat), ref, FINAL)
        await sink.edit(to(chat), ref, FINAL)
        assert chat.texts() == ["All fine."]


async def test_a_lost_answer_while_replacing_leaves_no_second_text() -> None:
    """The replacement is a placeholder first: what stays behind is a dot, not an answer."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        chat = fake.private(7)
        ref = await shows(sink, to(chat), PLACEHOLDER)
        chat.delete(chat.shown()[0])
        fake.weather.lost_answers, fake.weather.only = 1, frozenset({"sendMessage"})
        with pytest.raises(DeliveryFailed):
            await sink.edit(to(chat), ref, FINAL)
        await sink.edit(to(chat), ref, FINAL)
        assert chat.texts() == ["…", "All fine."]


async def test_a_group_that_moved_is_followed() -> None:
    """Posts go to the new id; a placeholder that stayed behind is replaced there."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        group = fake.group("Ops", [fake.person(7)])
        ref = await shows(sink, to(group), PLACEHOLDER)
        new = group.migrate()
        await sink.edit(to(group), ref, FINAL)
        assert new.texts() == ["All fine."]
        second = await shows(sink, to(group), PLACEHOLDER)
        button = str(new.shown()[1].button("Stop")["callback_data"])
        assert BUTTONS.unseal(button, to(new).address) == (Action.STOP, "turn_1")
        await sink.edit(to(group), second, FINAL)
        assert new.texts() == ["All fine.", "All fine."]


async def test_another_message_of_a_moved_group_is_left_alone() -> None:
    """Supergroups count from one again: an old id may be somebody else's answer there."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        group = fake.group("Ops", [fake.person(7)])
        new = group.migrate()
        other = await shows(sink, to(new), View(text="Another answer.", final=True))
        number = other.partition(":")[2]
        await sink.edit(to(group), f"{group.id}:{number}", FINAL)
        assert new.texts() == ["Another answer.", "All fine."]


async def test_what_is_for_one_person_goes_to_their_own_chat() -> None:
    """Nothing of it is shown in the group."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        chat = fake.private(7)
        group = fake.supergroup("Ops", [chat.user])
        await shows(sink, to(group, private=True), PLACEHOLDER, FINAL)
        assert (chat.texts(), group.texts()) == (["All fine."], [])


async def test_who_never_opened_a_chat_is_told_how() -> None:
    """In the group, in one sentence and without the content, also when it is delivered again."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        ann = fake.person(7)
        group = fake.supergroup("Ops", [ann])
        place = to(group, private=True)
        await shows(sink, place, PLACEHOLDER, FINAL, FINAL)
        assert await sink.post(place, 2, FINAL)
        assert len(group.texts()) == 1
        assert "Open a private chat with me" in group.texts()[0]
        assert "fine" not in group.texts()[0]
        assert group.shown()[0].entities[0]["url"] == "https://t.me/it0_bot"


async def test_refused_markup_is_sent_again_without() -> None:
    """Should Telegram's rules change, the text still arrives."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        chat = fake.private(7)
        seen: list[str] = []
        post = chat.post

        def refuse_entities(given: Formatted, **more: Any) -> Message:
            seen.append(given.text)
            if given.entities:
                raise bad("can't parse entities: no")
            return post(given, **more)

        chat.post = refuse_entities  # type: ignore[method-assign]
        await shows(sink, to(chat), FINAL)
        assert (chat.texts(), len(seen)) == (["All fine."], 2)


async def test_telegram_cannot_look_posts_up() -> None:
    """So nothing is ever found."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        chat = fake.private(7)
        await shows(sink, to(chat), PLACEHOLDER)
        assert await sink.find(to(chat), 1) is None


async def test_memory_is_bounded_however_many_are_held_back() -> None:
    """20,000 turns in as many groups, while Telegram as a whole is busy."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        stop_time(sink)
        sink.pace._total.tokens = float("-inf")
        place = to(fake.group("Ops", []))
        for number in range(1, 20_001):
            address = replace(place.address, channel=str(-number))
            with pytest.raises(Throttled):
                await sink.post(
                    replace(place, turn_id=f"t{number}", address=address), 1, PLACEHOLDER
                )
        assert len(sink._held) == MAX_REMEMBERED
        assert len(sink.pace._chats) == MAX_CHATS
        assert fake.calls == []
