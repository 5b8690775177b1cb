"""The audit log: who asked for what, which level it had, what was decided, what happened.

Rows of a tenant form a chain: each row's MAC covers its content and the MAC before it,
under a key of its own (derived from ``IT0_SECRET_KEY``), so that edits, deletions and
reordering show. Truncation shows against an exported head (``core.audit_export``).
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

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
    return hmac.digest(key, content.encode(), "sha256").hex()


@dataclass(slots=True, kw_only=True)
class Chain:
    """The end of a tenant's chain as far as it was checked: rows are fed to it one by one."""

    key: bytes
    tenant_id: str
    seq: int = 0
    mac: str = GENESIS

    def fault(self, row: AuditRow) -> str | None:
        """Check the next row; None when it holds, else what is wrong where."""
        expected = self.seq + 1
        if row.seq != expected:
            return f"row {expected} of tenant {self.tenant_id} is missing (found {row.seq})"
        mac = chain_mac(self.key, self.mac, row)
        if row.tenant_id != self.tenant_id or not same(mac, row.mac):
            return f"row {row.seq} of tenant {self.tenant_id} was changed after it was written"
        self.seq, self.mac = row.seq, row.mac
        return None


def same(one: str, other: str) -> bool:
    """Compare MACs in constant time; a forged one may be any text."""
    return hmac.compare_digest(one.encode(), other.encode())


def first_fault(chain: Chain, rows: Iterable[AuditRow]) -> str | None:
    """Check rows in order; None when the chain holds, else what is wrong where."""
    for row in rows:
        fault = chain.fault(row)
        if fault is not None:
            return fault
    return None


# -- what somebody looks for ------------------------------------------------------------------

ANY_OF = ".*"
"""``tool.*`` is every action that begins with ``tool.``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which rows; what is None or empty is not asked."""

    since_ms: int | None = None
    until_ms: int | None = None
    """Rows before it."""
    action: str = ""
    """Exactly it, or all of a kind: ``tool.*``."""
    actor: str = ""
    turn_id: str = ""
    server: str = ""
    """One of the servers that the row names."""
    level: str = ""

    def given(self) -> dict[str, str | int]:
        """What is asked, by name."""
        return {name: value for name, value in asdict(self).items() if value not in {None, ""}}

    def fits(self, row: AuditRow) -> bool:
        """Whether it is one of the rows."""
        return (
            (self.since_ms is None or row.at_ms >= self.since_ms)
            and (self.until_ms is None or row.at_ms < self.until_ms)
            and self._is_action(row.action)
            and self.actor in {"", row.actor}
            and self.turn_id in {"", row.turn_id}
            and self._in_detail(row.detail)
        )

    def _is_action(self, action: str) -> bool:
        if self.action.endswith(ANY_OF):
            return action.startswith(self.action[: -len(ANY_OF)] + ".")
        return self.action in {"", action}

    def _in_detail(self, detail: str) -> bool:
        if not self.server and not self.level:
            return True
        known = detail_of(detail)
        named = {str(known.get("server", "")), *str(known.get("servers", "")).split(",")}
        return self.level in {"", known.get("level")} and (not self.server or self.server in named)


def detail_of(detail: str) -> dict[str, str | int]:
    """A row's detail as values; empty when somebody spoiled it."""
    try:
        known = json.loads(detail)
    except (ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}
