"""Run what ``it0 up`` runs, let it rest, print the top-level packages that are loaded."""

from __future__ import annotations

import asyncio
import os
import sys

import app
from operate import ready_banner
from settings import Settings


async def _main(rest_s: float) -> None:
    settings = Settings.from_environment(os.environ)
    async with app.running(settings, app.Role.UP) as process:
        print(await ready_banner(process, app.Role.UP), file=sys.stderr)
        await asyncio.sleep(rest_s)
        print(*sorted({name.partition(".")[0] for name in sys.modules}), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1])))
