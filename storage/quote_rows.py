"""Rows of quotes: what was offered, for which state of the subscription, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from billing.invoices import Line, LineKind
from billing.periods import Period
from storage.database import execute
from storage.rows import integer, optional_text, text

_COLUMNS = (
    "id, tenant_id, user_id, kind, subscription_id, revision, version_id, currency, lines, at,"
    " expires_at, invoice_id, used_at, conversation_id"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredQuote:
    """A quote as it is stored; never changed, but for what became of it."""

    id: str
    tenant_id: str
    user_id: str
    kind: str
    subscription_id: str
    revision: int
    """Of the subscription: it is void when that has grown."""
    segment: str
    """The key of the segment that was in effect: an upgrade replaces that one and no other."""
    version_id: str
    currency: str
    lines: tuple[Line, ...]
    at_ms: int
    expires_at_ms: int
    conversation_id: str | None = None
    invoice_id: str | None = None
    used_at_ms: int | None = None


def insert(conn: sa.Connection, quote: StoredQuote) -> None:
    """Store an offer."""
    offered = {"segment": quote.segment, "lines": [_written(line) for line in quote.lines]}
    execute(
        conn,
        f"INSERT INTO quotes ({_COLUMNS}) VALUES (:id, :tenant, :user, :kind, :subscription,"
        " :revision, :version, :currency, :lines, :at, :expires, NULL, NULL, :conversation)",
        id=quote.id,
        tenant=quote.tenant_id,
        user=quote.user_id,
        kind=quote.kind,
        subscription=quote.subscription_id,
        revision=quote.revision,
        version=quote.version_id,
        currency=quote.currency,
        lines=json.dumps(offered),
        at=quote.at_ms,
        expires=quote.expires_at_ms,
        conversation=quote.conversation_id,
    )


def load(conn: sa.Connection, tenant_id: str, quote_id: str) -> StoredQuote | None:
    """A tenant's quote."""
    row = execute(
        conn,
        f"SELECT {_COLUMNS} FROM quotes WHERE id = :id AND tenant_id = :tenant",
        id=quote_id,
        tenant=tenant_id,
    ).first()
    return None if row is None else _quote_of(row)


def use(conn: sa.Connection, quote: StoredQuote, at_ms: int, invoice_id: str | None) -> None:
    """It was confirmed; whoever confirms it again gets the same answer."""
    execute(
        conn,
        "UPDATE quotes SET used_at = :at, invoice_id = :invoice"
        " WHERE id = :id AND tenant_id = :tenant",
        id=quote.id,
        tenant=quote.tenant_id,
        at=at_ms,
        invoice=invoice_id,
    )


def _written(line: Line) -> Mapping[str, str | int]:
    return {
        "kind": str(line.kind),
        "version": line.version_id,
        "start": line.period.start_ms,
        "end": line.period.end_ms,
        "quantity": line.quantity,
        "unit": line.unit_minor,
        "amount": line.amount,
    }


def _quote_of(row: Sequence[object]) -> StoredQuote:
    offered = json.loads(text(row[8]))
    lines = tuple(
        Line(
            kind=LineKind(line["kind"]),
            version_id=line["version"],
            period=Period(line["start"], line["end"]),
            quantity=line["quantity"],
            unit_minor=line["unit"],
            amount=line["amount"],
        )
        for line in offered["lines"]
    )
    return StoredQuote(
        id=text(row[0]),
        tenant_id=text(row[1]),
        user_id=text(row[2]),
        kind=text(row[3]),
        subscription_id=text(row[4]),
        revision=integer(row[5]),
        segment=offered["segment"],
        version_id=text(row[6]),
        currency=text(row[7]),
        lines=lines,
        at_ms=integer(row[9]),
        expires_at_ms=integer(row[10]),
        invoice_id=optional_text(row[11]),
        used_at_ms=None if row[12] is None else integer(row[12]),
        conversation_id=optional_text(row[13]),
    )
