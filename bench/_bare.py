"""The bare SDK loop: what a turn costs when nothing is stored, shown or metered.

``stream``, ``create``, or ``lean``: ``create`` over the SDK's aiohttp transport, which is the
one that IT0 uses.
"""

from __future__ import annotations

import asyncio
import sys
import time

import anthropic

from bench._child import MAX_TOKENS, MODEL, Timing, serve_rounds


async def _main(url: str, how: str) -> None:
    transport = anthropic.DefaultAioHttpClient() if how == "lean" else None
    client = anthropic.AsyncAnthropic(
        api_key="sk-bench", base_url=url, max_retries=0, http_client=transport
    )

    async def stream(tag: str, text: str) -> Timing:
        """``messages.stream()`` and its ``text_stream``."""
        start, first, answer = time.monotonic(), 0.0, ""
        async with client.messages.stream(
            model=MODEL, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": text}]
        ) as events:
            async for delta in events.text_stream:
                first = first or time.monotonic()
                answer += delta
        return Timing(tag=tag, start=start, first=first, end=time.monotonic())

    async def create(tag: str, text: str) -> Timing:
        """``messages.create(stream=True)``: raw events, nothing accumulated by the SDK."""
        start, first, answer = time.monotonic(), 0.0, ""
        async for event in await client.messages.create(
            model=MODEL,
            max_tokens=MAX_TOKENS,
            messages=[{"role": "user", "content": text}],
            stream=True,
        ):
            if event.type == "content_block_delta" and event.delta.type == "text_delta":
                first = first or time.monotonic()
                answer += event.delta.text
        return Timing(tag=tag, start=start, first=first, end=time.monotonic())

    await serve_rounds(stream if how == "stream" else create)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))
