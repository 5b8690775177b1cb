"""What Bolt takes from the environment by itself: nothing."""

from __future__ import annotations

import logging
import os

import pytest

from tests.bots.slack.kit import slack_house
from tests.fakes.slack import SlackFake
from tests.support.core_kit import Site

SET = {
    "SLACK_BOT_TOKEN": "xoxb-of-the-environment",
    "SLACK_CLIENT_ID": "1.2",
    "SLACK_CLIENT_SECRET": "client-secret",
}


@pytest.mark.parametrize("http", [True, False])
async def test_bolt_has_nothing_to_say_at_the_start(
    fake: SlackFake,
    place: Site,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    *,
    http: bool,
) -> None:
    """The tokens are where the settings read them, and stay there."""
    for name, value in SET.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.INFO, "slack_bolt")
    async with slack_house(place, fake, http=http) as world:
        world.admin.say(world.dm, "hello")
        await world.answer(world.dm, None, "Fine.")
    assert [record.getMessage() for record in caplog.records if "bolt" in record.name] == []
    assert {name: os.environ[name] for name in SET} == SET
