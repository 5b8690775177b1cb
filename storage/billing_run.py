"""The monthly run: "bill everything that is due", as often as wanted.

One transaction for each tenant: whatever stops the run, the tenants that it came to are billed
and the others are billed by the next one. What an invoice is for is its unique key, so no run,
second run or run beside it makes it twice. Rows are read in pages: memory does not grow with
the number of tenants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa
import structlog

from billing.dunning import Step, step_at
from billing.events import Kind
from billing.invoices import Invoice, InvoiceKind, Party
from billing.subscriptions import Happening, Status
from core.clock import Clock
from core.errors import It0Error
from storage.billing_month import GRACE_MS, Closed, close_months
from storage.database import Database, execute
from storage.invoice_endings import locked
from storage.invoices import void, write_off
from storage.outbox import publish
from storage.rows import integer, text
from storage.subscriptions import current, end_trial, happened

BATCH = 200
PROBLEMS_TOLD = 100
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A tenant that was left out, and why; the next run tries it again."""

    tenant_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What a run did."""

    billed: int = 0
    """Invoices issued."""
    renewed: int = 0
    """Periods that ended and were followed by the next one, with an invoice or without."""
    skipped: int = 0
    """Tenants whose month cannot be closed yet: usage of it is still being counted."""
    trials_ended: int = 0
    voided: int = 0
    """Upgrades that nobody paid in time."""
    reminded: int = 0
    given_up: int = 0
    failed: int = 0
    """Tenants that were left out."""
    problems: tuple[Problem, ...] = ()
    """The first hundred of them."""


@dataclass(slots=True)
class _Tally:
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, name: str, more: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + more

    def failed(self, tenant_id: str, reason: str) -> None:
        self.add("failed")
        if len(self.problems) < PROBLEMS_TOLD:
            self.problems.append(Problem(tenant_id=tenant_id, reason=reason))

    def report(self) -> RunReport:
        return RunReport(**self.counts, problems=tuple(self.problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Due:
    """A row that a step of the run has to look at again, under its lock."""

    at: int
    id: str
    tenant_id: str


_Query = Callable[[sa.Connection, int, int, str], tuple[_Due, ...]]
_Work = Callable[[sa.Connection, _Due, int], _Tally]


class BillingRun:
    """Bills everything that is due."""

    def __init__(self, db: Database, clock: Clock, seller: Party) -> None:
        """Wire the database, the clock, and who sells."""
        self._db = db
        self._clock = clock
        self._seller = seller

    async def run(self, at_ms: int | None = None) -> RunReport:
        """Do what is due at that time; without one now. Raises ``StorageFailure``.

        A tenant that cannot be billed is left out with an alarm, and the run goes on.
        """
        at_ms = self._clock.now_ms() if at_ms is None else at_ms
        tally = _Tally()
        await self._each(_trials, self._end_trial, at_ms, tally)
        await self._each(_ended_periods, self._close, at_ms, tally)
        await self._each(_unpaid, _collect, at_ms, tally)
        report = tally.report()
        _log.info("billing.run", **tally.counts)
        return report

    async def _each(self, query: _Query, work: _Work, at_ms: int, tally: _Tally) -> None:
        """Page by page; a row that stays due is not met again in this run."""
        after, last = -1, ""
        while page := await self._db.read(query, at_ms, after, last):
            for due in page:
                try:
                    done = await self._db.transaction(work, due, at_ms)
                except (ValueError, LookupError, It0Error) as problem:
                    await self._leave_out(due, problem, at_ms, tally)
                    continue
                for name, more in done.counts.items():
                    tally.add(name, more)
            after, last = page[-1].at, page[-1].id

    async def _leave_out(self, due: _Due, problem: Exception, at_ms: int, tally: _Tally) -> None:
        """Tell the operator, once for each month or invoice; not of what passes by itself."""
        reason = f"{type(problem).__name__}: {problem}"
        _log.error("billing.left_out", tenant=due.tenant_id, due=due.id, reason=reason)
        tally.failed(due.tenant_id, reason)
        if not (isinstance(problem, It0Error) and problem.retryable):
            await self._db.transaction(_alarm, due, reason, at_ms)

    def _end_trial(self, conn: sa.Connection, due: _Due, at_ms: int) -> _Tally:
        done = _Tally()
        done.add("trials_ended", int(end_trial(conn, due.tenant_id, at_ms, self._seller)))
        return done

    def _close(self, conn: sa.Connection, due: _Due, at_ms: int) -> _Tally:
        closed: Closed = close_months(conn, due.tenant_id, at_ms, self._seller)
        done = _Tally()
        done.add("billed", closed.billed)
        done.add("renewed", closed.renewed)
        done.add("skipped", int(closed.waits))
        return done


def _alarm(conn: sa.Connection, due: _Due, reason: str, at_ms: int) -> None:
    payload = {"reason": reason, "due": due.id}
    publish(conn, f"alarm/run/{due.id}/{due.at}", due.tenant_id, Kind.BILLING_ALARM, payload, at_ms)


# -- what is due ------------------------------------------------------------------------------


def _trials(conn: sa.Connection, at_ms: int, after: int, last: str) -> tuple[_Due, ...]:
    return _page(
        conn,
        "SELECT trial_end, id, tenant_id FROM subscriptions WHERE ended_at IS NULL"
        " AND status = 'trialing' AND trial_end <= :at"
        " AND (trial_end > :after OR (trial_end = :after AND id > :last))"
        " ORDER BY trial_end, id LIMIT :limit",
        at_ms,
        after,
        last,
    )


def _ended_periods(conn: sa.Connection, at_ms: int, after: int, last: str) -> tuple[_Due, ...]:
    return _page(
        conn,
        "SELECT period_end, id, tenant_id FROM subscriptions WHERE ended_at IS NULL"
        " AND period_end <= :at AND period_end >= :after"
        " AND (period_end > :after OR id > :last) ORDER BY period_end, id LIMIT :limit",
        at_ms - GRACE_MS,
        after,
        last,
    )


def _unpaid(conn: sa.Connection, at_ms: int, after: int, last: str) -> tuple[_Due, ...]:
    return _page(
        conn,
        "SELECT dunning_at, id, tenant_id FROM invoices WHERE dunning_at IS NOT NULL"
        " AND dunning_at <= :at AND dunning_at >= :after AND needs_review = 0"
        " AND (dunning_at > :after OR id > :last) ORDER BY dunning_at, id LIMIT :limit",
        at_ms,
        after,
        last,
    )


def _page(conn: sa.Connection, sql: str, at_ms: int, after: int, last: str) -> tuple[_Due, ...]:
    rows = execute(conn, sql, at=at_ms, after=after, last=last, limit=BATCH).all()
    return tuple(_Due(at=integer(row[0]), id=text(row[1]), tenant_id=text(row[2])) for row in rows)


# -- what is done -----------------------------------------------------------------------------


def _collect(conn: sa.Connection, due: _Due, at_ms: int) -> _Tally:
    """An invoice that is due: an upgrade lapses, of others the payer is reminded."""
    invoice = locked(conn, due.id)
    row = execute(
        conn, "SELECT dunning_step, dunning_at FROM invoices WHERE id = :id", id=due.id
    ).one()
    done = _Tally()
    if row[1] is None or integer(row[1]) > at_ms or invoice.needs_review:
        return done  # somebody else was here meanwhile
    if invoice.kind is InvoiceKind.UPGRADE:
        void(conn, invoice, at_ms)
        done.add("voided")
        return done
    taken = integer(row[0])
    step = _take_step(conn, invoice, taken, at_ms)
    done.add("reminded", int(step.number > taken))
    done.add("given_up", int(step.last))
    return done


def _take_step(conn: sa.Connection, invoice: Invoice, taken: int, at_ms: int) -> Step:
    """The step that is due: it is told, and what it means for the subscription happens."""
    step = step_at(invoice.due_at_ms or at_ms, taken, at_ms)
    live = current(conn, invoice.tenant_id, at_ms, lock="{row}")
    if live.status is Status.ACTIVE:
        live = happened(conn, live, Happening.OVERDUE, at_ms)
    execute(
        conn,
        "UPDATE invoices SET dunning_step = :step, dunning_at = CAST(:next AS BIGINT)"
        " WHERE id = :id",
        id=invoice.id,
        step=step.number,
        next=step.next_at_ms,
    )
    if step.number > taken:
        told = {"invoice_id": invoice.id, "step": step.number}
        key = f"overdue/{invoice.id}/{step.number}"
        publish(conn, key, invoice.tenant_id, Kind.INVOICE_OVERDUE, told, at_ms)
    if step.last:
        write_off(conn, invoice, at_ms)
        if live.status is Status.PAST_DUE:
            happened(conn, live, Happening.GIVEN_UP, at_ms)
    return step
