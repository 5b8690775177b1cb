"""Billing over HTTP: who may see and do what, and how it is written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from billing.desk import ExplainedConversation, UsageRow
from billing.invoices import LineKind
from billing.plans import PlanName
from bots.web.billing_webhooks import MAX_NOTIFICATION
from core.metering import Usage
from core.refusals import Rejected
from tests.bots.web.billing_kit import Counter, open_counter
from tests.support.invoices import credit_note, line

READS = (
    "plans",
    "subscription",
    "usage/current",
    "usage/history",
    "usage/budgets",
)
ADMINS: tuple[tuple[str, str, dict[str, object] | None], ...] = (
    ("GET", "invoices", None),
    ("GET", "invoices/inv_1", None),
    ("GET", "invoices/inv_1/pdf", None),
    ("GET", "invoices/inv_1/lines/1/explanation", None),
    ("GET", "payment-methods", None),
    ("POST", "invoices/inv_1/pay", {}),
    ("POST", "subscription/upgrade", {"plan": "pro"}),
    ("POST", "subscription/downgrade", {"plan": "free"}),
    ("POST", "subscription/cancel", {}),
    ("POST", "subscription/reactivate", {}),
    ("PUT", "usage/budgets", {"scope": "user", "tokens": 5}),
)


@pytest.fixture
async def counter() -> AsyncIterator[Counter]:
    """Billing, served."""
    async with open_counter() as counter:
        yield counter


@pytest.mark.parametrize("who", ["viewer", "operator", "admin"])
async def test_everybody_of_the_team_reads_plan_and_usage(counter: Counter, who: str) -> None:
    """No role is refused what the team has and used."""
    for path in READS:
        assert (await counter.call("GET", path, who=who))[0] == 200, path


@pytest.mark.parametrize("who", ["viewer", "operator"])
async def test_invoices_and_changes_are_for_admins(counter: Counter, who: str) -> None:
    """Another role gets 403 everywhere else, and nothing has changed."""
    for method, path, body in ADMINS:
        status, problem = await counter.call(method, path, body, who=who)
        assert (status, problem["code"]) == (403, "not_allowed"), path
    assert counter.desk.quotes == {}
    assert counter.desk.limits == {}
    assert counter.desk.cancelled is False


async def test_nobody_without_a_token(counter: Counter) -> None:
    """Everything but the webhooks asks who is there."""
    paths = [("GET", path, None) for path in READS] + list(ADMINS)
    for method, path, body in paths:
        assert (await counter.call(method, path, body, who=""))[0] == 401, path


async def test_money_and_times_are_exact(counter: Counter) -> None:
    """Amounts are whole minor units with their currency; times say that they are UTC."""
    _, listed = await counter.call("GET", "plans")
    pro = listed["plans"][1]
    assert (pro["plan"], pro["included_tokens"], pro["hard_percent"]) == ("pro", 1_000_000, 150)
    assert pro["prices"][1] == {
        "currency": "USD",
        "base": {"amount": 4999, "currency": "USD"},
        "overage_per_million": {"amount": 800, "currency": "USD"},
    }
    counter.desk.balance_minor = 250
    _, held = await counter.call("GET", "subscription")
    assert held["plan"]["plan"] == "free"
    assert held["balance"] == {"amount": 250, "currency": "USD"}
    assert (held["period_start"], held["period_end"]) == (
        "2026-11-01T00:00:00Z",
        "2026-12-01T00:00:00Z",
    )


@pytest.mark.parametrize("who", ["viewer", "operator", "admin"])
async def test_what_is_owed_is_for_admins(counter: Counter, who: str) -> None:
    """The others read the subscription without its balance and what is due."""
    counter.desk.balance_minor = 250
    _, held = await counter.call("GET", "subscription", who=who)
    admin = who == "admin"
    assert held["balance"] == ({"amount": 250, "currency": "USD"} if admin else None)
    assert held["due"] == ({"amount": 0, "currency": "USD"} if admin else None)
    assert held["plan"]["plan"] == "free"


async def test_an_upgrade_is_quoted_confirmed_and_paid(counter: Counter) -> None:
    """The quote's total is the invoice's; the plan waits for the money."""
    status, asked = await counter.call("POST", "subscription/upgrade", {"plan": "pro"})
    quote = asked["quote"]
    assert (status, quote["kind"], quote["wanted"]["plan"]) == (200, "upgrade", "pro")
    assert quote["lines"][0]["kind"] == "proration_charge"
    body = {"quote_id": quote["id"]}
    status, done = await counter.call("POST", "subscription/upgrade", body)
    assert (status, done["subscription"]["plan"]["plan"]) == (200, "free")
    assert done["invoice"]["due"] == quote["total"]
    status, begun = await counter.call("POST", f"invoices/{done['invoice']['id']}/pay", {})
    assert (status, begun["status"], begun["amount"]) == (200, "created", quote["total"])
    assert "DE00 1234" in begun["instructions"]


async def test_a_quote_of_the_other_direction_says_where_to_go(counter: Counter) -> None:
    """Neither address sells what the other one is for."""
    status, problem = await counter.call("POST", "subscription/downgrade", {"plan": "pro"})
    assert (status, problem["code"]) == (409, "not_downgrade")
    assert "/subscription/upgrade" in problem["detail"]
    counter.desk.plan = PlanName.PRO
    status, problem = await counter.call("POST", "subscription/upgrade", {"plan": "free"})
    assert (status, problem["code"]) == (409, "not_upgrade")


@pytest.mark.parametrize(
    "body",
    [{}, {"plan": "pro", "quote_id": "q"}, {"plan": None}, {"plan": "gold"}, {"more": 1}, []],
)
async def test_a_change_names_a_plan_or_a_quote(counter: Counter, body: object) -> None:
    """Anything else is 422 with a sentence."""
    status, problem = await counter.call("POST", "subscription/upgrade", body)
    assert (status, problem["code"]) == (422, "bad_request")
    assert problem["detail"]


async def test_an_expired_quote_is_a_conflict(counter: Counter) -> None:
    """What was said ten minutes ago is not charged."""
    _, asked = await counter.call("POST", "subscription/upgrade", {"plan": "pro"})
    counter.desk.clock.at_ms += 600_000
    body = {"quote_id": asked["quote"]["id"]}
    status, problem = await counter.call("POST", "subscription/upgrade", body)
    assert (status, problem["code"]) == (409, "quote_expired")


async def test_the_description_warns_of_the_bill_at_the_end(counter: Counter) -> None:
    """Who cancels at once is told before that overage is invoiced then."""
    async with counter.session.get(f"{counter.url}/openapi.json") as response:
        document = await response.json()
    cancel = document["paths"]["/api/v1/billing/subscription/cancel"]["post"]
    assert "now with an invoice for overage so far" in cancel["summary"]


async def test_cancelling_waits_for_the_period_unless_told(counter: Counter) -> None:
    """It can be taken back until then; with nothing to take back it is a conflict."""
    status, done = await counter.call("POST", "subscription/cancel")
    assert (status, done["subscription"]["cancel_at"]) == (200, "2026-12-01T00:00:00Z")
    _, back = await counter.call("POST", "subscription/reactivate", {})
    assert back["subscription"]["cancel_at"] is None
    assert (await counter.call("POST", "subscription/reactivate", {}))[0] == 409
    counter.desk.plan = PlanName.PRO
    _, ended = await counter.call("POST", "subscription/cancel", {"at_once": True})
    assert ended["subscription"]["plan"]["plan"] == "free"


async def test_invoices_come_in_pages(counter: Counter) -> None:
    """The newest first, by status, each once; a cursor that was never given is refused."""
    for _ in range(5):
        counter.desk.bill([line(LineKind.BASE, "pro-1", 1, 4999, 4999)])
    counter.desk.pay_off(counter.desk.bills[0])
    seen, cursor = [], ""
    while True:
        _, page = await counter.call("GET", f"invoices?limit=2{cursor}")
        seen += [invoice["id"] for invoice in page["invoices"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ["inv_5", "inv_4", "inv_3", "inv_2", "inv_1"]
    _, paid = await counter.call("GET", "invoices?status=paid")
    assert [invoice["id"] for invoice in paid["invoices"]] == ["inv_1"]
    status, problem = await counter.call("GET", "invoices?cursor=made-up")
    assert (status, problem["code"]) == (422, "bad_cursor")


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "status=late", "cursor=", "colour=red"]
)
async def test_a_query_is_checked(counter: Counter, query: str) -> None:
    """What is out of bounds or unknown is named, not ignored."""
    status, problem = await counter.call("GET", f"invoices?{query}")
    assert (status, problem["code"]) == (422, "bad_request")
    assert query.partition("=")[0] in problem["detail"]


async def test_an_invoice_is_shown_with_all_that_belongs_to_it(counter: Counter) -> None:
    """Lines with numbers, credit notes and attempts, by id or number; PDF as a file."""
    counter.desk.bill([line(LineKind.BASE, "pro-1", 1, 4999, 4999)])
    counter.desk.notes.append(credit_note(currency="USD"))
    await counter.call("POST", "invoices/inv_1/pay", {"method": "manual"})
    status, shown = await counter.call("GET", "invoices/IT0-2026-000001")
    assert (status, shown["id"], shown["lines"][0]["number"]) == (200, "inv_1", 1)
    assert shown["lines"][0]["amount"] == {"amount": 4999, "currency": "USD"}
    assert shown["credit_notes"][0]["total"] == {"amount": 106, "currency": "USD"}
    assert [one["id"] for one in shown["payments"]] == ["pay_1"]
    status, data, headers = await counter.full("GET", "invoices/inv_1/pdf?language=zh")
    assert (status, data[:5], headers["Content-Type"]) == (200, b"%PDF-", "application/pdf")
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Disposition"] == 'inline; filename="inv_1.pdf"'
    for path in ("invoices/inv_2", "invoices/inv_2/pdf"):
        assert (await counter.call("GET", path))[0] == 404
    assert (await counter.call("POST", "invoices/inv_2/pay", {}))[0] == 404


async def test_a_line_is_explained_in_pages_to_the_token(counter: Counter) -> None:
    """Its conversations, and its calls page by page, come to what it says."""
    counter.desk.bill([line(LineKind.OVERAGE, "pro-1", 1000, 800, 1)])
    counter.desk.behind = (
        ExplainedConversation(
            conversation_id="conv_1", owner="ada@example.com", turns=1, calls=10, billed_tokens=1000
        ),
    )
    tokens = 0
    after: int | None = 0
    while after is not None:
        path = f"invoices/inv_1/lines/1/explanation?limit=4&after={after}"
        _, page = await counter.call("GET", path)
        tokens += sum(call["billed_tokens"] for call in page["calls"])
        after = page["next_after"]
    assert tokens == page["line"]["quantity"] == page["conversations"][0]["billed_tokens"]
    assert page["calls"][-1]["estimated"] is True
    assert (await counter.call("GET", "invoices/inv_1/lines/2/explanation"))[0] == 404
    for wrong in ("0", "x", "-1", "1" * 30):
        path = f"invoices/inv_1/lines/{wrong}/explanation"
        assert (await counter.call("GET", path))[0] == 422


async def test_usage_is_shown_by_day(counter: Counter) -> None:
    """Both days are included; this month where none is named; costs are whole numbers."""
    day_ms = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1000)
    row = UsageRow(
        day_ms=day_ms,
        model="claude-sonnet-5-5",
        own_key=False,
        calls=2,
        estimated_calls=1,
        usage=Usage(input_tokens=10, cache_read_tokens=5),
        cost_pico=21_500_000,
        unpriced_calls=0,
    )
    counter.desk.rows.append(row)
    _, shown = await counter.call("GET", "usage/history")
    assert shown["days"][0]["day"] == "2026-11-01"
    assert shown["days"][0]["cost_pico_usd"] == 21_500_000
    assert shown["days"][0]["usage"]["cache_read_tokens"] == 5
    await counter.call("GET", "usage/history?from=2026-11-01&to=2026-11-01")
    day = 86_400_000
    assert counter.desk.asked == [
        ("ten_1", day_ms, day_ms + 30 * day),
        ("ten_1", day_ms, day_ms + day),
    ]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("from=2026-11-02&to=2026-11-01", "bad_range"),
        ("from=2025-11-01&to=2026-11-02", "bad_range"),
        ("from=yesterday", "bad_request"),
        ("from=2026-02-30", "bad_request"),
    ],
)
async def test_a_range_of_days_is_checked(counter: Counter, query: str, code: str) -> None:
    """At most 366 days, in their order, that exist."""
    status, problem = await counter.call("GET", f"usage/history?{query}")
    assert (status, problem["code"]) == (422, code)
    assert (await counter.call("GET", "usage/history?from=2024-01-01&to=2024-12-31"))[0] == 200


async def test_the_month_and_budgets_are_shown(counter: Counter) -> None:
    """Tokens, per cent and forecast; a budget is set, listed and removed."""
    counter.desk.used = 50_000
    _, month = await counter.call("GET", "usage/current")
    assert (month["used_tokens"], month["percent"], month["included_tokens"]) == (
        50_000,
        50,
        100_000,
    )
    assert month["forecast_tokens"] > 50_000
    body = {"scope": "user", "subject": "u_viewer", "tokens": 5000}
    assert await counter.call("PUT", "usage/budgets", body) == (200, body)
    assert (await counter.call("GET", "usage/budgets"))[1] == {"budgets": [body]}
    await counter.call("PUT", "usage/budgets", {**body, "tokens": 0})
    assert (await counter.call("GET", "usage/budgets"))[1] == {"budgets": []}
    for wrong in ({**body, "tokens": -1}, {**body, "scope": "galaxy"}, {**body, "tokens": 2**70}):
        assert (await counter.call("PUT", "usage/budgets", wrong))[0] == 422


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("not_found", 404),
        ("unknown_method", 422),
        ("choose_method", 422),
        ("already_paid", 409),
        ("a_code_of_tomorrow", 409),
        ("provider_unreachable", 503),
    ],
)
async def test_refusals_have_their_status(counter: Counter, code: str, status: int) -> None:
    """The code and the sentence stay as they are; a code that nobody told of is no crash."""
    counter.desk.bill([line(LineKind.BASE, "pro-1", 1, 4999, 4999)])
    counter.desk.fails = Rejected(code=code, sentence="Why not.")
    seen, problem, headers = await counter.full("POST", "invoices/inv_1/pay", {})
    assert (seen, problem["code"], problem["detail"]) == (status, code, "Why not.")
    assert ("Retry-After" in headers) == (status == 503)


async def test_a_notification_is_taken_in_raw(counter: Counter) -> None:
    """Without a token, byte for byte, its headers found in any case; answered with nothing."""
    body = b'{"a" : 1}\r\n\xff'
    status, said, _ = await counter.full(
        "POST", "webhooks/fake", body, who="", **{"X-Signature": "good"}
    )
    assert (status, said) == (200, b"")
    assert counter.desk.received == [("fake", body, "good")]


async def test_a_notification_that_is_not_ours_is_refused(counter: Counter) -> None:
    """A bad signature is 400, an unknown provider 404, more than a megabyte 413."""
    good = {"X-Signature": "good"}
    status, problem, _ = await counter.full("POST", "webhooks/fake", b"{}", who="")
    assert (status, problem["code"]) == (400, "bad_signature")
    status, problem, _ = await counter.full("POST", "webhooks/other", b"{}", who="", **good)
    assert (status, problem["code"]) == (404, "unknown_provider")
    large = b"x" * (MAX_NOTIFICATION + 1)
    status, problem, _ = await counter.full("POST", "webhooks/fake", large, who="", **good)
    assert (status, problem["code"]) == (413, "content_too_large")
    assert (await counter.full("POST", "webhooks/fake", large[1:], who="", **good))[0] == 200
    assert len(counter.desk.received) == 1
