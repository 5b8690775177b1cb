"""What is behind an invoice line: the sums agree to the token, wherever the line cuts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count, pairwise

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.desk import ExplainedCall, LineExplanation
from billing.invoices import Draft, Invoice, Line, LineKind
from billing.periods import DAY_MS, month_of
from core.refusals import Rejected
from core.words import Words
from storage.database import Database, execute
from storage.invoices import SqlInvoices, issue
from tests.storage.invoice_kit import AT, SELLER, Office, line, office
from tests.storage.payment_kit import Hands
from tests.storage.payment_places import db, migrated_file, migrated_url, place

__all__ = ["db", "migrated_file", "migrated_url", "place"]


@dataclass(frozen=True)
class Call:
    """A settled call: its tokens, and whose."""

    tokens: int
    conversation: int = 0
    own_key: bool = False


def usage_line(start: int, quantity: int, kind: LineKind = LineKind.OVERAGE) -> Line:
    """A line that stands for those tokens."""
    return replace(line(100, kind), quantity=quantity, from_position=start)


def add_calls(conn: sa.Connection, tenant_id: str, calls: list[Call], at: int = AT) -> int:
    """Settled calls of a month with their positions; the last position."""
    position = 0
    for n, call in enumerate(calls):
        position += 0 if call.own_key else call.tokens
        buckets = [call.tokens // 5] * 4
        execute(
            conn,
            "INSERT INTO model_calls (id, tenant_id, conversation_id, turn_id, user_id, engine,"
            " model, state, estimated_input, max_output, input_tokens, output_tokens,"
            " cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, created_at,"
            " own_key, period_start, position) VALUES (:id, :tenant, :cid, :turn, 'u', 'e', 'm',"
            " :state, 1, 1, :a, :b, :c, :d, :e, :at, :own, :month, :position)",
            id=f"{tenant_id}{at}.{n}",
            tenant=tenant_id,
            cid=f"{tenant_id}_c{call.conversation}",
            turn=f"{tenant_id}_t{n // 2}",
            state="estimated" if n % 3 == 2 else "settled",
            a=buckets[0],
            b=buckets[1],
            c=buckets[2],
            d=buckets[3],
            e=call.tokens - sum(buckets),
            at=at + n,
            own=int(call.own_key),
            month=month_of(at).start_ms,
            position=None if call.own_key else position,
        )
    return position


def add_conversation(conn: sa.Connection, tenant_id: str, n: int, deleted: int | None) -> None:
    """A conversation of the admin's."""
    execute(
        conn,
        "INSERT INTO conversations (id, tenant_id, user_id, platform, workspace, channel, thread,"
        " title, created_at, updated_at, deleted_at) SELECT :id, :tenant, id, 'api', '', '',"
        " CAST(:id AS TEXT), 'Private', 1, 1, CAST(:deleted AS BIGINT) FROM users"
        " WHERE tenant_id = :tenant",
        id=f"{tenant_id}_c{n}",
        tenant=tenant_id,
        deleted=deleted,
    )


async def bill(team: Office, *lines: Line) -> Invoice:
    """An invoice with those lines."""
    draft: Draft = replace(team.draft(f"{team.tenant_id}/k"), lines=lines)
    return await team.db.transaction(issue, draft, AT, SELLER)


async def explained(
    desk: SqlInvoices, invoice: Invoice, number: int = 1, limit: int = 50
) -> LineExplanation:
    """A line with all of its calls, read page by page."""
    calls: list[ExplainedCall] = []
    after = 0
    while True:
        name = invoice.number or ""
        found = await desk.explain(invoice.tenant_id, name, number, after=after, limit=limit)
        assert not isinstance(found, Rejected)
        calls += found.calls
        assert len(found.calls) <= limit
        if found.next_after is None:
            return replace(found, calls=tuple(calls))
        after = found.next_after


async def test_a_line_is_cut_at_both_ends(db: Database) -> None:
    """Only the tokens of the line count; own-key, empty and other months' calls are not in it."""
    team = await office(db)
    await db.transaction(
        add_calls,
        team.tenant_id,
        [Call(100), Call(60, 1), Call(0, 1), Call(500, 2, own_key=True), Call(40, 1), Call(100)],
    )
    await db.transaction(add_calls, team.tenant_id, [Call(400, 3)], AT + 31 * DAY_MS)
    await db.transaction(add_calls, "other", [Call(400, 4)])
    await db.transaction(add_conversation, team.tenant_id, 0, None)
    await db.transaction(add_conversation, team.tenant_id, 1, 5)
    desk = SqlInvoices(db, Hands())
    found = await explained(desk, await bill(team, usage_line(130, 75), line(5)))
    assert [call.billed_tokens for call in found.calls] == [30, 40, 5]
    assert [call.usage.total for call in found.calls] == [60, 40, 100]
    assert [call.estimated for call in found.calls] == [False, False, True]
    shown = [
        (each.conversation_id[-1], each.owner, each.turns, each.calls, each.billed_tokens)
        for each in found.conversations
    ]
    deleted = "a deleted conversation"
    assert shown == [("1", deleted, 2, 2, 70), ("0", "a@example.org", 1, 1, 5)]
    assert Words("zh").of(found.conversations[0].owner)
    base = await explained(desk, found.invoice, 2)
    assert (base.calls, base.conversations, base.line.amount) == ((), (), 5)


async def test_a_line_that_does_not_exist_is_refused(db: Database) -> None:
    """Lines count from 1; so is an invoice that is not there."""
    team = await office(db)
    made = await bill(team, line(100))
    desk = SqlInvoices(db, Hands())
    for name, number in ((made.id, 0), (made.id, 2), (made.id, -1), ("none", 1)):
        found = await desk.explain(team.tenant_id, name, number)
        assert isinstance(found, Rejected)
        assert found.code == "not_found"


TEAMS = count()
CALLS = st.lists(st.builds(Call, st.integers(0, 50), st.integers(0, 3), st.booleans()), max_size=25)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(calls=CALLS, cuts=st.lists(st.integers(0, 1_300), max_size=3), page=st.integers(1, 9))
async def test_lines_that_share_a_month_share_its_tokens(
    db: Database, calls: list[Call], cuts: list[int], page: int
) -> None:
    """Wherever lines divide a month: each explains its quantity, and together every token once."""
    team = Office(db, f"ten_{next(TEAMS)}")
    end = await db.transaction(add_calls, team.tenant_id, calls)
    bounds = [0, *sorted(min(cut, end) for cut in cuts), end]
    lines = [usage_line(a, b - a) for a, b in pairwise(bounds)]
    made = await bill(team, *lines)
    desk, seen = SqlInvoices(db, Hands()), dict[str, int]()
    for number, each in enumerate(lines, 1):
        found = await explained(desk, made, number, page)
        assert sum(call.billed_tokens for call in found.calls) == each.quantity
        assert sum(group.billed_tokens for group in found.conversations) == each.quantity
        assert sum(group.calls for group in found.conversations) == len(found.calls)
        for call in found.calls:
            seen[call.call_id] = seen.get(call.call_id, 0) + call.billed_tokens
    whole = [call.tokens for call in calls if call.tokens and not call.own_key]
    assert sorted(seen.values()) == sorted(whole)
