"""How the changing half of a session's cookie changes, and how a copy of it is noticed.

A cookie has two random halves (Jaspan's "improved persistent login cookie"): the series, which
stays as long as the session and finds it, and the token, which is replaced about every hour. The
database has the SHA-256 of both. Of the tokens it knows three: the current one, the one that was
offered to the browser and has not come back yet, and the one before. That one stays good until its
successor is seen again some time after its first use: requests may be under way with it, and
browsers write cookies to their disk late, so that one that is killed comes back with the token
before. A right series with any other token can only be a copy that somebody kept: the session
ends, whoever of the two is the thief.

Everything here is pure; ``storage.web_sessions`` keeps the state.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

ROTATE_MS: Final = 3600 * 1000
"""Age at which a token is replaced."""
OFFER_AGAIN_MS: Final = 10 * 60 * 1000
"""An offer that did not come back is made anew after this: its answer was lost. Not earlier: the
answer of another tab may bring it."""
SETTLED_MS: Final = 2 * 60 * 1000
"""A token that is seen so long after its first use is on the browser's disk: the one before it is
good no longer. Browsers write cookies within half a minute."""


def new_secret() -> str:
    """256 random bits in base64url: 43 characters."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is stored. A plain hash is enough: 256 random bits cannot be searched."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Verdict(StrEnum):
    """What a token says of who sends it."""

    GOOD = "good"
    FIRST_SEEN = "first_seen"
    """The offered token has come back: from now on it is the current one."""
    COPIED = "copied"
    """A copy is in use: the session must end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The tokens of one session, as hashes; times in epoch milliseconds."""

    current: str
    rotated_at: int
    """Since when ``current`` counts."""
    offered: str | None = None
    offered_at: int | None = None
    previous: str | None = None

    def judge(self, token: str) -> Verdict:
        """What the hash of a token means now."""
        if _same(token, self.current):
            return Verdict.GOOD
        if _same(token, self.offered):
            return Verdict.FIRST_SEEN
        return Verdict.GOOD if _same(token, self.previous) else Verdict.COPIED

    def used(self, token: str, now: int) -> Rotation:
        """The state after a request with a good token.

        The current token ends the time of the one before it once it has settled. The token
        before, still used an hour after its successor was first seen and never since, is the
        only one that its browser has: it counts again, and whoever comes with the successor
        has a copy, or has lost the session to one.
        """
        age = _age(self.rotated_at, now)
        if _same(token, self.previous) and age >= ROTATE_MS:
            return Rotation(current=token, rotated_at=self.rotated_at)
        if self.previous is not None and _same(token, self.current) and age >= SETTLED_MS:
            return replace(self, previous=None)
        return self

    def due(self, token: str, now: int) -> bool:
        """Whether the answer to this token's request offers another one."""
        if not _same(token, self.current) or _age(self.rotated_at, now) < ROTATE_MS:
            return False
        return self.offered_at is None or _age(self.offered_at, now) >= OFFER_AGAIN_MS

    def offer(self, token: str, now: int) -> Rotation:
        """The state after another token was sent; an older offer is good no longer."""
        return replace(self, offered=token, offered_at=now)

    def seen(self, now: int) -> Rotation:
        """The state after the offered token came back."""
        if self.offered is None:
            message = "nothing was offered"
            raise ValueError(message)
        return Rotation(current=self.offered, rotated_at=now, previous=self.current)


def _age(at: int, now: int) -> int:
    """Milliseconds since then; what lies ahead was written before the clock was set back."""
    return now - at if now >= at else ROTATE_MS


def _same(token: str, known: str | None) -> bool:
    return known is not None and hmac.compare_digest(token, known)
