"""What the Slack adapter needs of others."""

from __future__ import annotations

from typing import Protocol

from core.commands import ConversationInfo
from core.messages import Actor
from core.refusals import Rejected


class Installs(Protocol):
    """The sealed tokens of the workspaces that installed the app."""

    async def save(self, platform: str, workspace: str, secret: str) -> None:
        """Store a workspace's secret; a new installation replaces the one before."""

    async def find(self, platform: str, workspace: str) -> str | None:
        """The secret of a live installation."""

    async def revoke(self, platform: str, workspace: str) -> None:
        """The workspace removed the app: its secret is erased."""


class Summary(Protocol):
    """What a person should know at a glance, for the Home tab."""

    async def summary(self, actor: Actor, group: str | None) -> str:
        """Markdown in the actor's language; empty where there is nothing to say."""


class NoSummary:
    """An installation without plans has nothing to say."""

    async def summary(self, actor: Actor, group: str | None) -> str:
        """See the port."""
        del actor, group
        return ""


class Recent(Protocol):
    """A person's own conversations, for the Home tab."""

    async def recent(
        self, actor: Actor, group: str | None, *, limit: int
    ) -> tuple[ConversationInfo, ...] | Rejected:
        """The most recently used first; or how to get access."""
