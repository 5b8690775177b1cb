"""What a turn is likely to take of the quota is told before its answer, once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from core.inbox import Accepted
from core.metering import CallRequest, Grant, Meter, QuotaRefusal
from core.sinks import Destination, SinkLimits, View
from core.steps import ToolCall
from core.turn import TurnRunner
from core.words import sentence
from storage.metering import RecordingMeter
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.support.core_kit import House, Probe, Site

NOTE = sentence("Stopped.")
"""Any sentence that has a translation."""
MOVES = (Say("Let me look.", tools=(ToolCall(id="t1", name="look"),)), Say("Fine."))


@dataclass
class Forecasting:
    """A meter that has something to say of every call."""

    meter: Meter

    async def reserve(self, call: CallRequest) -> Grant | QuotaRefusal:
        """Admit, with a note."""
        granted = await self.meter.reserve(call)
        assert isinstance(granted, Grant)
        return Grant(call_id=granted.call_id, max_output=granted.max_output, note=NOTE)


@dataclass
class Screen:
    """A sink that keeps the statuses it was shown."""

    statuses: list[str] = field(default_factory=list)
    limits: SinkLimits = field(default=SinkLimits(max_chars=4_000, edit_interval_s=0.01))

    async def draft(self, to: Destination, view: View) -> bool:
        """There are none."""
        assert not view.text, to
        return False

    async def post(self, to: Destination, part: int, view: View) -> str:
        """A message."""
        self.statuses.append(view.status)
        return f"{to.turn_id}/{part}"

    async def edit(self, to: Destination, ref: str, view: View) -> None:
        """Another text."""
        assert ref.startswith(to.turn_id)
        self.statuses.append(view.status)

    async def find(self, to: Destination, part: int) -> str | None:
        """It cannot be asked."""


def forecast(house: House) -> None:
    """Wire the meter."""
    runner = house.core.scheduler.runner
    assert isinstance(runner, TurnRunner)
    runner.meter = Forecasting(RecordingMeter(house.core.storage.db))


async def test_the_stream_has_it_before_the_first_word(site: Site) -> None:
    """One notice, though each of the turn's calls would have one."""
    look = Probe("look")
    async with site.open(ScriptedEngine(MOVES), tools=[look.tool()]) as house:
        forecast(house)
        final = await house.ask("go")
        names = final.names()
        assert names.count("notice") == 1
        assert names.index("notice") < names.index("text_delta")
        told = json.loads(final.events[names.index("notice")].data)
        assert told == {"text": "Stopped."}
        await house.settled()


async def test_a_chat_shows_it_while_it_waits(site: Site) -> None:
    """As the reply's status, in the reader's language; the answer itself is without it."""
    screen = Screen()
    slow = ScriptedEngine([Say("Fine.", pause_s=0.5)])
    async with site.open(slow, sink=screen) as house:
        forecast(house)
        said = house.message("go", platform="chat")
        said = replace(said, actor=replace(said.actor, language="zh-hans"))
        accepted = await house.core.inbox.accept(said)
        assert isinstance(accepted, Accepted)
        final = await house.final(accepted)
        assert final.reply == "Fine."
        assert [status for status in screen.statuses if status] == ["已停止。"]
        await house.settled()
