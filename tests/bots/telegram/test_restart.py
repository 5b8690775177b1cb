"""A process that dies in the middle of an answer."""

from __future__ import annotations

import pytest

from tests.bots.telegram.kit import open_scene
from tests.fakes.telegram import TelegramFake
from tests.fakes.telegram_records import Draft
from tests.support.core_gate import Gate
from tests.support.core_kit import Probe, Site


@pytest.mark.parametrize("drafts", [True, False])
async def test_a_crash_in_the_middle_of_an_answer(place: Site, drafts: bool) -> None:
    """The next process finishes it: one final text, no second answer, no preview left over."""
    gate = Gate()
    tools = [Probe("look").tool()]
    async with TelegramFake(drafts=drafts) as fake:
        async with open_scene(place, fake, gate.engine(), tools=tools) as scene:
            ada = scene.admin
            ada.say(ada.user, "hold")
            await gate.reached.wait()
            await fake.wait_for(
                lambda: any("Shown." in text for text in (*ada.texts(), *_drafted(ada.drafts)))
            )
            await scene.house.crash()
        gate.opened.set()
        async with open_scene(place, fake, gate.engine(), tools=tools, link_admin=False) as scene:
            await fake.wait_for(lambda: any("Done." in text for text in ada.texts()))
            await scene.house.settled()
        answers = [text for text in ada.texts() if "Shown." in text or "Done." in text]
        assert len(answers) == 1
        assert "…" not in ada.texts()
        assert all(message.markup is None for message in ada.shown())


def _drafted(drafts: list[Draft]) -> list[str]:
    return [draft.text for draft in drafts]
