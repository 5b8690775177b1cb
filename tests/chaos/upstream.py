"""The fake Messages API as a process that is never killed; says at the end what it saw."""

from __future__ import annotations

import asyncio
import signal

from tests.fakes.anthropic import FakeAnthropic


async def main() -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with FakeAnthropic(keep=1) as fake:
        print(f"url {fake.url}", flush=True)
        await stop.wait()
    print(f"requests {fake.count}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
