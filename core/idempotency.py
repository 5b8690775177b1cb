"""Requests that are carried out once, whatever is repeated: what a key leads to.

A client sends a key of its own with a request; the same again within a day gets the answer of
the first. While the first is being carried out, a second one waits its turn; a process that
died meanwhile holds the key for ``TAKEN_OVER_MS`` at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KEPT_MS: Final = 24 * 3_600_000
"""How long an answer is kept."""
TAKEN_OVER_MS: Final = 60_000
"""A request that has not ended after this is carried out again: its process has died. What
requests do must therefore bear repetition by itself; the key spares the client the doubt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """A request under its key."""

    tenant_id: str
    user_id: str
    key: str
    request_hash: str
    """Of method, path and body: a key stands for one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The caller carries the request out, and keeps its answer or lets the key go."""

    request: Keyed
    at_ms: int
    """When it was claimed: an answer of an earlier claim is not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The answer of the first request."""

    status: int
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused:
    """The key stands for another request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """The first request is being carried out."""


Claim = Claimed | Kept | Reused | InFlight


def judge(
    request: Keyed, at_ms: int, *, request_hash: str, kept: Kept | None, since_ms: int
) -> Claim:
    """What a key leads to that is known: ``kept`` is None while it is carried out."""
    if at_ms >= since_ms + KEPT_MS:
        return Claimed(request=request, at_ms=at_ms)
    if request_hash != request.request_hash:
        return Reused()
    if kept is not None:
        return kept
    if at_ms >= since_ms + TAKEN_OVER_MS:
        return Claimed(request=request, at_ms=at_ms)
    return InFlight()
