"""Idempotency keys of requests, with the answers that were given."""

from __future__ import annotations

import sqlalchemy as sa

from core.clock import Clock
from core.idempotency import KEPT_MS, Claim, Claimed, Kept, Keyed, judge
from storage.database import Database, execute
from storage.rows import integer, text

_ONE = " WHERE tenant_id = :tenant AND user_id = :user AND key = :key"


class SqlKeys:
    """Implements ``bots.web.idempotency.Keys``."""

    def __init__(self, db: Database, clock: Clock) -> None:
        """Wire the database and the clock that keys age by."""
        self._db = db
        self._clock = clock

    async def claim(self, request: Keyed) -> Claim:
        """See the port."""
        return await self._db.transaction(claim, request, self._clock.now_ms())

    async def keep(self, claimed: Claimed, status: int, answer: str) -> None:
        """See the port."""
        await self._db.transaction(keep, claimed, Kept(status=status, answer=answer))

    async def release(self, claimed: Claimed) -> None:
        """See the port."""
        await self._db.transaction(release, claimed)


def claim(conn: sa.Connection, request: Keyed, at_ms: int) -> Claim:
    """Take the key, or say what became of the request that took it."""
    inserted = execute(
        conn,
        "INSERT INTO idempotency_keys"
        " (tenant_id, user_id, key, request_hash, status, answer, created_at)"
        " VALUES (:tenant, :user, :key, :hash, NULL, '', :at)"
        " ON CONFLICT (tenant_id, user_id, key) DO NOTHING RETURNING key",
        hash=request.request_hash,
        at=at_ms,
        **_named(request),
    ).first()
    if inserted is not None:
        return Claimed(request=request, at_ms=at_ms)
    row = execute(
        conn,
        "SELECT request_hash, status, answer, created_at FROM idempotency_keys" + _ONE + "{row}",
        **_named(request),
    ).first()
    if row is None:  # released or purged between the two statements
        return claim(conn, request, at_ms)
    kept = None if row[1] is None else Kept(status=integer(row[1]), answer=text(row[2]))
    judged = judge(request, at_ms, request_hash=text(row[0]), kept=kept, since_ms=integer(row[3]))
    if isinstance(judged, Claimed):
        execute(
            conn,
            "UPDATE idempotency_keys SET request_hash = :hash, status = NULL, answer = '',"
            " created_at = :at" + _ONE,
            hash=request.request_hash,
            at=at_ms,
            **_named(request),
        )
    return judged


def keep(conn: sa.Connection, claimed: Claimed, kept: Kept) -> None:
    """Keep the answer, unless another process took the request over meanwhile."""
    execute(
        conn,
        "UPDATE idempotency_keys SET status = :status, answer = :answer"
        + _ONE
        + " AND status IS NULL AND created_at = :at",
        status=kept.status,
        answer=kept.answer,
        at=claimed.at_ms,
        **_named(claimed.request),
    )


def release(conn: sa.Connection, claimed: Claimed) -> None:
    """Let the key go: the request came to nothing that may be told again."""
    execute(
        conn,
        "DELETE FROM idempotency_keys" + _ONE + " AND status IS NULL AND created_at = :at",
        at=claimed.at_ms,
        **_named(claimed.request),
    )


def purge(conn: sa.Connection, at_ms: int, n: int) -> int:
    """Forget at most ``n`` keys that are too old to count; how many there were."""
    rows = execute(
        conn,
        "SELECT tenant_id, user_id, key FROM idempotency_keys WHERE created_at <= :cut"
        " ORDER BY created_at LIMIT :n",
        cut=at_ms - KEPT_MS,
        n=n,
    ).all()
    for row in rows:
        execute(
            conn,
            # A key may have been taken anew since it was read.
            "DELETE FROM idempotency_keys" + _ONE + " AND created_at <= :cut",
            cut=at_ms - KEPT_MS,
            tenant=text(row[0]),
            user=text(row[1]),
            key=text(row[2]),
        )
    return len(rows)


def _named(request: Keyed) -> dict[str, str]:
    return {"tenant": request.tenant_id, "user": request.user_id, "key": request.key}
