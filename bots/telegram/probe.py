"""What ``it0 check`` asks Telegram: whether it knows the bot."""

from __future__ import annotations

from telegram.error import InvalidToken, TelegramError

from bots.telegram.client import UnknownMethod, open_client


async def probe(token: str, api_url: str | None) -> tuple[bool, str]:
    """Whether it works, and in a few words who the bot is or what is wrong."""
    try:
        async with open_client(token, api_url, None) as client:
            me = await client.bot.get_me()
    except (InvalidToken, UnknownMethod):
        return False, "the token is refused. Copy it anew from @BotFather into TELEGRAM_BOT_TOKEN."
    except TelegramError as error:
        return False, f"cannot be reached ({error.message})."
    return True, f"@{me.username}"
