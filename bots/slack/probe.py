"""What ``it0 check`` asks Slack: whether it knows the tokens."""

from __future__ import annotations

import aiohttp

from bots.slack.errors import Refused
from bots.slack.fields import text
from bots.slack.workspaces import Api
from core.sinks import DeliveryFailed


async def probe(
    bot_token: str | None, app_token: str | None, api_url: str | None
) -> tuple[bool, str]:
    """Whether they work, and in a few words for which workspace or what is wrong."""
    base = api_url and api_url.rstrip("/") + "/"
    known = "several workspaces (OAuth)"
    async with aiohttp.ClientSession() as session:
        api = Api(session, base)
        for name, token, method in (
            ("SLACK_BOT_TOKEN", bot_token, "auth.test"),
            ("SLACK_APP_TOKEN", app_token, "apps.connections.open"),
        ):
            if token is None:
                continue
            try:
                answer = await api.call(token, method, {})
            except Refused as refused:
                return False, f"{name} is refused ({refused.reason})."
            except DeliveryFailed:
                return False, "cannot be reached."
            if method == "auth.test":
                known = f"{text(answer, 'user')} in {text(answer, 'team')}"
    return True, f"{known}, {'Socket Mode' if app_token else 'Events API'}"
