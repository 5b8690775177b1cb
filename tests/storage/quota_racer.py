"""A process of the race: asks for its share of the calls, all at once, when it is told to.

``python -m tests.storage.quota_racer URL TENANT FIRST LAST``; prints ``ready``, waits for a
line, and prints how many of its calls were admitted.
"""

from __future__ import annotations

import asyncio
import sys

from billing.meter import Admitted
from storage.postgres import PostgresDatabase
from tests.storage.quota_kit import Team


async def race(url: str, tenant: str, first: int, last: int) -> None:
    """Take part."""
    db = PostgresDatabase(url, size=8)
    team = Team(db=db, id=tenant, turns=last)
    await asyncio.gather(*(db.read(lambda conn: conn.info.get("")) for _ in range(8)))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    answers = await asyncio.gather(
        *(team.reserve(team.call(turn)) for turn in range(first, last + 1))
    )
    print(sum(isinstance(answer, Admitted) for answer in answers), flush=True)
    await db.close()


if __name__ == "__main__":
    asyncio.run(race(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
