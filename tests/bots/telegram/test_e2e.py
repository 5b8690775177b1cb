"""Telegram from end to end: the real core and adapter against the strict fake."""

from __future__ import annotations

from tests.bots.telegram.kit import open_scene
from tests.fakes.telegram import TelegramFake
from tests.support.core_kit import Site


async def test_a_message_is_answered_once(site: Site) -> None:
    """A question in a private chat becomes one answer, and no call is refused on the way."""
    async with TelegramFake() as fake, open_scene(site, fake) as scene:
        scene.admin.say(scene.admin.user, "hello")
        await scene.answered(scene.admin, "Fine.")
        await scene.house.settled()
        assert [text for text in scene.admin.texts() if text == "Fine."] == ["Fine."]
        assert [call for call in fake.calls if call.status != 200] == []
