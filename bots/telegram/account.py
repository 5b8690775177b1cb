"""Who the bot is, asked of Telegram once and when it is first needed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from bots.telegram.client import Client
from bots.telegram.events_text import Me


@dataclass(slots=True)
class Account:
    """The bot's own account."""

    client: Client
    _me: Me | None = None
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def me(self) -> Me:
        """Id and username. Raises ``TelegramError``."""
        async with self._asking:
            if self._me is None:
                user = await self.client.bot.get_me()
                self._me = Me(id=user.id, username=user.username or "")
            return self._me
