"""Long polling on the real core: an update is confirmed when it is stored, not before."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from telegram import BotCommand
from telegram.error import InvalidToken, TelegramError

from bots.telegram import ingest
from bots.telegram.client import UnknownMethod
from bots.telegram.polling import Backoff
from core.inbox import Acceptance
from core.messages import InboundMessage
from tests.bots.telegram.kit import config_of, open_scene
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.fakes.telegram import TelegramFake
from tests.support.core_kit import Site


def echo() -> ScriptedEngine:
    """Answers each message by name."""
    return ScriptedEngine(lambda request: [Say(f"You said {request.text}.")])


async def test_what_cannot_be_stored_stays_with_telegram(place: Site) -> None:
    """While the database refuses nothing is confirmed; afterwards all is answered, in order."""
    async with TelegramFake() as fake, open_scene(place, fake, echo()) as scene:
        ada, refused = scene.admin, 0

        def refuse(name: str) -> bool:
            nonlocal refused
            refused += name == "_accept"
            return name == "_accept"

        scene.house.faults.refuse = refuse
        for number in range(3):
            ada.say(ada.user, f"n{number}")
        await fake.wait_for(lambda: refused >= 2)
        assert len(fake.updates.pending) == 3
        scene.house.faults.refuse = lambda _name: False
        await scene.answered(ada, "You said n2.")
        await scene.house.settled()
        assert ada.texts()[-3:] == [f"You said n{number}." for number in range(3)]
        await fake.wait_for(lambda: not fake.updates.pending)


async def test_messages_to_a_stopped_bot_are_answered_after_its_start(place: Site) -> None:
    """Telegram keeps them; a second delivery of an old one changes nothing."""
    async with TelegramFake() as fake:
        async with open_scene(place, fake, echo()) as scene:
            ada = scene.admin
            first = ada.say(ada.user, "before")
            await scene.answered(ada, "You said before.")
            await scene.house.settled()
        ada.say(ada.user, "meanwhile")
        async with open_scene(place, fake, echo(), link_admin=False) as scene:
            await scene.answered(ada, "You said meanwhile.")
            assert first.update_id is not None
            fake.redeliver(first.update_id)
            ada.say(ada.user, "after")
            await scene.answered(ada, "You said after.")
            await scene.house.settled()
            assert await scene.house.rows("SELECT COUNT(*) FROM turns WHERE kind = 'message'") == [
                (3,)
            ]
        said = [text for text in ada.texts() if text.startswith("You said")]
        assert said == [f"You said {word}." for word in ("before", "meanwhile", "after")]


async def test_an_update_that_cannot_be_read_is_passed_over(place: Site) -> None:
    """One broken update must not hold up all that follow."""
    async with TelegramFake() as fake, open_scene(place, fake, echo()) as scene:
        fake.updates.add("message", {"message_id": 1, "chat": "nowhere"}, 1)
        scene.admin.say(scene.admin.user, "next")
        await scene.answered(scene.admin, "You said next.")


async def test_a_crash_of_ours_does_not_hold_up_the_others(
    place: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update that makes us crash is given up after a while; its writer is told; others go on."""
    monkeypatch.setattr(ingest, "GIVE_UP_S", 0.0)
    async with TelegramFake() as fake, open_scene(place, fake, echo()) as scene:
        inbox = scene.house.core.inbox
        accept, tries = inbox.accept, 0

        async def crash(message: InboundMessage) -> Acceptance:
            nonlocal tries
            if message.text == "poison":
                tries += 1
                raise RuntimeError("a bug")
            return await accept(message)

        monkeypatch.setattr(inbox, "accept", crash)
        scene.admin.say(scene.admin.user, "poison")
        scene.admin.say(scene.admin.user, "next")
        await scene.answered(scene.admin, "You said next.")
        assert tries == 3
        await fake.wait_for(lambda: "was not taken" in str(scene.admin.texts()))


async def test_an_outage_is_outlived(place: Site) -> None:
    """While Telegram is down we ask again; then we go on where we were."""
    async with TelegramFake() as fake, open_scene(place, fake, echo()) as scene:
        fake.weather.down = True
        scene.admin.say(scene.admin.user, "hello")
        await fake.wait_for(lambda: any(call.status == 502 for call in fake.calls))
        fake.weather.down = False
        await scene.answered(scene.admin, "You said hello.")


async def test_without_a_menu_the_bot_listens(place: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue that is missing and a refused menu cost the menu only."""

    def missing(language: str) -> list[BotCommand]:
        if language == "zh":
            raise FileNotFoundError(language)
        return [BotCommand("Not A Command", "")]

    monkeypatch.setattr("bots.telegram.app._menu", missing)
    async with TelegramFake() as fake, open_scene(place, fake, echo()) as scene:
        scene.admin.say(scene.admin.user, "hello")
        await scene.answered(scene.admin, "You said hello.")
        assert fake.account.commands == {}


@pytest.mark.parametrize("error", [InvalidToken(), UnknownMethod("Not Found")])
async def test_a_wrong_token_is_said_once_a_minute(
    error: TelegramError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line each time, however often it is tried, and a minute in between."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    backoff = Backoff()
    with structlog.testing.capture_logs() as logged:
        for _ in range(5):
            await backoff.wait(error)
    assert [line["event"] for line in logged] == ["telegram.token_refused"] * 5
    assert all("exc_info" not in line for line in logged)
    assert pauses == [60.0] * 5


async def test_with_a_wrong_token_the_rest_works(
    place: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another way in is answered meanwhile; the log has one line and no stack trace."""
    async with TelegramFake() as fake:
        config = config_of(fake, token="123456:WRONG")
        async with open_scene(place, fake, config=config, link_admin=False) as scene:
            await fake.wait_for(lambda: fake.calls)
            final = await scene.house.ask("hello", engine=None)
            assert final.reply == "Fine."
    logged = capsys.readouterr().out
    assert logged.count("telegram.token_refused") == 1
    assert "Traceback" not in logged


async def test_a_wrong_token_is_named(place: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """The log says which variable is wrong and where the right value is; never the value."""
    async with TelegramFake() as fake:
        config = config_of(fake, token="123456:WRONG")
        async with open_scene(place, fake, config=config, link_admin=False):
            await fake.wait_for(lambda: fake.calls)
            await asyncio.sleep(0.1)
    logged = capsys.readouterr().out
    assert "TELEGRAM_BOT_TOKEN" in logged
    assert "@BotFather" in logged
    assert "WRONG" not in logged


async def test_the_menu_has_the_commands_of_each_language(place: Site) -> None:
    """English is for everybody whose language we do not have."""
    async with TelegramFake() as fake, open_scene(place, fake):
        await fake.wait_for(lambda: len(fake.account.commands) > 1)
        assert {language for _, language in fake.account.commands} == {"", "zh"}
        for commands in fake.account.commands.values():
            assert {"help", "stop", "new"} <= {command["command"] for command in commands}
            assert all("`" not in command["description"] for command in commands)
