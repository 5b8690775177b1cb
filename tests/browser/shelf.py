"""Conversations of the admin, put behind IT0's back where a test needs many or old ones."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import sqlalchemy as sa

from core.messages import ConversationAddress
from core.tenants import User
from storage.database import execute
from storage.places import insert_conversation
from tests.browser.house import House

DAY_MS: Final = 86_400_000


async def put(home: House, *titles: str, days_ago: int = 0, platform: str = "web") -> list[str]:
    """Store conversations without messages, each a millisecond older than the one before."""
    return await home.running.core.storage.db.transaction(
        _put, home, titles, days_ago * DAY_MS, platform
    )


def _put(
    conn: sa.Connection, home: House, titles: tuple[str, ...], age_ms: int, platform: str
) -> list[str]:
    ids: list[str] = []
    newest_ms = int(time.time() * 1000) - age_ms
    for number, title in enumerate(titles):
        conversation_id = f"{platform}-{age_ms}-{number:05}"
        address = ConversationAddress(
            platform=platform, workspace="", channel=home.admin.id, thread=conversation_id
        )
        insert_conversation(conn, home.admin, conversation_id, address, title)
        execute(
            conn,
            "UPDATE conversations SET updated_at = :at WHERE id = :id",
            at=newest_ms - number,
            id=conversation_id,
        )
        ids.append(conversation_id)
    return ids


async def write(home: House, sql: str, **params: str | int) -> None:
    """Change the database."""

    def work(conn: sa.Connection) -> None:
        execute(conn, sql, **params)

    await home.running.core.storage.db.transaction(work)


async def asked(home: House, text: str, user: User | None = None) -> str:
    """Ask through the API, and wait for the answer; the conversation's id."""
    told = await home.call("POST", "/agent/turns", {"text": text}, user=user)
    conversation_id: str = told["conversation_id"]
    return conversation_id


def asking(home: House, text: str, user: User | None = None) -> asyncio.Task[str]:
    """Ask through the API; the answer may take as long as the test wants."""
    return asyncio.create_task(asked(home, text, user))
