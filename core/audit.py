"""The audit log: who asked for what, which level it had, what was decided, what happened.

Rows of a tenant form a chain: each row's MAC covers its content and the MAC before it,
under a key of its own (derived from ``IT0_SECRET_KEY``), so that edits, deletions and
reordering show. Truncation shows against an exported head.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass

GENESIS = "0" * 64
"""The MAC before a tenant's first row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """What happened, before it is chained. ``detail`` holds no secret and no output text."""

    actor: str
    """The user's id, or ``system``."""
    action: str
    """Such as ``tool.ran`` or ``tool.refused``."""
    turn_id: str
    detail: dict[str, str | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """A chained row as stored."""

    tenant_id: str
    seq: int
    at_ms: int
    actor: str
    action: str
    turn_id: str
    detail: str
    """Canonical JSON."""
    mac: str


def canonical(detail: dict[str, str | int]) -> str:
    """One spelling for one content: sorted keys, no spaces, ASCII."""
    return json.dumps(detail, sort_keys=True, separators=(",", ":"))


def chain_mac(key: bytes, previous: str, row: AuditRow) -> str:
    """HMAC-SHA-256 over the previous MAC and every column, as hex."""
    content = json.dumps(
        [
            previous,
            row.tenant_id,
            row.seq,
            row.at_ms,
            row.actor,
            row.action,
            row.turn_id,
            row.detail,
        ]
    )
    return hmac.new(key, content.encode(), hashlib.sha256).hexdigest()


def first_fault(key: bytes, rows: Iterable[AuditRow]) -> str | None:
    """Check a tenant's rows in order; None when the chain holds, else what is wrong where."""
    previous, expected = GENESIS, 1
    for row in rows:
        if row.seq != expected:
            return f"row {expected} of tenant {row.tenant_id} is missing (found {row.seq})"
        if not hmac.compare_digest(chain_mac(key, previous, row), row.mac):
            return f"row {row.seq} of tenant {row.tenant_id} was changed after it was written"
        previous, expected = row.mac, expected + 1
    return None
