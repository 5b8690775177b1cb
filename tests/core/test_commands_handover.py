"""``/handover``: what is read of what was typed, and what is answered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from core.commands_handover import DEFAULT_MS, HandoverCommands, parse_wanted
from core.handover import Handover, Wanted, Writer
from core.refusals import Rejected
from core.tenants import User
from core.turns import Ending, Outcome
from tests.core.test_prompts import turn_of

NOW = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
HOUR = 3_600_000


@pytest.mark.parametrize(
    ("typed", "since", "to"),
    [
        ("", DEFAULT_MS, ""),
        ("since 12h", 12 * HOUR, ""),
        ("90 m", 90 * 60_000, ""),
        ("2d to Bob@example.org", 48 * HOUR, "Bob@example.org"),
        ("to <bob@example.org>", DEFAULT_MS, "bob@example.org"),
        ("since yesterday 18:00", 14 * HOUR + HOUR // 2, ""),
        ("Since Today", 8 * HOUR + HOUR // 2, ""),
        ("since 18:00", 14 * HOUR + HOUR // 2, ""),
        ("since 07:30", HOUR, ""),
        ("2026-11-23T08:00Z", HOUR // 2, ""),
        ("2026-11-22", 32 * HOUR + HOUR // 2, ""),
        ("昨天 18:00", 14 * HOUR + HOUR // 2, ""),
        ("8小时", 8 * HOUR, ""),
    ],
)
def test_a_time_is_read(typed: str, since: int, to: str) -> None:
    """A span, a day, a time of day or both; the address behind it. UTC."""
    assert parse_wanted(typed, NOW_MS) == Wanted(since_ms=NOW_MS - since, to=to)


@pytest.mark.parametrize("typed", ["this", "here to bob@example.org", "本对话"])
def test_this_conversation(typed: str) -> None:
    """It has no time of its own."""
    wanted = parse_wanted(typed, NOW_MS)
    assert wanted is not None
    assert wanted.since_ms is None


@pytest.mark.parametrize(
    "typed",
    ["soon", "32d", "today 23:00", "25:00", "2026-02-30", "2025-01-01", "to bob", "-5h", "9999d"],
)
def test_what_cannot_be_read_is_refused(typed: str) -> None:
    """Neither the future, nor longer ago than 31 days, nor a day that is none."""
    assert parse_wanted(typed, NOW_MS) is None


class Still:
    """A clock that stands."""

    def now_ms(self) -> int:
        """See the port."""
        return NOW_MS


@dataclass
class MemoryDesk:
    """Handovers in memory."""

    kept: dict[str, Handover] = field(default_factory=dict)
    told: bool = True

    async def write(self, by: Writer, wanted: Wanted) -> Handover | Rejected:
        """See the port."""
        made = Handover(
            id=f"hnd_{by.turn_id}",
            tenant_id=by.user.tenant_id,
            from_user=by.user.id,
            to_user="usr_2" if wanted.to else None,
            conversation_id=by.conversation_id,
            since_ms=wanted.since_ms or 0,
            body="**Handover**",
            created_at_ms=NOW_MS,
            accepted_at_ms=None,
            to_name="Bob *B*" if wanted.to else "",
            told=self.told,
        )
        self.kept[made.id] = made
        return made

    async def accept(self, user: User, handover_id: str) -> Handover | Rejected:
        """See the port."""
        found = await self.find(user, handover_id)
        if isinstance(found, Rejected):
            return found
        self.kept[found.id] = replace(found, accepted_at_ms=NOW_MS)
        return self.kept[found.id]

    async def find(self, _user: User, handover_id: str) -> Handover | Rejected:
        """See the port."""
        return self.kept.get(handover_id, Rejected(code="not_found", sentence="None such."))

    async def listed(self, _user: User, limit: int) -> tuple[Handover, ...]:
        """See the port."""
        return tuple(self.kept.values())[:limit]


async def say(desk: MemoryDesk, rest: str) -> Ending:
    """What the command answers."""
    return await HandoverCommands(desk, Still()).handlers()["handover"](turn_of(), rest)


async def test_it_is_written_handed_over_and_accepted() -> None:
    """The Markdown is the answer; how to accept it stands below; list and show find it."""
    desk = MemoryDesk()
    assert (await say(desk, "list")).reply == "There are no handovers from you or for you."
    assert (await say(desk, "")).reply == "**Handover**"
    given = await say(desk, "since 2h to bob@example.org")
    assert given.reply.startswith("**Handover**\n\nIt is handed to Bob \\*B\\*")
    assert "`/handover accept hnd_trn_1`" in given.reply
    desk.told = False
    assert "has no chat with me" in (await say(desk, "to bob@example.org")).reply
    assert "not accepted" in (await say(desk, "list")).reply
    assert "You have taken over." in (await say(desk, "accept `hnd_trn_1`")).reply
    assert "(accepted)" in (await say(desk, "list")).reply
    assert (await say(desk, "show hnd_trn_1")).reply == "**Handover**"


async def test_what_it_refuses() -> None:
    """An id that is none, and words that mean nothing: with what one can say."""
    desk = MemoryDesk()
    for rest in ("accept hnd_x", "show hnd_x"):
        ending = await say(desk, rest)
        assert (ending.outcome, ending.reply) == (Outcome.REFUSED, "None such.")
    usage = await say(desk, "whenever")
    assert usage.outcome is Outcome.REFUSED
    assert "`/handover since 12h`" in usage.reply
