"""Replies in Slack, streamed and edited, against a strict Slack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bots.slack.errors import LATER_S, Refused, Unclear
from bots.slack.notices import as_typed
from bots.slack.pace import POST_BURST
from bots.slack.render import MAX_CHARS
from core.markdown import split_markdown
from core.sinks import DeliveryFailed, Throttled, View
from tests.bots.slack.sink_kit import Desk, desk
from tests.fakes.slack import Message, SlackFake, plain_text

PLACEHOLDER = View(text="…")
LONG = "One two three."


@pytest.fixture
async def place(fake: SlackFake) -> AsyncIterator[Desk]:
    """A workspace."""
    async with desk(fake) as found:
        yield found


def _only(place: Desk, asked: Message) -> Message:
    channel = place.team.channels[asked.channel]
    thread = asked.thread_ts or (None if asked.channel.startswith("D") else asked.ts)
    (message,) = place.fake.bot_messages(channel, thread)
    return message


def _final(text: str) -> View:
    return View(text=text, final=True)


async def test_a_stream_grows_and_is_sent_only_what_is_new(place: Desk) -> None:
    """Each word travels once; the finished message is tagged and asks whether it helped."""
    sink, asked = place.sink(), place.ask()
    to = place.to(asked)
    ref = await sink.post(to, 1, PLACEHOLDER)
    await sink.edit(to, ref, View(text="One"))
    await sink.edit(to, ref, View(text="One two"))
    await sink.edit(to, ref, _final(LONG))
    message = _only(place, asked)
    sent = [call.args.get("markdown_text") for call in place.fake.calls("chat.appendStream")]
    assert sent == ["One", " two"]
    assert plain_text(message) == LONG
    assert [text for _, text in message.shown] == ["", "One", "One two", LONG]
    assert message.metadata == {
        "event_type": "it0_reply",
        "event_payload": {"turn": "turn_1", "part": 1},
    }
    assert "it0_feedback" in str(message.blocks)
    assert not message.streaming


@pytest.mark.parametrize("streaming", [True, False])
async def test_the_final_text_twice_shows_it_once(place: Desk, *, streaming: bool) -> None:
    """A repeated delivery, also by another process, changes nothing that is seen."""
    place.fake.switches.streaming = streaming
    asked = place.ask()
    to, sink = place.to(asked), place.sink()
    ref = await sink.post(to, 1, PLACEHOLDER)
    for deliverer in (sink, sink, place.sink()):
        await deliverer.edit(to, ref, _final(LONG))
        assert plain_text(_only(place, asked)) == LONG


async def test_a_text_that_began_anew_is_edited(place: Desk) -> None:
    """A stream only grows: after a reset it is ended and the message edited."""
    sink, asked = place.sink(), place.ask()
    to = place.to(asked)
    ref = await sink.post(to, 1, PLACEHOLDER)
    await sink.edit(to, ref, View(text="Wrong start"))
    await sink.edit(to, ref, View(text="One"))
    assert plain_text(_only(place, asked)) == "One"
    await sink.edit(to, ref, _final(LONG))
    assert plain_text(_only(place, asked)) == LONG


async def test_another_process_finishes_a_stream(place: Desk) -> None:
    """It does not know what was streamed, so it ends the stream and edits."""
    asked = place.ask()
    to, sink = place.to(asked), place.sink()
    ref = await sink.post(to, 1, View(text="One"))
    await place.sink().edit(to, ref, _final(LONG))
    assert plain_text(_only(place, asked)) == LONG


async def test_an_answer_that_somebody_deleted_stays_deleted(place: Desk) -> None:
    """There is nothing to edit any more, and it is not said again."""
    sink, asked = place.sink(), place.ask()
    ref = await sink.post(place.to(asked), 1, _final(LONG))
    place.team.remove(place.channel, _only(place, asked))
    with pytest.raises(Refused) as caught:
        await sink.edit(place.to(asked), ref, _final("More."))
    assert caught.value.permanent


@pytest.mark.parametrize("state", ["expired", "stopped_by_user"])
async def test_a_stream_that_ended_by_itself_is_edited(place: Desk, state: str) -> None:
    """After some minutes Slack ends a stream; Slack's stop button does, too."""
    sink, asked = place.sink(), place.ask()
    to = place.to(asked)
    ref = await sink.post(to, 1, View(text="One"))
    stream = _only(place, asked).stream
    assert stream is not None
    stream.state = state
    await sink.edit(to, ref, View(text="One two"))
    await sink.edit(to, ref, _final(LONG))
    assert plain_text(_only(place, asked)) == LONG


@pytest.mark.parametrize("method", ["chat.appendStream", "chat.stopStream"])
async def test_a_lost_answer_repeats_no_word(place: Desk, method: str) -> None:
    """What was streamed is not known then: the final text replaces it."""
    sink, asked = place.sink(), place.ask()
    to = place.to(asked)
    ref = await sink.post(to, 1, View(text="One"))
    place.fake.weather.methods, place.fake.weather.lost_answers = frozenset({method}), 1
    lost = View(text="One two") if method == "chat.appendStream" else _final(LONG)
    with pytest.raises(Unclear):
        await sink.edit(to, ref, lost)
    await sink.edit(to, ref, _final(LONG))
    assert plain_text(_only(place, asked)) == LONG


async def test_a_lost_answer_repeats_no_word_in_the_next_preview(place: Desk) -> None:
    """The stream is ended and the message edited from there on."""
    sink, asked = place.sink(), place.ask()
    to = place.to(asked)
    ref = await sink.post(to, 1, View(text="One"))
    weather = place.fake.weather
    weather.methods, weather.lost_answers = frozenset({"chat.appendStream"}), 1
    with pytest.raises(Unclear):
        await sink.edit(to, ref, View(text="One two"))
    await sink.edit(to, ref, View(text=LONG))
    assert plain_text(_only(place, asked)) == LONG


async def test_without_streaming_messages_are_edited(place: Desk) -> None:
    """An older Slack is asked once; while it is written a reply has a stop button."""
    place.fake.switches.streaming = False
    sink, asked = place.sink(), place.ask()
    to = place.to(asked)
    ref = await sink.post(to, 1, PLACEHOLDER)
    await sink.edit(to, ref, View(text="One", status="disk_usage server=web-3"))
    message = _only(place, asked)
    assert plain_text(message) == "One\ndisk_usage server=web-3"
    assert "it0_stop" in str(message.blocks)
    await sink.edit(to, ref, _final(LONG))
    await sink.post(place.to(place.ask()), 1, PLACEHOLDER)
    assert plain_text(message) == LONG
    assert "it0_stop" not in str(message.blocks)
    assert len(place.fake.calls("chat.startStream")) == 1


async def test_a_status_is_slacks_own_line_under_a_stream(place: Desk) -> None:
    """It goes when the answer is there; an older Slack has none."""
    sink, asked = place.sink(), place.ask()
    to = place.to(asked)
    ref = await sink.post(to, 1, PLACEHOLDER)
    await sink.edit(to, ref, View(text="", status="disk_usage"))
    await sink.edit(to, ref, _final(LONG))
    assert [status for *_, status in place.team.statuses] == ["disk_usage", ""]
    place.fake.switches.agents = False
    ref = await sink.post(to, 2, PLACEHOLDER)
    await sink.edit(to, ref, View(text="", status="disk_usage"))
    await sink.edit(to, ref, View(text="", status="other"))
    assert len(place.fake.calls("assistant.threads.setStatus")) == 3


async def test_buttons_that_slack_does_not_know_become_plain_ones(place: Desk) -> None:
    """Once: the workspace is remembered."""
    place.fake.switches.streaming = False
    sink, asked = place.sink(), place.ask()
    to = place.to(asked)
    ref = await sink.post(to, 1, PLACEHOLDER)
    place.fake.weather.methods = frozenset({"chat.update"})
    place.fake.weather.errors = ["invalid_blocks"]
    await sink.edit(to, ref, _final(LONG))
    message = _only(place, asked)
    assert plain_text(message) == LONG
    assert "'type': 'button'" in str(message.blocks)
    place.fake.weather.errors = ["invalid_blocks", "invalid_blocks"]
    await sink.edit(to, ref, _final("Plain."))
    assert plain_text(message) == "Plain."
    assert message.blocks == []


async def test_what_is_private_goes_to_the_direct_messages(place: Desk) -> None:
    """Asked in a channel, answered where nobody else looks."""
    sink, asked = place.sink(), place.ask()
    to = place.to(asked, private=True)
    ref = await sink.post(to, 1, PLACEHOLDER)
    await sink.edit(to, ref, _final("You are Ann."))
    assert place.fake.bot_messages(place.channel) == []
    dm = place.team.dm(place.user)
    assert place.fake.texts(dm) == ["You are Ann."]
    assert await place.sink().find(to, 1) == ref


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("kicked", "Invite me"),
        ("archived", "archived"),
        ("uninstalled", "Install the app again"),
        ("scope", "scope chat:write"),
    ],
)
async def test_a_place_that_is_lost_is_told_for_good(place: Desk, trouble: str, said: str) -> None:
    """The sentence says what to do; nobody tries again for a day."""
    sink, asked = place.sink(), place.ask()
    await sink.find(place.to(asked), 1)
    match trouble:
        case "kicked":
            place.channel.bots.clear()
        case "archived":
            place.channel.archived = True
        case "uninstalled":
            place.team.tokens[place.team.bot_token] = "account_inactive"
        case _:
            place.team.scopes = place.team.scopes - {"chat:write"}
    with pytest.raises(Refused) as caught:
        await sink.post(place.to(asked), 1, _final(LONG))
    assert caught.value.permanent
    assert said in caught.value.sentence


async def test_answers_wait_while_the_configured_token_is_replaced(place: Desk) -> None:
    """The operator may be pasting a new one; whoever asks Slack only now hears the same."""
    sink, asked = place.sink(), place.ask()
    await sink.find(place.to(asked), 1)
    place.team.revoke_token()
    for process in (sink, place.sink()):
        with pytest.raises(Refused) as caught:
            await process.post(place.to(asked), 1, _final(LONG))
        assert (caught.value.permanent, caught.value.retry_after_s) == (False, LATER_S)


async def test_the_answer_to_a_command_is_no_models(place: Desk) -> None:
    """There is nothing to rate or to stop, and commands read as they are typed in Slack."""
    place.fake.switches.streaming = False
    sink, asked = place.sink(), place.ask()
    to = replace(place.to(asked), command=True)
    ref = await sink.post(to, 1, PLACEHOLDER)
    message = _only(place, asked)
    assert "it0_stop" not in str(message.blocks)
    await sink.edit(to, ref, _final("`/resume 2` goes on; `/etc/hosts` is a file."))
    assert plain_text(message) == "/it0 resume 2 goes on; /etc/hosts is a file."
    assert "it0_feedback" not in str(message.blocks)


async def test_an_engines_answer_is_not_rewritten(place: Desk) -> None:
    """Only our own words name commands."""
    sink, asked = place.sink(), place.ask()
    await sink.post(place.to(asked), 1, _final("`/new` is a path."))
    assert plain_text(_only(place, asked)) == "/new is a path."


def test_a_full_part_has_room_for_commands_as_they_are_typed(place: Desk) -> None:
    """They grow by what Slack wants typed before them, and nothing is cut."""
    text = "word " * 592 + "`/new` " * 5
    assert len(text) <= MAX_CHARS
    for part in split_markdown(text, MAX_CHARS, measure=place.sink().limits.measure):
        assert len(as_typed(part)) <= MAX_CHARS


async def test_a_busy_channel_gets_no_placeholders(place: Desk) -> None:
    """A second post for each answer would only make the others wait."""
    sink = place.sink()
    for number in range(POST_BURST):
        to = place.to(place.ask_directly(), turn=f"turn_{number}")
        assert not await sink.draft(to, PLACEHOLDER)
        await sink.post(to, 1, _final(LONG))
    assert await sink.draft(place.to(place.ask_directly(), turn="turn_9"), PLACEHOLDER)


async def test_a_slack_that_is_down_is_tried_again(place: Desk) -> None:
    """Whether a post took effect is not known then."""
    sink, asked = place.sink(), place.ask()
    await sink.find(place.to(asked), 1)
    place.fake.weather.down = True
    with pytest.raises(Unclear) as caught:
        await sink.post(place.to(asked), 1, _final(LONG))
    assert (caught.value.permanent, caught.value.retry_after_s) == (False, None)


@pytest.mark.parametrize("streaming", [True, False])
async def test_previews_step_back_when_slack_says_so(place: Desk, *, streaming: bool) -> None:
    """After a 429 no preview is sent until its time is over; the final text is told when."""
    place.fake.switches.streaming = streaming
    sink, asked = place.sink(), place.ask()
    to = place.to(asked)
    ref = await sink.post(to, 1, PLACEHOLDER)
    method = "chat.appendStream" if streaming else "chat.update"
    weather = place.fake.weather
    weather.methods, weather.limited, weather.retry_after_s = frozenset({method}), 1, 30
    for _ in range(3):
        with pytest.raises(Throttled) as caught:
            await sink.edit(to, ref, View(text="One"))
        assert caught.value.retry_after_s is not None
        assert 25 < caught.value.retry_after_s <= 30
    assert len(place.fake.calls(method)) == 1


async def test_a_limited_post_says_when_to_come_back(place: Desk) -> None:
    """The core waits that long, then asks again; nothing was posted."""
    sink, asked = place.sink(), place.ask()
    weather = place.fake.weather
    weather.methods, weather.limited = frozenset({"chat.postMessage"}), 1
    weather.retry_after_s = 7
    with pytest.raises(DeliveryFailed) as caught:
        await sink.post(place.to(asked), 1, _final(LONG))
    assert (caught.value.permanent, caught.value.retry_after_s) == (False, 7)
