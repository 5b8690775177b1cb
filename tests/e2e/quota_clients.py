"""One of several processes that ask a server at once: ``python -m ... URL TOKEN COUNT``.

Waits for a line on its input, asks, and prints one status a line: 429 for a refusal, 0 for a
request that was not answered until the input was closed.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp

_TEXT = "[[hang]]"


async def _ask(session: aiohttp.ClientSession, url: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    try:
        async with session.post(
            f"{url}/api/v1/agent/turns",
            json={"text": _TEXT, "engine": "claude_api"},
            headers=headers,
        ) as response:
            print(response.status, response.headers.get("Retry-After", "-"), flush=True)
    except asyncio.CancelledError:
        print(0, "-", flush=True)


async def _main(url: str, token: str, count: int) -> None:
    await asyncio.to_thread(sys.stdin.readline)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        asking = [asyncio.create_task(_ask(session, url, token)) for _ in range(count)]
        await asyncio.to_thread(sys.stdin.readline)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
