"""The bot that most people write: receive, ask the model, send the answer once at the end.

``telegram`` (python-telegram-bot) or ``slack`` (slack-bolt in Socket Mode), each with the
provider's own SDK. It waits when the platform asks it to; nothing is stored, shown early,
metered or brought home after a crash.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

import anthropic

from bench._child import MAX_TOKENS, MODEL


async def answer(client: anthropic.AsyncAnthropic, text: str) -> str:
    """The whole answer of the model."""
    said = ""
    async with client.messages.stream(
        model=MODEL, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": text}]
    ) as events:
        async for delta in events.text_stream:
            said += delta
    return said


async def telegram(client: anthropic.AsyncAnthropic, place: Mapping[str, str]) -> None:
    """Long polling, until cancelled."""
    from telegram import Message, Update  # noqa: PLC0415  # one library in each process
    from telegram.error import RetryAfter  # noqa: PLC0415  # as above
    from telegram.ext import Application, MessageHandler, filters  # noqa: PLC0415  # as above

    async def send(message: Message, text: str) -> None:
        while True:
            try:
                await message.reply_text(text)
            except RetryAfter as wait:
                await asyncio.sleep(float(wait._retry_after.total_seconds()))  # noqa: SLF001  # the public name warns
            else:
                return

    async def on_text(update: Update, _context: object) -> None:
        message = update.effective_message
        if message is not None:
            await send(message, await answer(client, message.text or ""))

    builder = Application.builder().token(place["token"]).base_url(f"{place['url']}/bot")
    app = builder.concurrent_updates(256).build()
    app.add_handler(MessageHandler(filters.TEXT, on_text))
    async with app:
        assert app.updater is not None
        await app.start()
        await app.updater.start_polling()
        print("ready", flush=True)
        await asyncio.Event().wait()


async def slack(client: anthropic.AsyncAnthropic, place: Mapping[str, str]) -> None:
    """Socket Mode, until cancelled."""
    from slack_bolt.adapter.socket_mode.aiohttp import (  # noqa: PLC0415  # as above
        AsyncSocketModeHandler,
    )
    from slack_bolt.app.async_app import AsyncApp  # noqa: PLC0415  # as above
    from slack_sdk.http_retry.builtin_async_handlers import (  # noqa: PLC0415  # as above
        AsyncRateLimitErrorRetryHandler,
    )
    from slack_sdk.web.async_client import AsyncWebClient  # noqa: PLC0415  # as above

    web = AsyncWebClient(token=place["bot_token"], base_url=place["url"])
    web.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=20))
    app = AsyncApp(client=web, signing_secret=place["signing_secret"])

    async def on_message(event: dict[str, Any], say: Any) -> None:  # noqa: ANN401  # Bolt's own
        await say(await answer(client, event["text"]))

    app.event("message")(on_message)
    own = AsyncWebClient(token=place["app_token"], base_url=place["url"])
    handler = AsyncSocketModeHandler(app, place["app_token"], web_client=own)
    await handler.connect_async()  # type: ignore[no-untyped-call]  # Bolt gives it no types
    print("ready", flush=True)
    await asyncio.Event().wait()


async def _main(platform: str, model: str, place: Mapping[str, str]) -> None:
    client = anthropic.AsyncAnthropic(api_key="sk-bench", base_url=model, max_retries=0)
    await (telegram if platform == "telegram" else slack)(client, place)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
