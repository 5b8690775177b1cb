"""Ports of the HTTP edge in memory: tokens and people, and answers under their keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.clock import Clock
from core.errors import NotFound
from core.idempotency import Claim, Claimed, Kept, Keyed, judge
from core.tenants import User


@dataclass
class TokensInMemory:
    """Implements ``bots.web.auth.TokenStore``."""

    users: list[User]
    live: set[str] = field(default_factory=set)

    async def token_user(self, token_id: str, user_id: str) -> User | None:
        """See the port."""
        found = [user for user in self.users if user.id == user_id and token_id in self.live]
        return found[0] if found else None

    async def user_by_email(self, email: str | None) -> User:
        """See the port."""
        found = [user for user in self.users if email in {None, user.email}]
        if not found:
            raise NotFound("There is no such user.")
        return found[0]

    async def save_token(
        self, user: User, token_id: str, *, expires_ms: int, parent: str | None = None
    ) -> None:
        """See the port."""
        del user, expires_ms, parent
        self.live.add(token_id)


@dataclass
class KeysInMemory:
    """Implements ``bots.web.idempotency.Keys``."""

    clock: Clock
    rows: dict[tuple[str, str, str], tuple[Claimed, Kept | None]] = field(default_factory=dict)

    async def claim(self, request: Keyed) -> Claim:
        """See the port."""
        at_ms, row = self.clock.now_ms(), self.rows.get(_owner(request))
        judged: Claim = Claimed(request=request, at_ms=at_ms)
        if row is not None:
            first, kept = row
            judged = judge(
                request,
                at_ms,
                request_hash=first.request.request_hash,
                kept=kept,
                since_ms=first.at_ms,
            )
        if isinstance(judged, Claimed):
            self.rows[_owner(request)] = (judged, None)
        return judged

    async def keep(self, claimed: Claimed, status: int, answer: str) -> None:
        """See the port."""
        if self.rows.get(_owner(claimed.request)) == (claimed, None):
            kept = Kept(status=status, answer=answer)
            self.rows[_owner(claimed.request)] = (claimed, kept)

    async def release(self, claimed: Claimed) -> None:
        """See the port."""
        if self.rows.get(_owner(claimed.request)) == (claimed, None):
            del self.rows[_owner(claimed.request)]


def _owner(request: Keyed) -> tuple[str, str, str]:
    return request.tenant_id, request.user_id, request.key
