"""What is behind an invoice line: the conversations, turns and model calls, to the token.

A settled call has its position: the billable tokens of its tenant's month up to and with it,
so it stands for ``[position - total, position)``. A usage line stands for a stretch of the
same numbers. What both have in common is what the line bills of the call.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from billing.desk import ExplainedCall, ExplainedConversation, LineExplanation
from billing.invoices import Invoice, Line, LineKind
from billing.periods import month_of
from core.metering import CallState, Usage
from core.refusals import Rejected
from core.words import sentence
from storage.database import execute
from storage.invoice_rows import load
from storage.rows import integer, text

NOT_FOUND = Rejected(code="not_found", sentence=sentence("There is no such invoice."))
NO_LINE = Rejected(code="not_found", sentence=sentence("The invoice has no such line."))
DELETED = sentence("a deleted conversation")
USAGE_LINES = frozenset({LineKind.OVERAGE, LineKind.LATE_USAGE})

_TOTAL = (
    "(m.input_tokens + m.output_tokens + m.cache_read_tokens + m.cache_write_5m_tokens"
    " + m.cache_write_1h_tokens)"
)
_BILLED = (
    "((CASE WHEN m.position < :upto THEN m.position ELSE :upto END)"
    f" - (CASE WHEN m.position - {_TOTAL} > :start THEN m.position - {_TOTAL} ELSE :start END))"
)
_CALLS = (  # the first call that reaches the end bounds the walk of the index
    " FROM model_calls m LEFT JOIN conversations c"
    " ON c.id = m.conversation_id AND c.tenant_id = m.tenant_id AND c.deleted_at IS NULL"
    " LEFT JOIN users u ON u.id = c.user_id"
    " WHERE m.tenant_id = :tenant AND m.period_start = :month AND m.position > :start"
    " AND m.position <= COALESCE((SELECT MIN(n.position) FROM model_calls n"
    " WHERE n.tenant_id = :tenant AND n.period_start = :month AND n.position >= :upto), :upto)"
    f" AND m.position - {_TOTAL} < :upto AND {_TOTAL} > 0"
)


def explain(
    conn: sa.Connection, tenant_id: str, id_or_number: str, number: int, after: int, limit: int
) -> LineExplanation | Rejected:
    """The line with that number, counted from 1; calls after that position."""
    invoice = load(conn, tenant_id, id_or_number)
    if invoice is None or invoice.number is None:
        return NOT_FOUND
    if not 1 <= number <= len(invoice.lines):
        return NO_LINE
    line = invoice.lines[number - 1]
    if line.kind not in USAGE_LINES:
        return _explained(invoice, number, (), (), None)
    calls = _calls(conn, tenant_id, line, after, limit + 1)
    more = len(calls) > limit
    shown = calls[:limit]
    return _explained(
        invoice,
        number,
        _conversations(conn, tenant_id, line),
        tuple(call for _, call in shown),
        shown[-1][0] if more else None,
    )


def _explained(
    invoice: Invoice,
    number: int,
    conversations: tuple[ExplainedConversation, ...],
    calls: tuple[ExplainedCall, ...],
    next_after: int | None,
) -> LineExplanation:
    return LineExplanation(
        invoice=invoice,
        line_number=number,
        line=invoice.lines[number - 1],
        conversations=conversations,
        calls=calls,
        next_after=next_after,
    )


def _conversations(
    conn: sa.Connection, tenant_id: str, line: Line
) -> tuple[ExplainedConversation, ...]:
    rows = execute(
        conn,
        f"SELECT m.conversation_id, MAX(u.email), COUNT(DISTINCT m.turn_id), COUNT(*),"
        f" CAST(SUM({_BILLED}) AS BIGINT){_CALLS} GROUP BY m.conversation_id"
        f" ORDER BY SUM({_BILLED}) DESC, m.conversation_id",
        **_stretch(tenant_id, line),
    ).all()
    return tuple(
        ExplainedConversation(
            conversation_id=text(row[0]),
            owner=DELETED if row[1] is None else text(row[1]),
            turns=integer(row[2]),
            calls=integer(row[3]),
            billed_tokens=integer(row[4]),
        )
        for row in rows
    )


def _calls(
    conn: sa.Connection, tenant_id: str, line: Line, after: int, limit: int
) -> tuple[tuple[int, ExplainedCall], ...]:
    """Each with its position, in the order in which they were settled."""
    rows = execute(
        conn,
        "SELECT m.position, m.id, m.turn_id, m.conversation_id, m.user_id, m.model,"
        " m.created_at, m.state, m.input_tokens, m.output_tokens, m.cache_read_tokens,"
        f" m.cache_write_5m_tokens, m.cache_write_1h_tokens, {_BILLED}{_CALLS}"
        " AND m.position > :after ORDER BY m.position LIMIT :limit",
        **_stretch(tenant_id, line),
        after=after,
        limit=limit,
    ).all()
    return tuple((integer(row[0]), _call(row)) for row in rows)


def _stretch(tenant_id: str, line: Line) -> dict[str, str | int]:
    return {
        "tenant": tenant_id,
        "month": month_of(line.period.start_ms).start_ms,
        "start": line.from_position,
        "upto": line.from_position + line.quantity,
    }


def _call(row: Sequence[object]) -> ExplainedCall:
    return ExplainedCall(
        call_id=text(row[1]),
        turn_id=text(row[2]),
        conversation_id=text(row[3]),
        user_id=text(row[4]),
        model=text(row[5]),
        at_ms=integer(row[6]),
        estimated=text(row[7]) == CallState.ESTIMATED,
        usage=Usage(
            input_tokens=integer(row[8]),
            output_tokens=integer(row[9]),
            cache_read_tokens=integer(row[10]),
            cache_write_5m_tokens=integer(row[11]),
            cache_write_1h_tokens=integer(row[12]),
        ),
        billed_tokens=integer(row[13]),
    )
