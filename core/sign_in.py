"""Signing in to the page: a link that works once makes a session of the browser that opens it.

The code of a link stands behind the ``#``: no server's log, proxy, ``Referer`` or preview of a
chat sees it; the page posts it. It has 256 random bits and is stored as a hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from core.rotation import digest, new_secret
from core.tenants import User

LOGIN_TTL_MS: Final = 30 * 60 * 1000
"""How long a sign-in link works."""
IDLE_MS: Final = 7 * 24 * 3600 * 1000
"""A session that nobody uses for this long ends."""
WHOLE_MS: Final = 30 * 24 * 3600 * 1000
"""No session lives longer than this."""
MOST_LINKS: Final = 5
"""Unused links of one person that live at a time; a new one kills the oldest."""
MAX_BROWSER_CHARS: Final = 100

new_code = new_secret
hash_code = digest


def sign_in_url(base: str, code: str) -> str:
    """The link. ``base`` has no trailing slash."""
    return f"{base}/sign-in#{code}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """What a link was made with: what it opens does not survive that."""

    user_id: str
    parent: str | None = None
    """The id of a token or session; None for the installation's operator and for chats."""
    ends_ms: int | None = None
    """The session that the link opens ends then at the latest, in epoch milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session of a browser, without its secrets; times in epoch milliseconds."""

    id: str
    created_at_ms: int
    seen_at_ms: int
    """To the minute."""
    expires_at_ms: int
    """When it ends if nobody uses it."""
    ends_at_ms: int
    """When it ends in any case."""
    browser: str
    """Such as "Firefox on Linux"; empty when it was not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Whose cookie it is."""

    user: User
    """With the role of this moment."""
    session: Session
    rotate: bool = False
    """Whether the answer has to offer another token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookie:
    """The two halves of a cookie (``core.rotation``)."""

    series: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A session that has just begun."""

    signed_in: SignedIn
    cookie: Cookie


PageLanguage = Literal["en", "zh", ""]
"""A user's choice of language; empty when they made none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the page knows of its reader beside who they are."""

    team: str
    """Its name."""
    operator_team: bool
    """Whether it is the team of whoever runs this installation."""
    language: PageLanguage


class SignInLinks(Protocol):
    """Makes the codes of sign-in links."""

    async def new_link(self, user: User, maker: Maker) -> str | None:
        """A code that signs its bearer in as ``user``; None when the maker ended meanwhile."""
