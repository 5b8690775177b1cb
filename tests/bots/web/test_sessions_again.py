"""Signing in once more: after a lost answer, in the same browser; and caches between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from core.streams import EventId, StreamEvent
from tests.bots.api_kit import Api
from tests.bots.web.test_sessions import Browser, api, browser, browser_of, link

__all__ = ["api", "browser"]


async def test_an_answer_that_was_lost_can_be_asked_for_again(api: Api, browser: Browser) -> None:
    """The page that used the code gets another session for it, for a moment; nobody else does."""
    mine = {"code": await link(api), "attempt": "page-1"}
    assert (await browser.call("POST", "/session", mine))[0] == 201
    lost = browser.cookie
    browser.cookie = ""
    assert (await browser.call("POST", "/session", {**mine, "attempt": "page-2"}))[0] == 401
    assert (await browser.call("POST", "/session", {**mine, "attempt": ""}))[0] == 401
    assert (await browser.call("POST", "/session", mine))[0] == 201
    assert len((await browser.call("GET", "/sessions"))[1]["sessions"]) == 1
    async with browser_of(api) as other:
        other.cookie = lost
        assert (await other.call("GET", "/servers"))[0] == 401


async def test_a_new_link_in_the_same_browser_keeps_its_tokens(api: Api, browser: Browser) -> None:
    """Who signs in anew as themselves goes on; as somebody else they begin with nothing."""
    await browser.sign_in()
    _, made = await browser.call("POST", "/tokens", {"days": 1})
    bearer = {"Authorization": f"Bearer {made['token']}"}
    await browser.sign_in()
    assert (await api.call("GET", "/api/v1/servers", **bearer))[0] == 200
    await browser.call("DELETE", "/session")
    assert (await api.call("GET", "/api/v1/servers", **bearer))[0] == 401


async def test_no_cache_may_keep_an_answer(api: Api, browser: Browser) -> None:
    """A cookie is no authorization that caches know (RFC 9111, 3.5), so every answer says it."""
    await browser.sign_in()
    for path in ("/conversations", "/changes", "/users", "/engines", "/status", "/tokens"):
        assert (await browser.call("GET", path))[0] == 200
        assert browser.answered["Cache-Control"] == "no-store", path


async def test_who_is_out_meanwhile_gets_no_answer(
    api: Api, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the answer is one document: waiting for it may take hours."""
    await browser.sign_in()
    monkeypatch.setattr("bots.web.streaming.KEEP_ALIVE_S", 0.05)
    asked = asyncio.Event()

    async def waits(*_: object) -> AsyncGenerator[StreamEvent, None]:
        asked.set()
        await asyncio.Event().wait()
        yield StreamEvent(EventId(1, 1), "turn", "{}")

    monkeypatch.setattr(api.core.streams.__class__, "listen", waits)
    asking = asyncio.create_task(
        browser.call("POST", "/agent/turns", {"text": "/whoami"}, Accept="application/json")
    )
    await asked.wait()
    assert (await api.call("DELETE", "/api/v1/sessions"))[0] == 204
    async with asyncio.timeout(10):
        status, problem = await asking
    assert (status, problem["code"]) == (401, "unauthorized")
