"""Cards in Slack: their buttons, how a stream becomes one, and what a press is answered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bots.slack.handlers import Handlers
from bots.slack.notices import Notices
from bots.slack.pace import Pace
from bots.slack.people import People
from bots.slack.seldom import Seldom
from bots.slack.sink import DirectMessages
from bots.slack.workspaces import Api, Workspaces
from core.approval_cards import card_forms
from core.approvals import Card
from core.buttons import Action, Buttons, Press
from core.inbox import ControlDone
from core.messages import ConversationAddress
from core.refusals import Rejected
from core.sinks import View
from core.words import Words
from tests.bots.slack.sink_kit import KEY, Desk, Memory, desk
from tests.fakes.approvals import NOW_MS, an_approval
from tests.fakes.slack import Message, SlackFake, plain_text

APPROVAL = "appr_0190aaaabbbbccccddddeeeeabc123"
CARD = View(text="**Approve?** a restart", final=True, waiting=True, approvals=(APPROVAL,))


@pytest.fixture
async def place(fake: SlackFake) -> AsyncIterator[Desk]:
    """A workspace."""
    async with desk(fake) as found:
        yield found


def only(place: Desk, asked: Message) -> Message:
    """The only answer in a thread."""
    (message,) = place.fake.bot_messages(place.team.channels[asked.channel], asked.ts)
    return message


def buttons(message: Message) -> dict[str, dict[str, Any]]:
    """By action id."""
    elements = [one for block in message.blocks for one in block.get("elements", [])]
    return {str(one["action_id"]): one for one in elements if "action_id" in one}


async def test_a_card_has_its_buttons_until_the_turn_goes_on(place: Desk) -> None:
    """Approve, Deny and Stop; a preview leaves Stop, the answer asks whether it helped."""
    asked, sink = place.ask(), place.sink()
    ref = await sink.post(place.to(asked), 1, CARD)
    shown = buttons(only(place, asked))
    assert list(shown) == ["it0_approve", "it0_deny", "it0_stop"]
    assert [shown[name].get("style") for name in shown] == ["primary", "danger", None]
    at = place.to(asked).address
    sealed = Buttons(KEY)
    assert sealed.unseal(shown["it0_approve"]["value"], at) == (Action.APPROVE, APPROVAL)
    assert sealed.unseal(shown["it0_deny"]["value"], at) == (Action.DENY, APPROVAL)
    await sink.edit(place.to(asked), ref, View(text="Going on"))
    assert list(buttons(only(place, asked))) == ["it0_stop"]
    await sink.edit(place.to(asked), ref, View(text="Done.", final=True))
    assert list(buttons(only(place, asked))) == ["it0_feedback"]


async def test_a_stream_becomes_a_card_by_an_edit(place: Desk) -> None:
    """Slack reads streamed text by rules of its own: the card comes as blocks, and stays one."""
    asked, sink = place.ask(), place.sink()
    ref = await sink.post(place.to(asked), 1, View(text="…"))
    await sink.edit(place.to(asked), ref, View(text="I will."))
    card = replace(CARD, text="I will.\n\n---\n\n````\na ``` b\n````")
    for process in (sink, sink, place.sink()):
        await process.edit(place.to(asked), ref, card)
        message = only(place, asked)
        assert not message.streaming
        assert "a ``` b" in plain_text(message)
        assert "it0_approve" in buttons(message)
    streamed = [call.args.get("markdown_text") for call in place.fake.calls("chat.stopStream")]
    assert streamed == [None] * len(streamed)
    await sink.edit(place.to(asked), ref, View(text="Done.", final=True))
    assert plain_text(only(place, asked)) == "Done."


async def test_a_command_of_a_card_stays_as_it_is(place: Desk) -> None:
    """What the person may type is spelled for Slack; what will run is not touched."""
    approval = an_approval(Card(tool="run", action="echo `/help me`", level="L2", undo="x"))
    (form, *_) = card_forms(approval, Words(), now_ms=NOW_MS)
    asked, sink = place.ask(), place.sink()
    to = replace(place.to(asked), command=True)
    await sink.post(to, 1, View(text=form.text, final=True, approvals=form.approvals))
    message = only(place, asked)
    assert "echo `/help me`" in plain_text(message)
    assert "/it0 approve abc123" in plain_text(message)
    assert list(buttons(message)) == ["it0_approve", "it0_deny"]


@dataclass
class Core:
    """Takes presses in the inbox's place."""

    answer: ControlDone | Rejected
    presses: list[Press] = field(default_factory=list)

    async def press(self, press: Press) -> ControlDone | Rejected:
        """Note it."""
        self.presses.append(press)
        return self.answer


def handlers(place: Desk, core: Any, notices: Notices) -> Handlers:
    """What Slack's requests reach."""
    home: Any = None
    return Handlers(
        inbox=core,
        workspaces=Workspaces(
            Api(place.session, place.fake.api_url), Memory(), place.team.bot_token
        ),
        people=People(Pace()),
        direct=DirectMessages(),
        buttons=Buttons(KEY),
        recent=home,
        summary=home,
        notices=notices,
        seldom=Seldom(),
    )


def pressed(place: Desk, message: Message, value: str, channel: str = "") -> dict[str, object]:
    """What Slack sends when the person presses a button of this value."""
    return {
        "type": "block_actions",
        "team": {"id": place.team.id},
        "user": {"id": place.user.id, "team_id": place.team.id},
        "channel": {"id": channel or message.channel},
        "container": {"type": "message", "thread_ts": message.thread_ts},
        "actions": [{"action_id": "it0_approve", "value": value, "action_ts": "1.5"}],
    }


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ControlDone(conversation_id="c", reply="Denied by \\*Bob\\*."), "Denied by *Bob*."),
        (Rejected(code="four_eyes", sentence="You asked for it."), "You asked for it."),
    ],
)
@pytest.mark.parametrize(
    ("name", "action"), [("it0_approve", Action.APPROVE), ("it0_deny", Action.DENY)]
)
async def test_a_press_goes_to_the_inbox_and_is_answered(
    place: Desk, answer: ControlDone | Rejected, said: str, name: str, action: Action
) -> None:
    """In a channel the presser alone sees what came of it."""
    asked, core = place.ask(), Core(answer)
    await place.sink().post(place.to(asked), 1, CARD)
    message = only(place, asked)
    async with Notices.open() as notices:
        value = str(buttons(message)[name]["value"])
        await handlers(place, core, notices).press(pressed(place, message, value))
        await place.fake.wait_for(lambda: place.channel.ephemerals)
    assert [(one.action, one.subject) for one in core.presses] == [(action, APPROVAL)]
    assert core.presses[0].actor.external_id == place.user.id
    (told,) = place.channel.ephemerals
    assert (plain_text(told), told.ephemeral_to) == (said, place.user.id)


async def test_a_press_that_was_made_up_decides_nothing(place: Desk) -> None:
    """The data of Deny with the letter of Approve, or of a card in another channel."""
    asked = place.ask()
    core = Core(ControlDone(conversation_id="c", reply="Approved."))
    await place.sink().post(place.to(asked), 1, CARD)
    message = only(place, asked)
    deny = str(buttons(message)["it0_deny"]["value"])
    elsewhere = ConversationAddress(
        platform="slack", workspace=place.team.id, channel="C0OTHER", thread=""
    )
    moved = Buttons(KEY).seal(Action.APPROVE, APPROVAL, elsewhere)
    async with Notices.open() as notices:
        door = handlers(place, core, notices)
        for value in (f"y{deny[1:]}", moved):
            await door.press(pressed(place, message, value))
    assert core.presses == []
