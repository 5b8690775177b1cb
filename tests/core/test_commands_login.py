"""``/login``: a link for oneself, for nobody else's eyes, and not for long in the database."""

from __future__ import annotations

import re

import pytest

from core.commands import parse_command
from core.commands_login import is_local
from core.private import is_private
from storage.codes import SHOWN_MS
from storage.web_sessions import SqlSessions
from tests.support.chat_people import chats
from tests.support.core_kit import House, Site

LINK = re.compile(r"^http://\S+/sign-in#([A-Za-z0-9_-]{43})$", re.MULTILINE)


async def test_login_sends_a_link_that_opens_ones_own_session(site: Site) -> None:
    """The code is good once, and signs in whoever sent the command."""
    async with site.open(sinks=chats()) as house:
        reply = (await house.ask("/login")).reply
        found = LINK.search(reply)
        assert found is not None, reply
        assert "30 minutes" in reply
        assert "IT0_PUBLIC_URL" in reply  # this one opens on the machine itself alone
        sessions = sql_sessions(house)
        opened = await sessions.open(found[1], "")
        assert opened is not None
        assert opened.signed_in.user == house.admin
        assert await sessions.open(found[1], "") is None
        refused = await house.ask("/login is broken on web1")
        assert refused.outcome == "refused"
        assert "/sign-in#" not in refused.reply


async def test_the_link_is_forgotten_when_it_was_shown(site: Site) -> None:
    """Replies and live events lose it ten minutes after they were delivered; the rest stays."""
    async with site.open(sinks=chats()) as house:
        final = await house.ask("/login")
        found = LINK.search(final.reply)
        assert found is not None
        await house.settled()
        operations = house.core.storage.operations
        await operations.housekeep()
        assert found[1] in await house.dump()
        await house.write(
            "UPDATE turns SET delivered_at = COALESCE(delivered_at, finished_at) - :ms",
            ms=SHOWN_MS + 60_000,
        )
        await operations.housekeep()
        assert found[1] not in await house.dump()
        rows = await house.rows("SELECT reply FROM turns WHERE id = :id", id=final.turn_id)
        assert "30 minutes" in str(rows[0][0])


def sql_sessions(house: House) -> SqlSessions:
    """The house's sessions."""
    storage = house.core.storage
    return SqlSessions(storage.db, storage.keys.derive("audit"))


def test_the_answer_is_private() -> None:
    """In a group or channel nobody else sees it."""
    assert is_private("/login")
    command = parse_command("/login")
    assert command is not None
    assert command.word == "login"


@pytest.mark.parametrize(
    ("base", "local"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://localhost", True),
        ("https://it0.example.com", False),
        ("http://192.168.1.5:8080", False),
    ],
)
def test_what_opens_here_alone(base: str, *, local: bool) -> None:
    """Loopback addresses."""
    assert is_local(base) is local
