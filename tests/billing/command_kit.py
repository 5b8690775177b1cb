"""Asking the commands of billing as somebody, somewhere, over billing in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from billing.commands import BillingCommands
from core.commands import Command, parse_command
from core.fleet.inventory import Server, ServerKind
from core.messages import ConversationAddress, Overlap
from core.tenants import Role, User
from core.turns import Ending, Turn, TurnKind
from tests.fakes.billing_desk import DeskInMemory, MovedClock

NOW_MS = int(datetime(2026, 11, 16, 12, tzinfo=UTC).timestamp() * 1000)
"""The middle of November."""


@dataclass
class TeamInMemory:
    """Counts of people and servers."""

    people: int = 1
    machines: int = 1

    async def users(self, tenant_id: str) -> Sequence[User]:
        """``u0@example.com`` and so on."""
        return [
            User(
                id=f"usr_{at}",
                tenant_id=tenant_id,
                email=f"u{at}@example.com",
                name="",
                role=Role.OPERATOR,
            )
            for at in range(self.people)
        ]

    async def servers(self, tenant_id: str) -> Sequence[Server]:
        """``web-0`` and so on."""
        return [
            Server(id=f"srv_{at}", tenant_id=tenant_id, name=f"web-{at}", kind=ServerKind.SSH)
            for at in range(self.machines)
        ]


@dataclass
class Asked:
    """The commands, a desk and a team."""

    desk: DeskInMemory = field(default_factory=lambda: DeskInMemory(MovedClock(NOW_MS)))
    team: TeamInMemory = field(default_factory=TeamInMemory)

    async def say(
        self, text: str, *, role: Role = Role.ADMIN, channel: str = "D1", language: str = ""
    ) -> Ending:
        """Answer a command, as the registry does."""
        command = parse_command(text)
        assert isinstance(command, Command), text
        handlers = BillingCommands(self.desk.desk(), self.desk.clock, self.team).handlers()
        turn = turn_of(text, role=role, channel=channel, language=language)
        return await handlers[command.word](turn, command.rest)

    async def press(self, ending: Ending) -> Ending:
        """Press the button under an answer."""
        assert ending.offer is not None, ending.reply
        assert ending.offer.command in ending.reply
        return await self.say(ending.offer.command)


def turn_of(text: str, *, role: Role, channel: str, language: str) -> Turn:
    """A command turn on Slack."""
    return Turn(
        id="turn_1",
        tenant_id="ten_1",
        conversation_id="conv_aaaa11111111",
        seq=1,
        epoch=1,
        attempt=1,
        failures=0,
        kind=TurnKind.COMMAND,
        event_id="e",
        user=User(id="usr_0", tenant_id="ten_1", email="u0@example.com", name="", role=role),
        address=ConversationAddress(platform="slack", workspace="T1", channel=channel, thread=""),
        text=text,
        attachments=(),
        engine=None,
        overlap=Overlap.QUEUE,
        cancelled=False,
        created_at_ms=NOW_MS,
        language=language,
    )
