"""Cards on Telegram: their buttons, where they work, and what a press is answered."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bots.telegram.client import open_client
from bots.telegram.events import Pressed
from bots.telegram.notices import Notices
from bots.telegram.reception import Reception
from bots.telegram.sink import TelegramSink
from core.buttons import Action, Press
from core.inbox import ControlDone
from core.messages import Actor
from core.refusals import Rejected
from core.sinks import View
from tests.bots.telegram.kit import BUTTONS, open_sink
from tests.bots.telegram.test_sink import to
from tests.fakes.telegram import Chat, TelegramFake

APPROVAL = "appr_0190aaaabbbbccccddddeeeeabc123"
CARD = View(text="**Approve?** a restart", final=True, waiting=True, approvals=(APPROVAL,))


def labels(chat: Chat) -> list[list[str]]:
    """The rows of buttons under the last message."""
    keyboard = (chat.shown()[-1].markup or {}).get("inline_keyboard", [])
    return [[str(button["text"]) for button in row] for row in keyboard]


@dataclass
class Core:
    """Takes presses in the inbox's place."""

    answer: ControlDone | Rejected
    presses: list[Press] = field(default_factory=list)

    async def press(self, press: Press) -> ControlDone | Rejected:
        """Note it."""
        self.presses.append(press)
        return self.answer


@asynccontextmanager
async def reception(fake: TelegramFake, sink: TelegramSink, core: Any) -> AsyncGenerator[Reception]:
    """The reception alone."""
    async with open_client(fake.token, fake.url, None) as client:
        notices = Notices(sink.sender)
        yield Reception(core, BUTTONS, client, notices)
        await notices.close()


async def test_a_card_has_its_buttons_until_the_turn_goes_on() -> None:
    """Approve and Deny in one row, Stop below; a preview leaves Stop, the answer nothing."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        chat = fake.private(7)
        ref = await sink.post(to(chat), 1, CARD)
        assert labels(chat) == [["Approve", "Deny"], ["Stop"]]
        await sink.edit(to(chat), ref, View(text="Going on"))
        assert labels(chat) == [["Stop"]]
        await sink.edit(to(chat), ref, replace(CARD, last=False))
        assert labels(chat) == [["Approve", "Deny"]]
        await sink.edit(to(chat), ref, View(text="Done.", final=True))
        assert labels(chat) == []


async def test_the_buttons_are_in_the_readers_language() -> None:
    """Whatever they are called, they mean the same."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        chat = fake.private(7)
        await sink.post(to(chat, language="zh"), 1, CARD)
        (first, second), _ = (chat.shown()[-1].markup or {})["inline_keyboard"]
        place = to(chat).address
        assert BUTTONS.unseal(str(first["callback_data"]), place) == (Action.APPROVE, APPROVAL)
        assert BUTTONS.unseal(str(second["callback_data"]), place) == (Action.DENY, APPROVAL)


async def test_a_private_card_of_a_group_works_where_it_is_shown() -> None:
    """It goes to the sender's own chat, and is pressed there."""
    async with TelegramFake() as fake, open_sink(fake) as sink:
        ann = fake.person(7)
        chat, group = fake.private(7), fake.group("Ops", [ann])
        await sink.post(to(group, private=True), 1, CARD)
        assert labels(chat) == [["Approve", "Deny"]]
        data = str(chat.shown()[-1].button("Deny")["callback_data"])
        assert BUTTONS.unseal(data, to(chat).address) == (Action.DENY, APPROVAL)


@pytest.mark.parametrize(
    ("answer", "said", "alert"),
    [
        (ControlDone(conversation_id="c", reply="Denied by \\*Bob\\*."), "Denied by *Bob*.", False),
        (Rejected(code="four_eyes", sentence="You asked for it."), "You asked for it.", True),
    ],
)
@pytest.mark.parametrize(("label", "action"), [("Approve", Action.APPROVE), ("Deny", Action.DENY)])
async def test_a_press_goes_to_the_inbox_and_is_answered(
    answer: ControlDone | Rejected, said: str, alert: bool, label: str, action: Action
) -> None:
    """The presser alone sees what came of it, as text without markup."""
    core = Core(answer)
    async with (
        TelegramFake() as fake,
        open_sink(fake) as sink,
        reception(fake, sink, core) as desk,
    ):
        chat = fake.private(7)
        place = to(chat)
        await sink.post(place, 1, CARD)
        press = chat.press(fake.person(7), chat.shown()[-1], label)
        actor = Actor(platform="telegram", workspace="", external_id="7")
        await desk.handle(
            Pressed(
                query_id=press.id, data=press.data, actor=actor, address=place.address, group=None
            )
        )
        await fake.wait_for(lambda: bool(press.answers))
        assert [(one.action, one.subject) for one in core.presses] == [(action, APPROVAL)]
        (shown,) = press.answers
        assert (shown["text"], shown["show_alert"]) == (said, alert)


async def test_a_press_that_was_made_up_decides_nothing() -> None:
    """The data of another button of ours with its letter changed, or from another chat."""
    core = Core(ControlDone(conversation_id="c", reply="Approved."))
    async with (
        TelegramFake() as fake,
        open_sink(fake) as sink,
        reception(fake, sink, core) as desk,
    ):
        chat, other = fake.private(7), fake.private(8)
        await sink.post(to(chat), 1, CARD)
        deny = str(chat.shown()[-1].button("Deny")["callback_data"])
        approve = str(chat.shown()[-1].button("Approve")["callback_data"])
        actor = Actor(platform="telegram", workspace="", external_id="7")
        for data, place in ((f"y{deny[1:]}", to(chat)), (approve, to(other))):
            press = chat.press(fake.person(7), chat.shown()[-1], "Deny", data=data)
            await desk.handle(
                Pressed(
                    query_id=press.id, data=data, actor=actor, address=place.address, group=None
                )
            )
        assert core.presses == []
