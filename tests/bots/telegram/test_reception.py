"""Groups that are new to the bot, albums in groups, and what the reception remembers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from bots.telegram.events import Added, Said, Unusable
from bots.telegram.reception import MAX_ALBUMS, MAX_TOLD, Reception
from core.buttons import Press
from core.errors import StorageBusy
from core.inbox import Acceptance, Accepted, ControlDone
from core.messages import Actor, ConversationAddress, InboundMessage
from core.refusals import NO_CONVERSATION, STRANGER, UNLINKED, Rejected
from core.words import sentence
from tests.bots.telegram.kit import BUTTONS, open_scene
from tests.bots.telegram.test_people import linked_group
from tests.bots.telegram.test_webhook import picture
from tests.fakes.telegram import Chat, TelegramFake
from tests.support.core_kit import Site

TAKEN = Accepted(turn_id="t", tenant_id="t", conversation_id="c")


@dataclass
class Core:
    """Takes the inbox's place: answers what a test says."""

    answer: Acceptance = TAKEN
    press_answer: ControlDone | Rejected = UNLINKED
    broken: bool = False
    heard: list[str] = field(default_factory=list)

    async def accept(self, message: InboundMessage) -> Acceptance:
        """Hear a message."""
        if self.broken:
            raise StorageBusy("busy")
        self.heard.append(message.text)
        return self.answer

    async def press(self, press: Press) -> ControlDone | Rejected:
        """Hear a press."""
        assert press.subject == ""
        return self.press_answer


@dataclass
class Spoken:
    """Takes the notices' place."""

    said: list[tuple[str, str]] = field(default_factory=list)

    def say(self, address: ConversationAddress, markdown: str, *, reply_to: str = "") -> None:
        """Note it."""
        self.said.append((address.channel, markdown))


@dataclass
class Desk:
    """The reception alone, in a time of its own."""

    core: Core = field(default_factory=Core)
    spoken: Spoken = field(default_factory=Spoken)
    at: float = 0.0

    def __post_init__(self) -> None:
        """Put it together."""
        core: Any = self.core
        notices: Any = self.spoken
        client: Any = None
        self.reception = Reception(core, BUTTONS, client, notices, now=lambda: self.at)


def address_of(group: int) -> ConversationAddress:
    """A group's."""
    return ConversationAddress(platform="telegram", workspace="1", channel=str(group), thread="")


def person(number: int) -> Actor:
    """Somebody."""
    return Actor(platform="telegram", workspace="", external_id=str(number))


def in_group(group: int, text: str, *, who: int = 1, album: str | None = None) -> Said:
    """A message in a group; one with a text names the bot."""
    message = InboundMessage(
        event_id=f"e{group}{text}",
        address=address_of(group),
        actor=person(who),
        text=text,
        group=str(group),
        album=album,
    )
    return Said(message=message, addressed=not text.startswith("-"))


def added(group: int) -> Added:
    """The bot came into a group."""
    return Added(event_id="a", actor=person(1), address=address_of(group), group=str(group))


async def test_a_group_is_told_once_an_hour_how_to_link_it() -> None:
    """Whoever asks, whether they were told elsewhere, and when the bot was added just before."""
    desk = Desk(core=Core(answer=UNLINKED))
    await desk.reception.handle(added(-1))
    for who in range(5):
        await desk.reception.said(in_group(-1, "hello", who=who))
    await desk.reception.said(in_group(-2, "hello"))
    assert [channel for channel, _ in desk.spoken.said] == ["-1", "-2"]
    assert all("`/link CODE`" in text for _, text in desk.spoken.said)
    desk.at = 3601
    await desk.reception.said(in_group(-1, "hello"))
    assert [channel for channel, _ in desk.spoken.said] == ["-1", "-2", "-1"]


@pytest.mark.parametrize("answer", [NO_CONVERSATION, STRANGER])
async def test_a_group_that_is_linked_is_not_told(answer: Rejected) -> None:
    """It had the bot before; also when a stranger brings it back."""
    desk = Desk(core=Core(press_answer=answer))
    await desk.reception.handle(added(-1))
    assert desk.spoken.said == []


async def test_an_album_in_a_group_is_meant_as_a_whole() -> None:
    """One part names the bot: those before and after it are for the bot, too; others are not."""
    desk = Desk()
    for text in ("-first", "look", "-third"):
        await desk.reception.said(in_group(-1, text, album="a"))
    await desk.reception.said(in_group(-1, "-other", album="b"))
    assert desk.core.heard == ["-first", "look", "-third"]


async def test_no_part_is_forgotten_when_the_store_fails() -> None:
    """The part that named the bot comes again, and brings those before it."""
    desk = Desk()
    await desk.reception.said(in_group(-1, "-first", album="a"))
    desk.core.broken = True
    with pytest.raises(StorageBusy):
        await desk.reception.said(in_group(-1, "look", album="a"))
    desk.core.broken = False
    await desk.reception.said(in_group(-1, "look", album="a"))
    assert desk.core.heard == ["-first", "look"]


async def test_memory_is_bounded_whoever_writes() -> None:
    """20,000 groups with strangers, stickers and albums that are not for the bot."""
    desk = Desk(core=Core(answer=UNLINKED))
    no = sentence("No stickers.")
    for group in range(-20_000, 0):
        place = address_of(group)
        await desk.reception.said(in_group(group, "hello"))
        await desk.reception.handle(
            Unusable(address=place, source_ref="1", language="", sentence=no)
        )
        for _ in range(12):
            await desk.reception.said(in_group(group, "-picture", album=f"a{group}"))
    assert len(desk.reception._told) == MAX_TOLD
    assert len(desk.reception._albums) == MAX_ALBUMS
    assert max(len(held or ()) for held in desk.reception._albums.values()) <= 10


def times_told(group: Chat) -> int:
    """How often the group was told how to link it."""
    return sum("sends /link CODE here" in text for text in group.texts())


async def test_a_new_group_learns_how_to_link_it(place: Site) -> None:
    """When the bot comes, and not again for the stranger who asks next."""
    async with TelegramFake() as fake, open_scene(place, fake) as scene:
        eve = fake.person(6666)
        group = fake.supergroup("Night shift", [eve])
        group.status = "left"
        group._become("member", eve)
        await fake.wait_for(group.texts)
        group.say(eve, "@it0_bot hello")
        scene.admin.say(scene.admin.user, "hello")
        await scene.answered(scene.admin, "Fine.")
        assert times_told(group) == 1
        assert len(group.texts()) == 1


async def test_an_album_in_a_group_is_one_turn(place: Site) -> None:
    """Its caption names the bot; the other pictures have none."""
    async with TelegramFake() as fake, open_scene(place, fake) as scene:
        group = await linked_group(scene, fake.supergroup("Ops", []))
        pictures = [picture(number) for number in range(3)]
        group.album(scene.admin.user, pictures, caption="@it0_bot look")
        await scene.answered(group, "Fine.")
        request = scene.house.engine.requests[-1]
        assert (request.text, len(request.attachments)) == ("look", 3)


async def test_a_forwarded_command_does_nothing(place: Site) -> None:
    """It becomes a question about a quotation."""
    async with TelegramFake() as fake, open_scene(place, fake) as scene:
        origin = {"type": "hidden_user", "sender_user_name": "Mal", "date": 1794999500}
        scene.admin.say(scene.admin.user, "/new", extra={"forward_origin": origin})
        await scene.answered(scene.admin, "Fine.")
        assert scene.house.engine.requests[-1].text == "Forwarded from Mal:\n> /new"
