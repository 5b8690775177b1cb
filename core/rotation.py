"""How the changing half of a session's cookie changes, and how a copy of it is noticed.

A cookie has two random halves (Jaspan's "improved persistent login cookie"): the series, which
stays as long as the session and finds it, and the token, which is replaced about every hour. The
database has the SHA-256 of both. Of the tokens it knows three: the current one, the one that was
offered to the browser and has not come back yet, and the one before, which stays good for a
moment, for requests that were under way. A right series with any other token can only be a copy
that somebody kept: the session ends, whoever of the two is the thief.

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
GRACE_MS: Final = 60 * 1000
"""How long the token before stays good after its successor was seen."""


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

    def judge(self, token: str, now: int) -> Verdict:
        """What the hash of a token means now."""
        if _same(token, self.current):
            return Verdict.GOOD
        if _same(token, self.offered):
            return Verdict.FIRST_SEEN
        if _same(token, self.previous) and now - self.rotated_at <= GRACE_MS:
            return Verdict.GOOD
        return Verdict.COPIED

    def due(self, token: str, now: int) -> bool:
        """Whether the answer to this token's request offers another one."""
        if not _same(token, self.current) or now - self.rotated_at < ROTATE_MS:
            return False
        return self.offered_at is None or now - self.offered_at >= OFFER_AGAIN_MS

    def offer(self, token: str, now: int) -> Rotation:
        """The state after another token was sent; an older offer is good no longer."""
        return replace(self, offered=token, offered_at=now)

    def seen(self, now: int) -> Rotation:
        """The state after the offered token came back."""
        if self.offered is None:
            message = "nothing was offered"
            raise ValueError(message)
        return Rotation(current=self.offered, rotated_at=now, previous=self.current)


def _same(token: str, known: str | None) -> bool:
    return known is not None and hmac.compare_digest(token, known)
