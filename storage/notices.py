"""What people are told of events: the ``notices`` consumer turns each into a sentence.

A change that was asked for in a conversation is told there, to whoever asked, while they are
an admin: the sentence may name what the team pays. Everything else goes to each admin, in
private. Figures are read when the event is consumed: what is no longer so by then (an invoice
that was paid meanwhile) is not told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from billing.dunning import LAST_STEP, OFF_DAY, READ_ONLY_DAY, REMINDER_DAYS
from billing.events import Event, Kind
from billing.money import Money
from billing.periods import DAY_MS, moment
from billing.quota import Limits
from core.words import Sentence, sentence
from storage.announcements import announce
from storage.database import execute
from storage.rows import integer, optional_text, text


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    message: Sentence
    user_id: str | None = None
    conversation_id: str | None = None
    """Where the change was asked for, by the user."""


def tell(conn: sa.Connection, event: Event, at_ms: int) -> None:
    """Announce what there is to tell."""
    news = _MAKERS[Kind(event.kind)](conn, event)
    if news is None:
        return
    told = 0
    if news.conversation_id is not None and _is_admin(conn, event.tenant_id, news.user_id):
        told = _announce(conn, event, news, news.user_id, news.conversation_id, at_ms)
    if not told:  # nobody asked for it in a conversation, or one of the two is gone
        _announce(conn, event, news, None, None, at_ms)


def _is_admin(conn: sa.Connection, tenant_id: str, user_id: str | None) -> bool:
    """Whether whoever asked for it may still know what the team pays."""
    row = execute(
        conn,
        "SELECT 1 FROM users WHERE id = :user AND tenant_id = :tenant AND role = 'admin'"
        " AND disabled_at IS NULL",
        user=user_id,
        tenant=tenant_id,
    ).first()
    return row is not None


def _announce(
    conn: sa.Connection,
    event: Event,
    news: _News,
    user_id: str | None,
    conversation_id: str | None,
    at_ms: int,
) -> int:
    return announce(
        conn,
        tenant_id=event.tenant_id,
        user_id=user_id,
        conversation_id=conversation_id,
        key=event.id,
        message=news.message,
        at_ms=at_ms,
    )


# -- the quota ----------------------------------------------------------------------------

_ALL: Final = 100


def _threshold(conn: sa.Connection, event: Event) -> _News | None:
    month = _month(conn, event)
    if month is None:
        return None
    percent, soft, most = event.number("percent"), month.limits.soft, month.limits.most
    values: dict[str, object] = {"percent": percent, "soft": soft, "end": month.end}
    if percent < _ALL:
        return _News(
            message=sentence(
                "Your team has used {percent} % of the {soft:,} tokens that its plan includes "
                "this month. The count begins anew on {end} (UTC). `/usage` shows where you "
                "stand, `/upgrade` what a larger plan costs.",
                **values,
            )
        )
    if most is not None and most <= soft:
        return _News(
            message=sentence(
                "Your team has used all of the {soft:,} tokens that its plan includes this "
                "month. Until {end} (UTC) I only read and answer offline. `/upgrade` shows what "
                "a larger plan costs.",
                **values,
            )
        )
    return _News(
        message=sentence(
            "Your team has used all of the {soft:,} tokens that its plan includes this month. I "
            "go on: what you use until {end} (UTC) is billed as overage. `/usage` shows what it "
            "comes to.",
            **values,
        )
    )


def _exceeded(conn: sa.Connection, event: Event) -> _News | None:
    month = _month(conn, event)
    if month is None or month.limits.hard is None:
        return None  # the safety cap has an alarm of its own
    if month.told >= _ALL and month.limits.hard <= month.limits.soft:
        return None  # the same limit, and they have been told of it
    return _News(
        message=sentence(
            "Your team has reached its limit of {most:,} tokens for this month. Until {end} "
            "(UTC) I only read and answer offline. `/upgrade` shows what a larger plan costs.",
            most=month.limits.hard,
            end=month.end,
        )
    )


def _cap(conn: sa.Connection, event: Event) -> _News | None:
    month = _month(conn, event)
    if month is None or month.limits.most is None:
        return None
    return _News(
        message=sentence(
            "Your team has reached the operator's safety limit of {most:,} tokens for this "
            "month. The operator has been told and can raise it; until then I only read and "
            "answer offline.",
            most=month.limits.most,
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Month:
    limits: Limits
    end: str
    """The day on which the next one begins."""
    told: int
    """The highest per cent of the allowance that was told."""


def _month(conn: sa.Connection, event: Event) -> _Month | None:
    row = execute(
        conn,
        "SELECT soft, hard, cap, period_end, told FROM quota_counters"
        " WHERE tenant_id = :tenant AND period_start = :start",
        tenant=event.tenant_id,
        start=event.number("period_start"),
    ).first()
    if row is None:
        return None
    limits = Limits(
        soft=integer(row[0]),
        hard=None if row[1] is None else integer(row[1]),
        cap=None if row[2] is None else integer(row[2]),
    )
    return _Month(limits=limits, end=_day(integer(row[3])), told=integer(row[4]))


# -- invoices, payments and the plan --------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bill:
    number: str
    due: Money
    total: Money
    due_at_ms: int
    open: bool
    user_id: str | None
    conversation_id: str | None


_BILL = """
SELECT i.number, i.currency, i.total - i.from_balance - i.paid - i.credited, i.total, i.due_at,
       i.status, q.user_id, q.conversation_id
FROM invoices i LEFT JOIN quotes q ON q.id = i.quote_id AND q.tenant_id = i.tenant_id
WHERE i.id = :id AND i.tenant_id = :tenant
"""


def _bill(conn: sa.Connection, event: Event) -> _Bill | None:
    row = execute(conn, _BILL, id=event.text("invoice_id"), tenant=event.tenant_id).first()
    if row is None or row[0] is None or row[4] is None:
        return None
    currency = text(row[1])
    return _Bill(
        number=text(row[0]),
        due=Money(max(0, integer(row[2])), currency),
        total=Money(integer(row[3]), currency),
        due_at_ms=integer(row[4]),
        open=row[5] == "open",
        user_id=optional_text(row[6]),
        conversation_id=optional_text(row[7]),
    )


def _issued(conn: sa.Connection, event: Event) -> _News | None:
    bill = _bill(conn, event)
    if bill is None or not bill.open or not bill.due.minor:
        return None
    if bill.conversation_id is not None:  # the answer there, which made the invoice, said it all
        return None
    message = sentence(
        "Invoice {number} is here: {amount} to be paid by {day}. `/invoices {number}` shows "
        "what it is for, `/pay {number}` how to pay.",
        number=bill.number,
        amount=str(bill.due),
        day=_day(bill.due_at_ms),
    )
    return _News(message=message)


def _overdue(conn: sa.Connection, event: Event) -> _News | None:
    bill, step = _bill(conn, event), event.number("step")
    if bill is None or (step < LAST_STEP and not (bill.open and bill.due.minor)):
        return None
    if step >= LAST_STEP:
        said = sentence(
            "Invoice {number} was not paid for {days} days after it was due: your plan has ended.",
            number=bill.number,
            days=REMINDER_DAYS[-1],
        )
        return _News(message=said)
    return _News(
        message=sentence(
            "Invoice {number} was due on {day}, and {amount} of it is not paid. {consequence} "
            "`/pay {number}` shows how to pay.",
            number=bill.number,
            day=_day(bill.due_at_ms),
            amount=str(bill.due),
            consequence=_consequence(step, bill.due_at_ms),
        )
    )


def _consequence(step: int, due_at_ms: int) -> Sentence:
    """What the step means for the service (``billing.dunning``)."""
    if REMINDER_DAYS[step - 1] >= OFF_DAY and step:
        return sentence(
            "I do no work until it is paid, and on {end} your plan ends.",
            end=_day(due_at_ms + REMINDER_DAYS[-1] * DAY_MS),
        )
    if REMINDER_DAYS[step - 1] >= READ_ONLY_DAY and step:
        return sentence(
            "Until it is paid I only read and answer offline; from {off} on I do no work.",
            off=_day(due_at_ms + OFF_DAY * DAY_MS),
        )
    return sentence(
        "Until it is paid, tokens over the allowance are refused; from {read_only} on I only "
        "read and answer offline.",
        read_only=_day(due_at_ms + READ_ONLY_DAY * DAY_MS),
    )


def _received(conn: sa.Connection, event: Event) -> _News | None:
    bill = _bill(conn, event)
    row = execute(
        conn,
        "SELECT received, received_currency FROM payments WHERE id = :id AND tenant_id = :tenant",
        id=event.text("payment_id"),
        tenant=event.tenant_id,
    ).first()
    if bill is None or row is None or not text(row[1]):
        return None
    amount, applied = str(Money(integer(row[0]), text(row[1]))), event.text("applied")
    return _News(
        message=_thanks(applied, amount, bill.number),
        user_id=bill.user_id,
        conversation_id=bill.conversation_id,
    )


def _thanks(applied: str, amount: str, number: str) -> Sentence:
    match applied:
        case "invoice":
            return sentence(
                "Thank you: {amount} came in for invoice {number}.", amount=amount, number=number
            )
        case "balance":
            return sentence(
                "{amount} came in for invoice {number}, which is closed already. It is kept as "
                "your balance and pays for what comes next.",
                amount=amount,
                number=number,
            )
        case _:
            return sentence(
                "{amount} came in for invoice {number}, which is not what was to be paid. "
                "Nothing has changed yet: the operator looks into it.",
                amount=amount,
                number=number,
            )


_QUOTE = """
SELECT q.user_id, q.conversation_id FROM quotes q JOIN plan_versions v ON v.id = q.version_id
WHERE q.tenant_id = :tenant AND q.subscription_id = :subscription AND v.plan = :plan
  AND q.used_at IS NOT NULL ORDER BY q.used_at DESC LIMIT 1
"""


def _changed(conn: sa.Connection, event: Event) -> _News | None:
    """The plan that is in effect now; other changes of a subscription are no news."""
    plan, before = event.text("plan"), event.text("from")
    if plan == before:
        return None
    row = execute(
        conn,
        _QUOTE,
        tenant=event.tenant_id,
        subscription=event.text("subscription_id"),
        plan=plan,
    ).first()
    message = sentence(
        "Your team is on the {plan} plan now; before, it was {before}. `/plan` shows what that "
        "includes.",
        plan=plan.title(),
        before=before.title(),
    )
    if row is None:
        return _News(message=message)
    return _News(
        message=message, user_id=optional_text(row[0]), conversation_id=optional_text(row[1])
    )


def _day(at_ms: int) -> str:
    """A day that reads the same in every language (ISO 8601)."""
    return moment(at_ms).date().isoformat()


_MAKERS: Final[Mapping[Kind, Callable[[sa.Connection, Event], _News | None]]] = {
    Kind.QUOTA_THRESHOLD: _threshold,
    Kind.QUOTA_EXCEEDED: _exceeded,
    Kind.QUOTA_ALARM: _cap,
    Kind.INVOICE_ISSUED: _issued,
    Kind.INVOICE_OVERDUE: _overdue,
    Kind.PAYMENT_RECEIVED: _received,
    Kind.SUBSCRIPTION_CHANGED: _changed,
}
KINDS: Final = frozenset[str](_MAKERS)
"""What the consumer wants to hear of."""
