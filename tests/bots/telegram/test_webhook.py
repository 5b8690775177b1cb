"""The webhook on the real core."""

from __future__ import annotations

import io
import socket

import aiohttp
from PIL import Image

from bots.telegram.app import SECRET_HEADER, TelegramConfig
from tests.bots.telegram.kit import SECRET, config_of, open_scene
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.fakes.telegram import TelegramFake
from tests.support.core_kit import Site


def hook_config(fake: TelegramFake) -> TelegramConfig:
    """A webhook on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return config_of(fake, webhook_secret=SECRET, public_url=f"http://127.0.0.1:{port}")


def picture(shade: int) -> bytes:
    """A small picture."""
    data = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(data, "PNG")
    return data.getvalue()


async def test_updates_come_by_webhook_once(place: Site) -> None:
    """The address is registered with its secret; a replayed update changes nothing."""
    async with TelegramFake() as fake:
        engine = ScriptedEngine(lambda request: [Say(f"You said {request.text}.")])
        async with open_scene(place, fake, engine, config=hook_config(fake)) as scene:
            said = scene.admin.say(scene.admin.user, "hello")
            await scene.answered(scene.admin, "You said hello.")
            assert said.update_id is not None
            before = len(fake.updates.deliveries)
            fake.redeliver(said.update_id)
            await fake.wait_for(lambda: len(fake.updates.deliveries) > before)
            await scene.house.settled()
            assert fake.updates.deliveries[-1].status == 200
            assert scene.admin.texts().count("You said hello.") == 1
            assert "getUpdates" not in {call.method for call in fake.calls}


async def test_only_telegram_may_post(place: Site) -> None:
    """Without the secret 401, with rubbish 400; nothing is stored."""
    async with TelegramFake() as fake:
        config = hook_config(fake)
        url = f"{config.public_url}/telegram/webhook"
        update = {"update_id": 1, "message": {}}
        async with open_scene(place, fake, config=config) as scene, aiohttp.ClientSession() as http:
            for headers, body, status in [
                ({}, update, 401),
                ({SECRET_HEADER: "wrong"}, update, 401),
                ({SECRET_HEADER: SECRET}, [1], 400),
                ({SECRET_HEADER: SECRET}, {"update_id": "x"}, 400),
                ({SECRET_HEADER: SECRET}, {"update_id": 1, "poll_answer": {}}, 200),
            ]:
                async with http.post(url, json=body, headers=headers) as answer:
                    assert answer.status == status
            assert await scene.house.rows("SELECT COUNT(*) FROM turns WHERE kind = 'message'") == [
                (0,)
            ]


async def test_what_cannot_be_stored_is_not_acknowledged(place: Site) -> None:
    """Telegram then brings it again, until it is stored."""
    async with (
        TelegramFake() as fake,
        open_scene(place, fake, config=hook_config(fake)) as scene,
    ):
        scene.house.faults.refuse = lambda name: name == "_accept"
        scene.admin.say(scene.admin.user, "hello")
        await fake.wait_for(lambda: fake.updates.deliveries[-1].status == 503)
        scene.house.faults.refuse = lambda _name: False
        await scene.answered(scene.admin, "Fine.")
        await scene.house.settled()
        assert scene.admin.texts().count("Fine.") == 1


async def test_an_album_is_one_turn(place: Site) -> None:
    """Although Telegram posts its parts one after another."""
    async with (
        TelegramFake() as fake,
        open_scene(place, fake, config=hook_config(fake)) as scene,
    ):
        scene.admin.album(scene.admin.user, [picture(n) for n in range(4)], caption="look")
        await scene.answered(scene.admin, "Fine.")
        await scene.house.settled()
        assert scene.admin.texts().count("Fine.") == 1
        assert len(scene.house.engine.requests[-1].attachments) == 4


async def test_without_https_telegram_itself_is_polled(place: Site) -> None:
    """Its own servers post to https only."""
    plain = TelegramConfig(
        token="1:x",
        api_url=None,
        file_url=None,
        webhook_secret=SECRET,
        public_url="http://a.example",
    )
    assert plain.webhook_url is None
