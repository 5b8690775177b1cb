"""``/login``: a link that opens the page in a browser, as whoever asked."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from core.commands_text import Handler, answered, refused
from core.sign_in import Maker, SignInLinks, sign_in_url
from core.turns import Ending, Turn
from core.words import Words


class LoginCommand:
    """Answers it, for the sender's eyes only (``core.private``)."""

    def __init__(self, links: SignInLinks, base: str) -> None:
        """``base`` is where people reach the page, without a trailing slash."""
        self._links = links
        self._base = base

    def handlers(self) -> Mapping[str, Handler]:
        """By word."""
        return {"login": self._login}

    async def _login(self, turn: Turn, rest: str) -> Ending:
        words = Words(turn.language)
        if rest:
            return refused(words("Send `/login` alone: it makes a sign-in link for yourself."))
        code = await self._links.new_link(turn.user, Maker(user_id=turn.user.id))
        if code is None:
            return refused(words("You are not in this team any more."))
        parts = [
            words("This link signs you in, once, within 30 minutes:"),
            sign_in_url(self._base, code),
            words("Whoever opens it **is you**, so do not pass it on."),
        ]
        if is_local(self._base):
            parts.append(
                words(
                    "It opens only on the machine that I run on. For other devices, whoever runs "
                    "me sets IT0_PUBLIC_URL to an address that they reach."
                )
            )
        return answered("\n\n".join(parts))


def is_local(base: str) -> bool:
    """Whether an address is reached from its own machine alone."""
    host = urlsplit(base).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
