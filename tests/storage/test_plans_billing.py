"""The statements of billing find their rows by an index, on both databases."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from billing.desk import Budget, InvoicePage
from billing.events import InProcessBus
from billing.invoices import Invoice, InvoiceStatus, LineKind
from billing.payment_rules import SESSION_MS
from billing.payment_service import PaymentService
from billing.payments import Notification, Payment, PaymentNews, PaymentStatus, Providers
from billing.periods import DAY_MS
from billing.providers.manual import ManualConfig, ManualProvider
from billing.quota import LEASE_MS
from billing.relay import Relay
from core.idempotency import KEPT_MS, Claimed, Keyed
from core.metering import CallRequest, Settlement, Usage
from core.streams import START as FIRST
from core.turns import Ending, Outcome, Turn
from storage import idempotency, payment_events
from storage.admission import SqlQuota, sweep
from storage.announcements import SqlNotices
from storage.billing_run import BillingRun
from storage.columns import metadata
from storage.consumers import consumers
from storage.database import DRIVER, Database
from storage.idempotency import SqlKeys
from storage.invoices import SqlInvoices, issue
from storage.leases import SqlLeases
from storage.metering import settle
from storage.operator_billing import SqlOperatorInvoices
from storage.outbox import SqlOutbox
from storage.payments import SqlPayments
from storage.postgres import PostgresDatabase
from storage.reconcile import reconcile_nightly
from storage.streams import SqlStreamLog
from storage.turnlog import SqlTurnLog
from storage.usage_desk import SqlUsage
from tests.fakes.payments import FakePayments
from tests.storage.invoice_kit import Office
from tests.storage.kit import WORKER, accept, message
from tests.storage.plan_kit import DECEMBER, HOUR, SELLER, START, Shop, shop

HARMLESS = {"workers", "tenants", "plan_versions", "installation"}
"""Small tables that may be read as a whole: plans are few, and the nightly check visits teams."""
NEWEST = "FROM invoices WHERE status <> 'draft' AND (CAST("
"""The operator's page: it follows the index of ids from its end, as far as its LIMIT."""
VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE")
WAITING = {
    "conversations_leased",
    "invoices_dunning",
    "model_calls_open",
    "outbox_unsent",
    "outbox_waiting",
    "payments_poll",
    "turns_active",
    "webhook_events_open",
}
"""Indexes that hold only what is open: to walk one of these is to look at what waits."""
HOT = {
    "invoices_dunning",
    "invoices_open",
    "invoices_tenant",
    "model_calls_open",
    "model_calls_position",
    "outbox_sent",
    "outbox_waiting",
    "payments_poll",
    "plan_segments_tenant",
    "subscriptions_due",
    "subscriptions_live",
    "subscriptions_trials",
    "webhook_events_open",
}
"""Indexes that were made for a query each, which uses them."""


@dataclass
class Plans:
    """What the plans of statements are made of."""

    walks: set[str] = field(default_factory=set)
    """Steps that look at a whole table, with their statements."""
    indexes: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Recorded:
    """What a database ran; the values stand in the text on SQLite, beside it on PostgreSQL."""

    db: Database
    seen: dict[str, Any]

    async def begin(self) -> None:
        """Write down what is run from now on."""
        if isinstance(self.db, PostgresDatabase):
            await self.db.transaction(_keep_unknown)
            sa.event.listen(self.db.engine.sync_engine, "before_cursor_execute", self._note)
        else:
            await self.db.transaction(self._trace)
            await self.db.read(self._trace)

    def _trace(self, conn: sa.Connection) -> None:
        driver: sqlite3.Connection = conn.info[DRIVER]
        driver.set_trace_callback(lambda statement: self.seen.setdefault(statement, ()))

    def _note(self, *told: Any) -> None:
        """SQLAlchemy's event: connection, cursor, statement, its values and more."""
        _conn, _cursor, statement, values = told[:4]
        self.seen.setdefault(statement, values)

    async def plans(self) -> Plans:
        """How the database would run every statement again."""
        statements = {
            text: values
            for text, values in self.seen.items()
            if text.lstrip().upper().startswith(VERBS) and NEWEST not in text
        }
        postgres = isinstance(self.db, PostgresDatabase)
        return await self.db.transaction(_of_postgres if postgres else _of_sqlite, statements)


def _keep_unknown(conn: sa.Connection) -> None:
    """No statistics in the middle of the test: that a table holds two rows decides nothing."""
    for name in metadata.tables:
        conn.exec_driver_sql(f"ALTER TABLE {name} SET (autovacuum_enabled = false)")


def _of_sqlite(conn: sa.Connection, statements: dict[str, Any]) -> Plans:
    """A SCAN is one of a table, or of an index that holds every row of it."""
    driver: sqlite3.Connection = conn.info[DRIVER]
    driver.set_trace_callback(None)
    tables = {row[0] for row in driver.execute("SELECT tbl_name FROM sqlite_master")} - HARMLESS
    plans = Plans()
    for statement in statements:
        aliases = _aliases(statement)
        for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}"):
            words = row[3].split()
            plans.indexes.update(words)
            table = aliases.get(words[1], words[1]) if len(words) > 1 else ""
            if words[0] == "SCAN" and table in tables and not WAITING & set(words):
                plans.walks.add(f"{row[3]}: {statement}")
    return plans


def _aliases(statement: str) -> dict[str, str]:
    """``FROM model_calls m``: the names that a plan calls tables by."""
    bare = statement.replace("(", " ").replace(")", " ").replace(",", " ").replace(" AS ", " ")
    words = bare.split()
    return {
        words[at + 2]: words[at + 1]
        for at, word in enumerate(words[:-2])
        if word.upper() in {"FROM", "JOIN"}
    }


def _of_postgres(conn: sa.Connection, statements: dict[str, Any]) -> Plans:
    """Tables are walked only where nothing else is possible: these ones are nearly empty."""
    for way in ("seqscan", "hashjoin", "mergejoin"):
        conn.exec_driver_sql(f"SET LOCAL enable_{way} = off")
    plans = Plans()
    for statement, values in statements.items():
        plan = conn.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values).scalar_one()
        top = json.loads(plan) if isinstance(plan, str) else plan
        for node in _nodes(top[0]["Plan"]):
            plans.indexes.add(str(node.get("Index Name")))
            if _walks(node):
                plans.walks.add(f"{node['Node Type']} {node.get('Relation Name')}: {statement}")
    return plans


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from _nodes(inner)


def _walks(node: dict[str, Any]) -> bool:
    if node.get("Relation Name") in HARMLESS:
        return False
    if node["Node Type"] == "Seq Scan":
        return True
    by_index = node["Node Type"] in {"Index Scan", "Index Only Scan", "Bitmap Index Scan"}
    return by_index and "Index Cond" not in node and node["Index Name"] not in WAITING


async def test_billing_walks_no_table(db: Database) -> None:
    """From a call to the reminder of its invoice, no statement reads every row there is."""
    house = await shop(db)
    recorded = Recorded(db, {})
    await recorded.begin()
    await _use(house)
    await _plans(house)
    await _payments(house)
    await _month(house)
    await _books(house)
    await _repeated(house)
    assert len(recorded.seen) > 150
    plans = await recorded.plans()
    assert plans.walks == set()
    assert HOT - plans.indexes == set()


async def test_a_walk_is_noticed(db: Database) -> None:
    """The test above would fail: a table without a fitting index is found in the plan."""
    recorded = Recorded(db, {"SELECT id FROM invoices WHERE total = 3": ()})
    (walk,) = (await recorded.plans()).walks
    assert "total = 3" in walk


async def _use(house: Shop) -> None:
    """A call under a budget, from its reservation to its event; one that a crash cut off."""
    db, at = house.db, house.clock.at
    await SqlLeases(db).beat(WORKER, 10_000, ())
    turn = (await accept(db, message(house.admin, 1))).leased
    assert turn is not None
    usage = SqlUsage(db, house.clock)
    for scope, subject in (("user", house.admin.id), ("conversation", ""), ("turn", "")):
        budget = Budget(scope=scope, subject=subject, tokens=50_000)
        await usage.set_budget(house.tenant, budget, user_id=house.admin.id)
    await usage.budgets(house.tenant)
    quota = SqlQuota(db)
    await quota.reserve(_call(turn, 1), at, overage=True)
    await quota.reserve(replace(_call(turn, 2), estimated_input=60_000), at, overage=True)
    await quota.reserve(_call(turn, 3), at, overage=True)
    await quota.service(house.tenant, at)
    await db.transaction(settle, Settlement(call_id=_call(turn, 1).id, usage=Usage(input_tokens=9)))
    assert await sweep(db, at + 2 * LEASE_MS) == 1
    await SqlLeases(db).beat(WORKER, 10_000, (turn,))
    log = SqlTurnLog(db, b"k" * 32, WORKER)
    ending = Ending(outcome=Outcome.FAILED, reply="", failure="over_quota")
    await log.finish(turn, ending, events=(), settlements=(), deliver=False)
    await SqlStreamLog(db).read_stream(turn.tenant_id, turn.id, FIRST)
    await usage.current(house.tenant)
    await usage.history(house.tenant, from_ms=START, to_ms=at + DAY_MS)
    await _relay(house)


def _call(turn: Turn, number: int) -> CallRequest:
    return CallRequest(
        id=f"{turn.id}.{turn.attempt}.{number}",
        tenant_id=turn.tenant_id,
        conversation_id=turn.conversation_id,
        turn_id=turn.id,
        user_id=turn.user.id,
        engine="e",
        model="m",
        estimated_input=10,
        max_output=20,
    )


async def _relay(house: Shop) -> None:
    """Everything that was told reaches its consumers; one event is put aside and tried again."""
    outbox = SqlOutbox(house.db)
    bus = InProcessBus(consumers(house.db, house.clock))
    relay = Relay(outbox=outbox, bus=bus, clock=house.clock)
    (first, *_) = await outbox.claim(house.clock.at, 1, 1)
    await outbox.failed(first, "x", house.clock.at, retry_at_ms=None)
    assert await outbox.put_aside()
    assert await outbox.retry(first.id)
    await outbox.release()
    while await relay.step():
        pass


async def _plans(house: Shop) -> None:
    """Bought, paid, cancelled, taken back, and a smaller plan noted."""
    plans, tenant, user = house.plans, house.tenant, house.admin.id
    house.day(2)
    await plans.limits(tenant)
    await house.buy("pro")
    await plans.standing(tenant)
    await plans.cancel(tenant, user_id=user)
    await plans.reactivate(tenant, user_id=user)
    await plans.trial(tenant, "pro")
    await house.order("enterprise")
    await SqlNotices(house.db).notice(tenant, "none")
    await _relay(house)


async def _payments(house: Shop) -> None:
    """A card is tried, its provider tells, asks and is asked; the operator marks the rest."""
    db, clock, store = house.db, house.clock, SqlPayments(house.db)
    card = FakePayments(clock)
    by_hand = ManualProvider(ManualConfig(instructions="Transfer it."), store)
    service = PaymentService(store, Providers(by_name={"card": card, "manual": by_hand}), clock)
    (invoice, *_) = (await _page(house)).values()
    payment = await service.pay(house.tenant, invoice.id, "card")
    assert isinstance(payment, Payment)
    await service.payments(house.tenant, invoice.id)
    for n, theirs in enumerate((payment.provider_payment_id or "", "unknown")):
        news = PaymentNews(
            provider_payment_id=theirs, payment_id="pay_0", status=PaymentStatus.PROCESSING
        )
        await store.keep("card", Notification(event_id=f"e{n}", news=news), b"{}", clock.at)
    for minutes in (0, 30, 200):
        clock.at += minutes * 60_000
        while await service.work():
            pass
    await service.mark_paid(str(invoice.number), reference="r", by="op")
    clock.at += SESSION_MS
    while await service.work():
        pass
    await payment_events.purge(db, clock.at + 100 * DAY_MS)


async def _page(house: Shop) -> dict[str, Invoice]:
    """The team's invoices by id, the newest first, one on a page."""
    desk = SqlInvoices(house.db, house.clock)
    found: dict[str, Invoice] = {}
    cursor: str | None = ""
    while cursor is not None:
        page = await desk.invoices(house.tenant, cursor=cursor or None, limit=1)
        assert isinstance(page, InvoicePage)
        found |= {invoice.id: invoice for invoice in page.invoices}
        cursor = page.next_cursor
    return found


async def _month(house: Shop) -> None:
    """The month is closed, its overage explained, its invoice reminded of and given up."""
    await house.use(30_000_000)
    run = BillingRun(house.db, house.clock, SELLER)
    house.clock.at = DECEMBER.start_ms + 2 * HOUR
    report = await run.run()
    assert (report.billed, report.failed) == (1, 0), report
    desk = SqlInvoices(house.db, house.clock)
    for invoice in (await _page(house)).values():
        for number, one in enumerate(invoice.lines, 1):
            await desk.explain(house.tenant, invoice.id, number, after=0, limit=5)
            if one.kind is LineKind.OVERAGE:
                await desk.explain(house.tenant, invoice.id, number, after=9, limit=5)
    await _relay(house)
    for day in (20, 40, 80):
        await run.run(DECEMBER.start_ms + day * DAY_MS)
    await reconcile_nightly(house.db, house.clock)
    assert await SqlOutbox(house.db).purge(START + 400 * DAY_MS)


async def _books(house: Shop) -> None:
    """What the team and the operator read and put right."""
    desk, operator = SqlInvoices(house.db, house.clock), SqlOperatorInvoices(house.db, house.clock)
    draft = Office(house.db, house.tenant).draft("k", 500, 70)
    made = await house.db.transaction(issue, draft, house.clock.at, SELLER)
    number = str(made.number)
    await desk.invoice(house.tenant, number)
    await desk.credit(house.tenant, number, 9, reason="x", by="op")
    await desk.credit_notes(house.tenant, made.id)
    await desk.review(house.tenant, number)
    await operator.page(status=None, limit=5)
    await operator.page(status=InvoiceStatus.OPEN, limit=5)
    await operator.credit(number, 9, reason="x", by="op")
    await operator.void(number, by="op")


async def _repeated(house: Shop) -> None:
    """A request comes twice; its key is forgotten when it is old."""
    keys = SqlKeys(house.db, house.clock)
    asked = Keyed(tenant_id=house.tenant, user_id=house.admin.id, key="k", request_hash="h")
    claimed = await keys.claim(asked)
    assert isinstance(claimed, Claimed)
    await keys.keep(claimed, 200, "{}")
    await keys.claim(asked)
    await keys.release(claimed)
    assert await house.db.transaction(idempotency.purge, house.clock.at + 2 * KEPT_MS, 5) == 1
