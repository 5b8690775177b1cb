"""The inbox of payment notifications, and the operator's marks, which are kept like them.

A notification was verified before it comes here; what it says is kept with its raw body, as
its signature is too old to be verified again when it is worked on.
"""

from __future__ import annotations

import base64
import json

import sqlalchemy as sa

from billing.money import Money
from billing.payment_rules import MINUTE_MS
from billing.payment_store import Mark, StoredEvent
from billing.payments import Notification, PaymentNews, PaymentStatus
from billing.providers.manual import NAME as MANUAL
from storage.database import Database, execute
from storage.outbox import publish
from storage.rows import blob, integer, text

LEASE_MS = 2 * MINUTE_MS
"""How long a worker may take over a notification before another one tries."""
KEPT_MS = 90 * 24 * 60 * MINUTE_MS
"""How long what a notification said is kept. Its id is kept for ever, a mark's words too: they
say who saw the money."""
_BATCH = 500


def keep(
    conn: sa.Connection, provider: str, notification: Notification, body: bytes, at_ms: int
) -> None:
    """Store it once; one without news of a payment is done with."""
    news = notification.news
    _insert(
        conn,
        provider=provider,
        event_id=notification.event_id,
        payload=_written(news, body) if news else None,
        at_ms=at_ms,
        processed_at_ms=None if news else at_ms,
        not_before_ms=at_ms,
        attempts=0,
    )


def mark(conn: sa.Connection, said: Mark, at_ms: int) -> StoredEvent:
    """Store the operator's word on a payment, taken by the caller; the first one counts."""
    news = PaymentNews(
        provider_payment_id=said.payment_id,
        payment_id=said.payment_id,
        status=PaymentStatus.SUCCEEDED,
        received=said.received,
    )
    words = json.dumps({"by": said.by, "reference": said.reference}, ensure_ascii=False)
    event_id = _mark_id(said.payment_id)
    _insert(
        conn,
        provider=MANUAL,
        event_id=event_id,
        payload=_written(news, words.encode()),
        at_ms=at_ms,
        processed_at_ms=None,
        not_before_ms=at_ms + LEASE_MS,
        attempts=1,
    )
    first = _marked_news(conn, said.payment_id) or news
    return StoredEvent(provider=MANUAL, event_id=event_id, news=first, attempts=1)


def marked(conn: sa.Connection, payment_id: str) -> Money | None:
    """What the operator said that came."""
    news = _marked_news(conn, payment_id)
    return news.received if news else None


def waiting(conn: sa.Connection, at_ms: int, limit: int) -> tuple[StoredEvent, ...]:
    """Take those whose time has come; a worker that dies over one has used a try."""
    rows = execute(
        conn,
        "SELECT provider, event_id, payload, attempts FROM webhook_events"
        " WHERE processed_at IS NULL AND not_before <= :at"
        " ORDER BY not_before LIMIT :limit{lock}",
        at=at_ms,
        limit=limit,
    ).all()
    taken = tuple(
        StoredEvent(
            provider=text(row[0]),
            event_id=text(row[1]),
            news=_read(blob(row[2])),
            attempts=integer(row[3]) + 1,
        )
        for row in rows
    )
    for event in taken:
        execute(
            conn,
            "UPDATE webhook_events SET attempts = attempts + 1, not_before = :lease"
            " WHERE provider = :provider AND event_id = :id",
            provider=event.provider,
            id=event.event_id,
            lease=at_ms + LEASE_MS,
        )
    return taken


def processed(conn: sa.Connection, event: StoredEvent, at_ms: int) -> None:
    """Done with; the first one who says so counts."""
    execute(
        conn,
        "UPDATE webhook_events SET processed_at = :at, problem = ''"
        " WHERE provider = :provider AND event_id = :id AND processed_at IS NULL",
        provider=event.provider,
        id=event.event_id,
        at=at_ms,
    )


def failed(
    conn: sa.Connection, event: StoredEvent, problem: str, at_ms: int, *, retry_at_ms: int | None
) -> None:
    """Try again at ``retry_at_ms``; None: put it aside and alarm the operator.

    Nobody knows whose payment it is, so the alarm names no tenant.
    """
    row = execute(
        conn,
        "UPDATE webhook_events SET problem = :problem, not_before = :again,"
        " processed_at = CAST(:done AS BIGINT)"
        " WHERE provider = :provider AND event_id = :id AND processed_at IS NULL"
        " RETURNING event_id",
        provider=event.provider,
        id=event.event_id,
        problem=problem,
        again=at_ms if retry_at_ms is None else retry_at_ms,
        done=at_ms if retry_at_ms is None else None,
    ).first()
    if row is not None and retry_at_ms is None:
        publish(
            conn,
            f"alarm/notification/{event.provider}/{event.event_id}",
            "",
            "billing.alarm",
            {"reason": problem, "provider": event.provider, "event_id": event.event_id},
            at_ms,
        )


async def purge(db: Database, at_ms: int) -> int:
    """Forget what notifications said 90 days ago; their ids stay. How many there were."""
    return await db.transaction(_purge, at_ms - KEPT_MS)


def _purge(conn: sa.Connection, before_ms: int) -> int:
    rows = execute(
        conn,
        "UPDATE webhook_events SET payload = NULL WHERE (provider, event_id) IN"
        " (SELECT provider, event_id FROM webhook_events WHERE payload IS NOT NULL"
        " AND received_at < :before AND processed_at IS NOT NULL AND provider <> :manual"
        " LIMIT :limit) RETURNING event_id",
        before=before_ms,
        manual=MANUAL,
        limit=_BATCH,
    ).all()
    return len(rows)


def _insert(
    conn: sa.Connection,
    *,
    provider: str,
    event_id: str,
    payload: bytes | None,
    at_ms: int,
    processed_at_ms: int | None,
    not_before_ms: int,
    attempts: int,
) -> None:
    execute(
        conn,
        "INSERT INTO webhook_events (provider, event_id, payload, received_at, processed_at,"
        " attempts, not_before) VALUES (:provider, :id, :payload, :at, :done, :attempts, :next)"
        " ON CONFLICT (provider, event_id) DO NOTHING",
        provider=provider,
        id=event_id,
        payload=payload,
        at=at_ms,
        done=processed_at_ms,
        attempts=attempts,
        next=not_before_ms,
    )


def _mark_id(payment_id: str) -> str:
    return f"mark/{payment_id}"


def _marked_news(conn: sa.Connection, payment_id: str) -> PaymentNews | None:
    row = execute(
        conn,
        "SELECT payload FROM webhook_events WHERE provider = :manual AND event_id = :id",
        manual=MANUAL,
        id=_mark_id(payment_id),
    ).first()
    return None if row is None else _read(blob(row[0]))


def _written(news: PaymentNews, body: bytes) -> bytes:
    """The news beside the body they were read from."""
    received = news.received
    document = {
        "payment": news.provider_payment_id,
        "status": str(news.status),
        "received": [received.minor, received.currency] if received else None,
        "account": news.account,
        "reference": news.payment_id,
        "hard_decline": news.hard_decline,
        "body": base64.b64encode(body).decode(),
    }
    return json.dumps(document, ensure_ascii=False).encode()


def _read(payload: bytes) -> PaymentNews:
    document = json.loads(payload)
    received = document["received"]
    return PaymentNews(
        provider_payment_id=document["payment"],
        status=PaymentStatus(document["status"]),
        received=Money(*received) if received else None,
        account=document["account"],
        payment_id=document["reference"],
        hard_decline=document["hard_decline"],
    )
