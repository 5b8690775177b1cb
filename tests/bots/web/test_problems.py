"""Problem documents in the reader's language: their own choice, else what the request asks for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from bots.web.languages import READER, Reader
from bots.web.problems import Problem
from bots.web.server import build, listening
from core.errors import NotFound, StorageBusy
from core.words import sentence
from tests.bots.api_kit import Api, open_api

ENGLISH = "There is no such conversation."
CHINESE = "没有这个会话。"
SAID = sentence("There is no such conversation.")
PATH = "/api/v1/conversations/conv_none"
ZH = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}


async def _missing(api: Api, **headers: str) -> tuple[str, str, str, str]:
    """What somebody is told of a conversation that does not exist: the sentence and its tags."""
    url = f"{api.url}{PATH}"
    async with api.session.get(url, headers=api.auth(**headers)) as response:
        told = await response.json()
        assert response.status == told["status"] == HTTPStatus.NOT_FOUND
        tags = response.headers["Content-Language"], response.headers["Vary"]
    return told["detail"], *tags, told["code"]


VARY = "Accept-Language, Authorization, Cookie"


async def test_the_reader_chooses_and_else_their_browser(data_dir: Path) -> None:
    """Chinese for a Chinese browser, English for all else; one's own choice counts more."""
    async with open_api(data_dir) as api:
        assert await _missing(api, **ZH) == (CHINESE, "zh-Hans", VARY, "not_found")
        for other in ("en-GB,zh;q=0.5", "fr", "*", "nonsense;;"):
            told = await _missing(api, **{"Accept-Language": other})
            assert told == (ENGLISH, "en", VARY, "not_found")
        assert await _missing(api) == (ENGLISH, "en", VARY, "not_found")
        await api.call("PATCH", "/api/v1/session", {"language": "zh"})
        assert (await _missing(api, **{"Accept-Language": "en"}))[:2] == (CHINESE, "zh-Hans")
        await api.call("PATCH", "/api/v1/session", {"language": "en"})
        assert (await _missing(api, **ZH))[:2] == (ENGLISH, "en")
        await api.call("PATCH", "/api/v1/session", {"language": ""})
        assert (await _missing(api, **ZH))[:2] == (CHINESE, "zh-Hans")


async def _choice_fails() -> str:
    busy = "The database is busy."
    raise StorageBusy(busy)


async def _says_problem(_request: web.Request) -> web.Response:
    raise Problem(HTTPStatus.CONFLICT, "a_code", SAID)


async def _says_text(_request: web.Request) -> web.Response:
    raise Problem(HTTPStatus.CONFLICT, "a_code", ENGLISH)


async def _says_core(_request: web.Request) -> web.Response:
    raise NotFound(SAID)


async def _says_storage(request: web.Request) -> web.Response:
    request[READER] = Reader(_choice_fails)
    raise StorageBusy(SAID)


async def _of_unknown_choice(request: web.Request) -> web.Response:
    request[READER] = Reader(_choice_fails)
    raise NotFound(SAID)


async def _says_unknown_words(_request: web.Request) -> web.Response:
    raise NotFound(sentence("Words that no catalogue has."))


@asynccontextmanager
async def _served() -> AsyncGenerator[tuple[ClientSession, str]]:
    hooks = [
        web.get("/problem", _says_problem),
        web.get("/text", _says_text),
        web.get("/core", _says_core),
        web.get("/storage", _says_storage),
        web.get("/choice", _of_unknown_choice),
        web.get("/words", _says_unknown_words),
    ]
    application = build([], hooks=hooks, version="0")
    async with listening(application, "127.0.0.1", 0) as url, ClientSession() as http:
        yield http, url


@pytest.mark.parametrize(
    ("path", "detail", "language"),
    [
        ("/problem", CHINESE, "zh-Hans"),
        ("/core", CHINESE, "zh-Hans"),
        ("/storage", CHINESE, "zh-Hans"),  # and the database is not asked who speaks what
        ("/choice", CHINESE, "zh-Hans"),
        ("/words", "Words that no catalogue has.", "en"),
        ("/text", ENGLISH, None),
    ],
)
async def test_every_kind_of_error_is_translated(
    path: str, detail: str, language: str | None
) -> None:
    """An edge's, the core's and the database's; what cannot be translated is told as it is."""
    async with _served() as (http, url), http.get(f"{url}{path}", headers=ZH) as response:
        told = await response.json()
        assert (told["detail"], response.headers.get("Content-Language")) == (detail, language)
