"""Runs telemelya inside its own environment; started by ``peers.py``, never imported by a test.

It adds what the package leaves out and python-telegram-bot relies on: the secret header on
webhook posts, the HTTP status of an error, texts that stay texts, any update a test makes up.
usage: python peers_telegram.py [METHOD ...]; these methods are recorded and answered with true.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import aiohttp
from fastapi import Request, Response  # type: ignore[import-not-found]
from telemelya.server import app as server  # type: ignore[import-not-found]
from telemelya.server import bot_api, control_api, webhook

_SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
_accepted = frozenset(sys.argv[1:])
_headers: dict[str, str] = {}
_parse_loosely = bot_api._parse_body


async def _parse(request: Request) -> dict[str, Any]:
    """Read the arguments; a text that happens to be JSON ("123") stays a text."""
    body: dict[str, Any] = await _parse_loosely(request)
    if "json" not in request.headers.get("content-type", ""):
        form = await request.form()
        body |= {key: form[key] for key in ("text", "caption", "secret_token") if key in form}
    if request.url.path.endswith("/setWebhook"):
        _headers.clear()
        if secret := body.get("secret_token"):
            _headers[_SECRET_HEADER] = str(secret)
    return body


class _WebhookHttp:
    """What telemelya's delivery takes from aiohttp, with our header on every post."""

    ClientTimeout = aiohttp.ClientTimeout

    @staticmethod
    def ClientSession() -> aiohttp.ClientSession:  # noqa: N802  # aiohttp's name
        return aiohttp.ClientSession(headers=_headers)


async def _answer(request: Request, call_next: Any) -> Response:
    """Give an error its HTTP status, as the Bot API does, and record the accepted methods."""
    if not request.url.path.startswith("/bot"):
        return await call_next(request)
    method = request.url.path.rpartition("/")[2]
    if method in _accepted:
        body = await _parse(request)
        record = {"method": method, "chat_id": body.get("chat_id"), "text": body.get("text")}
        await bot_api.state_manager.push_response("default", {**record, "raw": body})
        return _json({"ok": True, "result": True}, 200)
    inner = await call_next(request)
    answer = json.loads(b"".join([part async for part in inner.body_iterator]))
    if "ok" not in answer:
        answer = {"ok": False, "error_code": inner.status_code, "description": "Not Found"}
    return _json(answer, 200 if answer["ok"] else answer["error_code"])


def _json(answer: dict[str, Any], status: int) -> Response:
    return Response(json.dumps(answer), status, media_type="application/json")


async def _deliver(request: Request) -> Any:
    """Post any update to the bot's webhook."""
    token = request.query_params["bot_token"]
    return {"delivery": await webhook.deliver_update(token, await request.json())}


bot_api._parse_body = _parse
webhook.aiohttp = _WebhookHttp
server.app.middleware("http")(_answer)
server.app.add_api_route(f"{control_api.router.prefix}/deliver", _deliver, methods=["POST"])

if __name__ == "__main__":
    server.main()
