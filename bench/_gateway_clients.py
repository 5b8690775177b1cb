"""Children that ask for streams over raw sockets, one connection each, with pauses between.

The pauses spread the requests, so that what is measured is the way and not a queue.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any
from urllib.parse import urlsplit

from bench._child import MAX_TOKENS, MODEL

_END = b"\r\n0\r\n\r\n"


async def _client(question: dict[str, Any], secret: str) -> list[tuple[float, float]]:
    """Milliseconds to the first text and to the end, of each request."""
    at = urlsplit(question["url"])
    body = json.dumps(
        {
            "model": MODEL,
            "max_tokens": MAX_TOKENS,
            "stream": True,
            "system": "s" * question["body_bytes"],
            "messages": [{"role": "user", "content": question["text"]}],
        }
    ).encode()
    head = (
        f"POST /v1/messages?beta=true HTTP/1.1\r\nHost: bench\r\nx-api-key: {secret}\r\n"
        "anthropic-version: 2023-06-01\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    done: list[tuple[float, float]] = []
    reader, writer = await asyncio.open_connection(at.hostname, at.port, limit=1 << 24)
    try:
        for _ in range(question["requests"]):
            await asyncio.sleep(random.uniform(0, 2 * question["pause_s"]))
            start = time.monotonic()
            writer.write(head + body)
            answer = await reader.readuntil(b"text_delta")
            first = time.monotonic()
            if not answer.startswith(b"HTTP/1.1 200"):
                sys.exit(answer.decode())
            await reader.readuntil(_END)
            done.append(((first - start) * 1000, (time.monotonic() - start) * 1000))
    finally:
        writer.close()
    return done


async def _main() -> None:
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        question = json.loads(line)
        asked = (_client(question, secret) for secret in question["secrets"])
        print(json.dumps(await asyncio.gather(*asked)), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
