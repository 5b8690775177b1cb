"""Identifiers, made before the call they name, never taken from an answer."""

from __future__ import annotations

import secrets
import time


def new_id(prefix: str) -> str:
    """Return ``prefix_`` plus 12 hex digits of milliseconds and 64 random bits.

    Ids of one kind sort by creation time to the millisecond; that order is a convenience
    for indexes and people, never a promise (order inside a conversation is its ``seq``).
    """
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"
