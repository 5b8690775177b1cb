"""What leaves the audit log: heads and rows as JSON, sealed, to be checked far from the database.

A head names the last row of each tenant at some time. Kept where whoever can write the database
cannot, it shows a log that was cut off or written anew. An export is JSON lines: a row each,
with the MAC of the row before it, so that a part of the log can be checked as well; and at the
end of each tenant's rows a line that says what was asked, how many rows there are and where the
log ended. Seals are HMACs under the audit key: checking needs the key, as checking the log does.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

from core.audit import GENESIS, AuditFilter, AuditRow, canonical, chain_mac, detail_of, same
from core.errors import It0Error

_HEAD_FORMAT = "it0-audit-head-1"
_EXPORT_FORMAT = "it0-audit-export-1"


class BadHead(It0Error):
    """What was given as a head is none of this installation."""

    code = "bad_audit_head"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A tenant's last row."""

    tenant_id: str
    seq: int
    mac: str
    at_ms: int
    """When it was read."""


def head_file(key: bytes, heads: Sequence[Head]) -> str:
    """The heads as one sealed JSON document."""
    document = {
        "format": _HEAD_FORMAT,
        "heads": [asdict(head) for head in heads],
        "seal": _seal(key, _HEAD_FORMAT, _named(heads)),
    }
    return json.dumps(document, indent=1) + "\n"


def read_heads(key: bytes, content: str) -> tuple[Head, ...]:
    """What ``head_file`` wrote. Raises ``BadHead`` when it was altered, or is another key's."""
    try:
        document = json.loads(content)
        heads = tuple(
            Head(
                tenant_id=str(one["tenant_id"]),
                seq=_number(one["seq"]),
                mac=str(one["mac"]),
                at_ms=_number(one["at_ms"]),
            )
            for one in document["heads"]
        )
        seal = str(document["seal"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadHead("This is no head of an audit log. `it0 audit head` writes one.") from error
    if not same(seal, _seal(key, _HEAD_FORMAT, _named(heads))):
        raise BadHead("This head was altered, or it belongs to an installation with another key.")
    return heads


def _named(heads: Sequence[Head]) -> list[list[str | int]]:
    return [[head.tenant_id, head.seq, head.mac, head.at_ms] for head in heads]


# -- an export ------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Export:
    """The lines of one tenant's rows, in the order in which they were written."""

    key: bytes
    asked: AuditFilter
    head: Head
    """The rows end there at the latest."""
    _rows: int = 0
    _digest: str = GENESIS

    def line(self, row: AuditRow, previous: str) -> str:
        """A row; ``previous`` is the MAC of the row before it in the log."""
        self._rows, self._digest = self._rows + 1, _joined(self._digest, row.mac)
        known = detail_of(row.detail)
        shown = {
            "tenant_id": row.tenant_id,
            "seq": row.seq,
            "at_ms": row.at_ms,
            "actor": row.actor,
            "action": row.action,
            "turn_id": row.turn_id,
            # A detail that was altered is shown as it is: its spelling is under the MAC.
            "detail": known if canonical(known) == row.detail else row.detail,
            "previous": previous,
            "mac": row.mac,
        }
        return json.dumps(shown) + "\n"

    def end(self) -> str:
        """The last line."""
        end = _End(
            tenant_id=self.head.tenant_id,
            rows=self._rows,
            digest=self._digest,
            asked=self.asked.given(),
            head_seq=self.head.seq,
            head_mac=self.head.mac,
            at_ms=self.head.at_ms,
        )
        document = {
            "end": _EXPORT_FORMAT,
            "tenant_id": end.tenant_id,
            "rows": end.rows,
            "digest": end.digest,
            "filter": end.asked,
            "head_seq": end.head_seq,
            "head_mac": end.head_mac,
            "at_ms": end.at_ms,
            "seal": _seal(self.key, _EXPORT_FORMAT, end.sealed()),
        }
        return json.dumps(document) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    tenant_id: str
    rows: int
    digest: str
    asked: dict[str, str | int]
    head_seq: int
    head_mac: str
    at_ms: int

    def sealed(self) -> list[object]:
        return [
            self.tenant_id,
            self.rows,
            self.digest,
            canonical(self.asked),
            self.head_seq,
            self.head_mac,
            self.at_ms,
        ]


@dataclass(slots=True, kw_only=True)
class Checked:
    """What is known of an export's lines so far."""

    rows: int = 0
    tenants: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    open_points: list[str] = field(default_factory=list)
    """What this file cannot prove, and why."""


def check_export(key: bytes, lines: Iterable[str], heads: Sequence[Head] = ()) -> Checked:
    """Check an export alone, also against heads; it holds one line at a time."""
    checked = Checked()
    section = _Section(key=key, heads=heads)
    for number, line in enumerate(lines, start=1):
        fault = section.take(line)
        if fault is not None:
            checked.faults.append(f"line {number}: {fault}")
            return checked
        if section.over:
            checked.rows += section.rows
            checked.tenants.add(section.tenant_id)
            checked.open_points += section.open_points
            section = _Section(key=key, heads=heads)
    if section.rows or not checked.tenants:
        checked.faults.append("the export was cut off: its last line is missing")
    checked.open_points += [
        f"tenant {head.tenant_id} has a head and is not in this export"
        for head in heads
        if head.tenant_id not in checked.tenants
    ]
    return checked


@dataclass(slots=True, kw_only=True)
class _Section:
    """The lines of one tenant, up to and with their end."""

    key: bytes
    heads: Sequence[Head]
    tenant_id: str = ""
    rows: int = 0
    over: bool = False
    open_points: list[str] = field(default_factory=list)
    _digest: str = GENESIS
    _seq: int = 0
    _mac: str = GENESIS
    _gap: bool = False
    _met: set[int] = field(default_factory=set)

    def take(self, line: str) -> str | None:
        """Check the next line; what is wrong with it, or None."""
        try:
            document = json.loads(line)
            if "end" in document:
                return self._end(_end_of(document), str(document["seal"]))
            return self._row(_row_of(document), str(document["previous"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return "this is no line of an export"

    def _row(self, row: AuditRow, previous: str) -> str | None:
        self.tenant_id = self.tenant_id or row.tenant_id
        if not same(chain_mac(self.key, previous, row), row.mac):
            return f"row {row.seq} was changed after it was written"
        if row.tenant_id != self.tenant_id or row.seq <= self._seq:
            return f"row {row.seq} stands where it does not belong"
        if row.seq == self._seq + 1:
            if not same(previous, self._mac):
                return f"row {row.seq} does not follow the row before it"
        else:
            self._gap = True
        for head in self._own():
            if head.seq == row.seq:
                self._met.add(head.seq)
                if not same(head.mac, row.mac):
                    return f"row {row.seq} is not the one of the head: the log was written anew"
        self.rows, self._digest = self.rows + 1, _joined(self._digest, row.mac)
        self._seq, self._mac = row.seq, row.mac
        return None

    def _end(self, end: _End, seal: str) -> str | None:
        self.tenant_id, self.over = self.tenant_id or end.tenant_id, True
        if end.tenant_id != self.tenant_id or not same(
            seal, _seal(self.key, _EXPORT_FORMAT, end.sealed())
        ):
            return "the last line of these rows was altered"
        if (end.rows, end.digest) != (self.rows, self._digest):
            return f"there are {self.rows} rows, {end.rows} were exported"
        ends_there = (self._seq, self._mac) == (end.head_seq, end.head_mac)
        if not end.asked and (self._gap or not ends_there):
            return "rows were missing in the log when it was exported"
        for head in self._own():
            if head.seq > end.head_seq:
                return f"the log ended at row {end.head_seq}, the head says {head.seq}"
            if head.seq == end.head_seq and not same(head.mac, end.head_mac):
                return f"row {head.seq} is not the one of the head: the log was written anew"
            if head.seq and head.seq not in self._met and head.seq != end.head_seq:
                self.open_points.append(
                    f"row {head.seq} of tenant {head.tenant_id} is not among the exported rows: "
                    "this export cannot be compared with the head"
                )
        return None

    def _own(self) -> list[Head]:
        return [head for head in self.heads if head.tenant_id == self.tenant_id]


def _row_of(document: dict[str, object]) -> AuditRow:
    detail = document["detail"]
    return AuditRow(
        tenant_id=str(document["tenant_id"]),
        seq=_number(document["seq"]),
        at_ms=_number(document["at_ms"]),
        actor=str(document["actor"]),
        action=str(document["action"]),
        turn_id=str(document["turn_id"]),
        detail=canonical(detail) if isinstance(detail, dict) else str(detail),
        mac=str(document["mac"]),
    )


def _end_of(document: dict[str, object]) -> _End:
    asked = document["filter"]
    if document["end"] != _EXPORT_FORMAT or not isinstance(asked, dict):
        raise ValueError(document["end"])
    return _End(
        tenant_id=str(document["tenant_id"]),
        rows=_number(document["rows"]),
        digest=str(document["digest"]),
        asked=asked,
        head_seq=_number(document["head_seq"]),
        head_mac=str(document["head_mac"]),
        at_ms=_number(document["at_ms"]),
    )


def _number(value: object) -> int:
    if type(value) is not int:
        raise ValueError(value)
    return value


def _joined(digest: str, mac: str) -> str:
    return hashlib.sha256(f"{digest}{mac}".encode()).hexdigest()


def _seal(key: bytes, kind: str, content: Sequence[object]) -> str:
    """Its kind comes first: no MAC of a row, nor of another kind, is a seal."""
    return hmac.digest(key, json.dumps([kind, content]).encode(), "sha256").hex()
