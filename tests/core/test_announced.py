"""What IT0 says unasked, from the stored sentence to the finished turn."""

from __future__ import annotations

import asyncio

from core.words import sentence
from storage.announcements import announce
from tests.support.core_kit import Site

SAID = sentence("Thank you: {amount} came in for invoice {number}.", amount="USD 1", number="X")


async def test_an_announcement_is_answered_by_the_usual_machinery(site: Site) -> None:
    """It is said once, in a turn of its own; who types its command is told there is none."""
    async with site.open() as house:
        db = house.core.storage.db
        await house.ask("hello", place="p1")
        told = [
            await db.transaction(
                lambda conn: announce(
                    conn,
                    tenant_id=house.admin.tenant_id,
                    user_id=None,
                    conversation_id=None,
                    key="paid/1",
                    message=SAID,
                    at_ms=1,
                )
            )
            for _ in range(2)
        ]
        assert told[0] == 1
        async with asyncio.timeout(20):
            while not (  # noqa: ASYNC110  # another task answers it
                rows := await house.rows(
                    "SELECT outcome, reply FROM turns WHERE event_id LIKE 'notice/%'"
                    " AND status = 'done'"
                )
            ):
                await asyncio.sleep(0.02)
        assert [tuple(row) for row in rows] == [("answered", str(SAID))]
        typed = await house.ask("/notice paid/1", place="p1")
        assert typed.outcome == "refused"
        assert typed.reply.startswith("There is no command")
        assert (await house.ask("more", place="p1")).outcome == "answered"
