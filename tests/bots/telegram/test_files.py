"""Files of messages, fetched from the fake."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from bots.telegram.client import open_client
from bots.telegram.files import TelegramFiles
from bots.telegram.render import render
from core.intake import FetchFailed
from core.messages import RemoteFile
from tests.bots.telegram.kit import open_scene
from tests.fakes.telegram import TelegramFake
from tests.support.core_kit import Site


@asynccontextmanager
async def open_files(fake: TelegramFake) -> AsyncGenerator[TelegramFiles]:
    """The source alone."""
    async with open_client(fake.token, fake.url, None) as client:
        yield TelegramFiles(client)


def stored(fake: TelegramFake, data: bytes, size: int | None = None) -> RemoteFile:
    """A file at the platform."""
    made = fake.hub.store("documents/app.log", data, size)
    return RemoteFile(ref=made["file_id"], name="app.log", media_type="text/plain")


async def test_the_bytes_come_as_they_are() -> None:
    """All of them, up to the limit."""
    data = bytes(range(256)) * 1000
    async with TelegramFake() as fake, open_files(fake) as files:
        assert await files.fetch("123456", stored(fake, data), len(data)) == data


@pytest.mark.parametrize(("limit", "size"), [(99, None), (10**9, 21 * 2**20)])
async def test_too_large_is_permanent(limit: int, size: int | None) -> None:
    """Larger than the limit, or than what Telegram hands out to bots."""
    async with TelegramFake() as fake, open_files(fake) as files:
        with pytest.raises(FetchFailed) as refused:
            await files.fetch("123456", stored(fake, b"x" * 100, size), limit)
        assert refused.value.permanent
        assert "app.log is too large" in refused.value.sentence


async def test_an_outage_may_be_tried_again() -> None:
    """The sentence names the file and not the address, which holds the token."""
    async with TelegramFake() as fake, open_files(fake) as files:
        fake.weather.down = True
        with pytest.raises(FetchFailed) as lost:
            await files.fetch("123456", stored(fake, b"x"), 10)
        assert not lost.value.permanent
        assert "app.log" in lost.value.sentence
        assert fake.token not in lost.value.sentence


async def test_a_name_is_text_in_a_sentence() -> None:
    """Whoever names a file chooses no link, no heading and no second line."""
    name = "[Your session expired](https://evil.example)\n# log"
    async with TelegramFake() as fake, open_files(fake) as files:
        for ref, limit in (("no", 10), (stored(fake, b"x" * 100).ref, 9)):
            with pytest.raises(FetchFailed) as refused:
                await files.fetch("1", RemoteFile(ref=ref, name=name, media_type="a/b"), limit)
            shown = render(refused.value.sentence)
            assert shown.text.startswith("[Your session expired](https://evil.example) # log")
            assert shown.entities == ()


async def test_an_unknown_file_fails() -> None:
    """With a sentence."""
    async with TelegramFake() as fake, open_files(fake) as files:
        with pytest.raises(FetchFailed):
            await files.fetch("1", RemoteFile(ref="no", name="a", media_type="text/plain"), 10)


async def test_a_log_is_read_and_a_voice_note_is_explained(place: Site) -> None:
    """A document reaches the engine; without speech recognition a note gets a sentence."""
    async with TelegramFake() as fake, open_scene(place, fake) as scene:
        ada = scene.admin
        ada.document(ada.user, "app.log", b"error: disk full\n", caption="what is wrong?")
        await scene.answered(ada, "Fine.")
        request = scene.house.engine.requests[-1]
        assert request.text == "what is wrong?"
        assert [file.name for file in request.attachments] == ["app.log"]
        ada.voice(ada.user, b"OggS")
        await fake.wait_for(lambda: any("voice" in text for text in ada.texts()))
        assert len(scene.house.engine.requests) == 1
