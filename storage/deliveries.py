"""Posted parts, delivered replies, and the claim of replies that nobody delivered."""

from __future__ import annotations

import sqlalchemy as sa

from core.delivery import DueReply
from core.errors import Fenced
from core.messages import ConversationAddress
from core.private import is_private
from core.replies import Part
from core.sinks import Destination
from core.turns import Ending, Outcome, Turn
from storage.database import Database, execute, now_ms
from storage.endings import load_approvals, load_offer
from storage.rows import integer, optional_text, text

IN_ORDER_MS = 100_000
"""How long the next turn waits for a reply that did not reach its platform at once.

Answers stand in the order of their messages, unless a platform refuses one for longer.
"""


class SqlDeliveries:
    """Implements ``PartLog``, ``DeliveryLog`` and ``DueReplies`` of the core."""

    def __init__(self, db: Database) -> None:
        """Wire the database."""
        self._db = db

    async def parts(self, tenant_id: str, turn_id: str) -> tuple[Part, ...]:
        """See the port."""
        return await self._db.read(_parts, tenant_id, turn_id)

    async def save_part(self, to: Destination, part: Part, epoch: int | None) -> None:
        """See the port."""
        await self._db.transaction(_save_part, to, part, epoch)

    async def redeliver(self, to: Destination) -> None:
        """See the port; the next sweep, of whichever worker, delivers it."""
        await self._db.transaction(_redeliver, to)

    async def delivered(self, to: Destination, *, epoch: int | None, problem: str) -> None:
        """See the port."""
        await self._db.transaction(_delivered, to, epoch, problem)

    async def release(self, turn: Turn) -> None:
        """See the port."""
        await self._db.transaction(_release, turn)

    async def claim_undelivered(
        self, worker: str, *, platforms: tuple[str, ...], hold_ms: int, limit: int
    ) -> tuple[DueReply, ...]:
        """See the port."""
        if not platforms:
            return ()
        return await self._db.transaction(_claim_undelivered, worker, platforms, hold_ms, limit)

    async def renew(self, to: Destination, worker: str, hold_ms: int) -> bool:
        """See the port."""
        return await self._db.transaction(_renew, to, worker, hold_ms)

    async def put_off(self, to: Destination, worker: str, pause_ms: int) -> None:
        """See the port."""
        await self._db.transaction(_put_off, to, worker, pause_ms)


def _put_off(conn: sa.Connection, to: Destination, worker: str, pause_ms: int) -> None:
    execute(
        conn,
        "UPDATE turns SET deliverer = NULL, deliver_until = {now} + :pause WHERE id = :id"
        " AND tenant_id = :tenant AND deliverer = :me AND delivered_at IS NULL",
        id=to.turn_id,
        tenant=to.tenant_id,
        me=worker,
        pause=pause_ms,
    )


def _parts(conn: sa.Connection, tenant_id: str, turn_id: str) -> tuple[Part, ...]:
    rows = execute(
        conn,
        "SELECT part, ref, digest FROM deliveries WHERE turn_id = :turn AND tenant_id = :tenant"
        " ORDER BY part",
        turn=turn_id,
        tenant=tenant_id,
    ).all()
    return tuple(
        Part(number=integer(row[0]), ref=text(row[1]), digest=text(row[2])) for row in rows
    )


def _save_part(conn: sa.Connection, to: Destination, part: Part, epoch: int | None) -> None:
    if epoch is not None:
        held = execute(
            conn,
            "SELECT 1 FROM conversations c JOIN turns t ON t.conversation_id = c.id"
            " WHERE t.id = :turn AND t.tenant_id = :tenant AND c.lease_epoch = :epoch{share}",
            turn=to.turn_id,
            tenant=to.tenant_id,
            epoch=epoch,
        ).first()
        if held is None:
            raise Fenced("The conversation has another owner now.")
    execute(
        conn,
        "INSERT INTO deliveries (turn_id, part, tenant_id, ref, digest, updated_at)"
        " VALUES (:turn, :part, :tenant, :ref, :digest, {now})"
        " ON CONFLICT (turn_id, part) DO UPDATE SET ref = excluded.ref,"
        " digest = excluded.digest, updated_at = excluded.updated_at",
        turn=to.turn_id,
        part=part.number,
        tenant=to.tenant_id,
        ref=part.ref,
        digest=part.digest,
    )


def _redeliver(conn: sa.Connection, to: Destination) -> None:
    execute(
        conn,
        "UPDATE turns SET delivered_at = NULL, deliverer = NULL, deliver_until = 0"
        " WHERE id = :id AND tenant_id = :tenant AND delivered_at IS NOT NULL"
        " AND conversation_id IN (SELECT id FROM conversations WHERE deleted_at IS NULL)",
        id=to.turn_id,
        tenant=to.tenant_id,
    )


def _delivered(conn: sa.Connection, to: Destination, epoch: int | None, problem: str) -> None:
    _lock(conn, to.tenant_id, to.turn_id)
    if epoch is not None:  # the conversation before the turn, as everywhere: no deadlock
        _free(conn, to.tenant_id, to.turn_id, epoch)
    _go_on(conn, to)
    execute(
        conn,
        "UPDATE turns SET delivered_at = {now}, delivery_problem = :problem"
        " WHERE id = :id AND tenant_id = :tenant AND delivered_at IS NULL",
        id=to.turn_id,
        tenant=to.tenant_id,
        problem=problem or None,
    )


def _release(conn: sa.Connection, turn: Turn) -> None:
    """Leave the delivery to the sweeper, after a pause; the next turn waits for it a while."""
    _lock(conn, turn.tenant_id, turn.id)
    _free(conn, turn.tenant_id, turn.id, turn.epoch)
    execute(
        conn,
        "UPDATE conversations SET ready_at = {now} + :hold"
        " WHERE id = :cid AND tenant_id = :tenant AND lease_owner IS NULL AND EXISTS"
        " (SELECT 1 FROM turns t WHERE t.id = :turn AND t.delivered_at IS NULL)",
        hold=IN_ORDER_MS,
        cid=turn.conversation_id,
        tenant=turn.tenant_id,
        turn=turn.id,
    )
    execute(
        conn,
        "UPDATE turns SET deliverer = NULL, deliver_until = {now} + 5000 WHERE id = :id"
        " AND tenant_id = :tenant",
        id=turn.id,
        tenant=turn.tenant_id,
    )


def _lock(conn: sa.Connection, tenant_id: str, turn_id: str) -> None:
    """Lock the turn's conversation: whoever makes its next turn wait sees this, or is seen.

    In a statement of its own, so that the next one reads what was committed meanwhile.
    """
    execute(
        conn,
        "SELECT 1 FROM conversations WHERE tenant_id = :tenant"
        " AND id = (SELECT conversation_id FROM turns WHERE id = :turn){row}",
        tenant=tenant_id,
        turn=turn_id,
    ).first()


def _go_on(conn: sa.Connection, to: Destination) -> None:
    """The reply arrived at last: what waited for it may begin."""
    execute(
        conn,
        "UPDATE conversations SET ready_at = {now} WHERE ready_at > {now}"
        " AND tenant_id = :tenant AND id = (SELECT conversation_id FROM turns WHERE id = :turn)",
        tenant=to.tenant_id,
        turn=to.turn_id,
    )
    if conn.dialect.name == "postgresql":
        execute(conn, "SELECT pg_notify('turns', '')")


def _free(conn: sa.Connection, tenant_id: str, turn_id: str, epoch: int) -> bool:
    """End the lease; False when it was not ours any more."""
    freed = execute(
        conn,
        "UPDATE conversations SET lease_owner = NULL WHERE lease_epoch = :epoch"
        " AND tenant_id = :tenant AND id = (SELECT conversation_id FROM turns WHERE id = :turn)"
        " RETURNING id",
        epoch=epoch,
        tenant=tenant_id,
        turn=turn_id,
    ).first()
    if conn.dialect.name == "postgresql":
        execute(conn, "SELECT pg_notify('turns', '')")
    return freed is not None


_DUE = """
status = 'done' AND delivered_at IS NULL AND (deliver_until < {now}
  OR (deliverer IS NOT NULL
      AND deliverer NOT IN (SELECT id FROM workers WHERE expires_at >= {now})))
"""


def _renew(conn: sa.Connection, to: Destination, worker: str, hold_ms: int) -> bool:
    row = execute(
        conn,
        "UPDATE turns SET deliver_until = {now} + :hold WHERE id = :id AND tenant_id = :tenant"
        " AND deliverer = :me AND delivered_at IS NULL RETURNING id",
        id=to.turn_id,
        tenant=to.tenant_id,
        me=worker,
        hold=hold_ms,
    ).first()
    return row is not None


def _claim_undelivered(
    conn: sa.Connection, worker: str, platforms: tuple[str, ...], hold_ms: int, limit: int
) -> tuple[DueReply, ...]:
    served = {f"platform{number}": name for number, name in enumerate(platforms)}
    names = ", ".join(f":{key}" for key in served)
    rows = execute(
        conn,
        "UPDATE turns SET deliverer = :me, deliver_until = {now} + :hold WHERE id IN"
        f" (SELECT id FROM turns WHERE {_DUE} AND platform IN ({names})"
        " ORDER BY finished_at LIMIT :n{lock})"
        " RETURNING id, tenant_id, event_id, platform, workspace, channel, thread, outcome,"
        " reply, notice, finished_at, sender, source_ref, language, kind, text, offer",
        me=worker,
        hold=hold_ms,
        n=limit,
        **served,
    ).all()
    now = now_ms(conn)
    return tuple(
        DueReply(
            to=Destination(
                turn_id=text(row[0]),
                tenant_id=text(row[1]),
                event_id=text(row[2]),
                address=ConversationAddress(
                    platform=text(row[3]),
                    workspace=text(row[4]),
                    channel=text(row[5]),
                    thread=text(row[6]),
                ),
                sender=text(row[11]),
                source_ref=text(row[12]),
                language=text(row[13]),
                private=row[14] == "command" and is_private(text(row[15])),
                command=row[14] == "command",
            ),
            text=Ending(
                outcome=Outcome(text(row[7])), reply=text(row[8]), notice=text(row[9])
            ).text,
            finished_ms_ago=now - integer(row[10]),
            offer=load_offer(optional_text(row[16])),
            approvals=load_approvals(optional_text(row[16])),
        )
        for row in rows
    )
