"""People of a chat platform, in front of the real core."""

from __future__ import annotations

from dataclasses import dataclass

from core.inbox import Acceptance, Accepted
from core.messages import Actor, ConversationAddress, InboundMessage
from core.refusals import Rejected
from core.sinks import ReplySink
from core.tenants import User
from storage.access import SqlGate
from tests.core.test_drafts import Platform
from tests.support.core_kit import Final, House


def chats() -> dict[str, ReplySink]:
    """Sinks of both platforms that take everything: replies are delivered at once."""
    return {"telegram": Platform(), "slack": Platform()}


def gate_of(house: House) -> SqlGate:
    """The codes of the installation."""
    return SqlGate(house.core.storage.db, house.core.storage.keys.derive("audit"))


@dataclass
class Person:
    """Somebody with an account of a platform; ``name`` is how it shows them."""

    house: House
    id: str
    platform: str = "telegram"
    workspace: str = ""
    language: str = ""
    sent: int = 0

    def message(self, text: str, group: str | None = None, channel: str = "") -> InboundMessage:
        """A message, in a private chat or in a group."""
        self.sent += 1
        place = channel or group or self.id
        actor = Actor(
            platform=self.platform,
            workspace=self.workspace,
            external_id=self.id,
            name=f"Name of {self.id}",
            language=self.language,
        )
        return InboundMessage(
            event_id=f"{self.platform}:{self.id}:{self.sent}",
            address=ConversationAddress(
                platform=self.platform, workspace=self.workspace, channel=place, thread=""
            ),
            actor=actor,
            text=text,
            engine="scripted",
            group=group,
        )

    async def say(self, text: str, group: str | None = None, channel: str = "") -> Acceptance:
        """Write it."""
        return await self.house.core.inbox.accept(self.message(text, group, channel))

    async def ask(self, text: str, group: str | None = None, channel: str = "") -> Final:
        """Write it and wait for the answer."""
        accepted = await self.say(text, group, channel)
        assert isinstance(accepted, Accepted), accepted
        return await self.house.final(accepted)

    async def refused(self, text: str, group: str | None = None) -> Rejected:
        """Write it, and be sent away."""
        rejected = await self.say(text, group)
        assert isinstance(rejected, Rejected), rejected
        return rejected

    async def link(self, user: User, group: str | None = None) -> Final:
        """Become the user, by a code, whoever one was."""
        return await self.ask(f"/link {await gate_of(self.house).link_code(user)} confirm", group)
