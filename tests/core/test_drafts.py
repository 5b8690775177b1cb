"""Replies on a platform with drafts: previews that are no messages."""

from __future__ import annotations

import asyncio

import pytest

from core import replies
from core.messages import ConversationAddress
from core.replies import PLACEHOLDER, Part, Reply
from core.sinks import DeliveryFailed, Destination, SinkLimits, Throttled, View
from tests.support.core_kit import eventually

TO = Destination(
    tenant_id="ten",
    turn_id="turn",
    event_id="e",
    address=ConversationAddress(platform="chat", workspace="", channel="1", thread=""),
)


class Log:
    """Parts in memory."""

    def __init__(self, platform: Platform) -> None:
        """``platform`` is looked at when a part is saved."""
        self.saved: dict[int, Part] = {}
        self.shown_at_save: list[list[str]] = []
        self._platform = platform

    async def parts(self, tenant_id: str, turn_id: str) -> tuple[Part, ...]:
        """What was saved."""
        return tuple(self.saved[number] for number in sorted(self.saved))

    async def save_part(self, to: Destination, part: Part, epoch: int | None) -> None:
        """Keep a part."""
        if part.number not in self.saved:
            self.shown_at_save.append(list(self._platform.shown.values()))
        self.saved[part.number] = part

    async def redeliver(self, to: Destination) -> None:
        """Nobody asks."""


class Platform:
    """A platform with drafts, which can stop having them."""

    def __init__(self) -> None:
        """Nothing shown."""
        self.drafts: list[View] = []
        self.shown: dict[str, str] = {}
        self.has_drafts = True
        self.throttled = 0
        self.slow_s = 0.0

    @property
    def limits(self) -> SinkLimits:
        """Quick."""
        return SinkLimits(max_chars=60, edit_interval_s=0.01)

    async def draft(self, to: Destination, view: View) -> bool:
        """Show a draft."""
        if self.has_drafts:
            self.drafts.append(view)
        return self.has_drafts

    async def post(self, to: Destination, part: int, view: View) -> str:
        """Post."""
        if self.throttled and not view.final:
            self.throttled -= 1
            raise Throttled(0.01)
        await asyncio.sleep(self.slow_s)
        ref = f"m{len(self.shown) + 1}"
        self.shown[ref] = view.text
        return ref

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """Edit."""
        self.shown[ref] = view.text

    async def find(self, to: Destination, part: int) -> str | None:
        """It cannot tell."""
        return None


async def test_a_draft_replaces_the_placeholder_until_the_end() -> None:
    """No message is posted while the answer grows; the end is a placeholder that is edited."""
    platform = Platform()
    log = Log(platform)
    reply = Reply(platform, log, TO, 1)
    await reply.open(first_attempt=True)
    reply.show("The disk")
    await eventually(lambda: any(view.text == "The disk" for view in platform.drafts))
    assert platform.shown == {}
    await reply.deliver("The disk is full.")
    assert list(platform.shown.values()) == ["The disk is full."]
    assert log.shown_at_save == [[PLACEHOLDER]]


async def test_a_draft_shows_what_is_being_done() -> None:
    """The status of a tool is part of the draft, and goes when text follows."""
    platform = Platform()
    reply = Reply(platform, Log(platform), TO, 1)
    await reply.open(first_attempt=True)
    reply.status("disk_usage server=web-3")
    await eventually(lambda: platform.drafts[-1].status == "disk_usage server=web-3")
    reply.show("Full.")
    await eventually(lambda: platform.drafts[-1] == View(text="Full."))
    await reply.close()


async def test_a_draft_of_a_long_answer_shows_its_end() -> None:
    """A draft holds one message: the newest part."""
    platform = Platform()
    reply = Reply(platform, Log(platform), TO, 1)
    await reply.open(first_attempt=True)
    reply.show("\n\n".join(f"Paragraph {n} of an answer that is long." for n in range(6)))
    await eventually(lambda: "Paragraph 5" in platform.drafts[-1].text)
    assert all(len(view.text) <= 60 for view in platform.drafts)
    await reply.close()


async def test_a_platform_that_loses_its_drafts_gets_messages() -> None:
    """When drafts stop working in the middle, the previews go on in a message."""
    platform = Platform()
    log = Log(platform)
    reply = Reply(platform, log, TO, 1)
    await reply.open(first_attempt=True)
    platform.has_drafts = False
    reply.show("The disk")
    await eventually(lambda: list(platform.shown.values()) == ["The disk"])
    assert log.shown_at_save == [[PLACEHOLDER]]
    await reply.deliver("The disk is full.")
    assert list(platform.shown.values()) == ["The disk is full."]


async def test_a_throttled_placeholder_comes_later() -> None:
    """An adapter that holds a placeholder back is asked again, and the answer arrives once."""
    platform = Platform()
    platform.has_drafts = False
    platform.throttled = 2
    reply = Reply(platform, Log(platform), TO, 1)
    with pytest.raises(DeliveryFailed):
        await reply.open(first_attempt=True)
    await eventually(lambda: list(platform.shown.values()) == [PLACEHOLDER])
    await reply.deliver("Done.")
    assert list(platform.shown.values()) == ["Done."]


class Slow(Platform):
    """A platform whose previews may follow each other after a minute only."""

    @property
    def limits(self) -> SinkLimits:
        """Slow."""
        return SinkLimits(max_chars=60, edit_interval_s=60.0)


async def test_the_first_words_do_not_wait_for_the_platforms_pace() -> None:
    """The pace is for what follows: the first text is shown as soon as there is some."""
    platform = Slow()
    reply = Reply(platform, Log(platform), TO, 1)
    await reply.open(first_attempt=True)
    await asyncio.sleep(0)  # the previews have begun, and there is nothing to show
    reply.show("The disk")
    await eventually(lambda: platform.drafts[-1].text == "The disk")
    await reply.close()


async def test_an_answer_that_comes_at_once_has_no_preview() -> None:
    """A call that nobody would see long enough to read is not made."""
    platform = Platform()
    reply = Reply(platform, Log(platform), TO, 1)
    await reply.open(first_attempt=True)
    reply.show("Done.")
    await reply.deliver("Done.")
    assert [view.text for view in platform.drafts] == [""]
    assert list(platform.shown.values()) == ["Done."]


async def test_a_draft_is_shown_again_before_it_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a tool runs for minutes without a word, the draft stays on the screen."""
    monkeypatch.setattr(replies, "DRAFT_S", 0.02)
    platform = Platform()
    reply = Reply(platform, Log(platform), TO, 1)
    await reply.open(first_attempt=True)
    await eventually(lambda: len(platform.drafts) > 3)
    await reply.close()
    assert {view.text for view in platform.drafts} == {""}


async def test_an_answer_that_the_pace_delays_is_drafted_meanwhile() -> None:
    """The reader has it at once; its message follows when the platform lets it."""
    platform = Platform()
    platform.slow_s = 0.6
    reply = Reply(platform, Log(platform), TO, 1)
    await reply.open(first_attempt=True)
    delivering = asyncio.create_task(reply.deliver("The disk is full."))
    await eventually(lambda: platform.drafts[-1] == View(text="The disk is full."))
    assert platform.shown == {}
    await delivering
    assert list(platform.shown.values()) == ["The disk is full."]
