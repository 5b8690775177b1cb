"""Standing orders in the database: proposed, confirmed, changed; each with its audit row."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from core.ids import new_id
from core.messages import ConversationAddress
from core.refusals import Rejected
from core.schedule import next_times
from core.standing_orders import (
    CHANGED,
    NOT_CONFIRMED,
    STILL_RUNNING,
    UNKNOWN_ORDER,
    Asker,
    NewOrder,
    OrderChanges,
    OrderRun,
    OrderState,
    RunState,
    StandingOrder,
    changed,
    may_change,
    may_propose,
)
from core.words import sentence
from storage import order_rows
from storage.database import Database, execute, now_ms
from storage.order_limits import budget, count, full, one_by_one
from storage.order_rows import ORDERS, add_run, find_order, note, order_of, runs_of
from storage.order_runs import start
from storage.places import insert_conversation

MOST_PROPOSED = 50
"""Proposals of a team that nobody confirmed."""


class SqlOrders:
    """Implements ``core.standing_orders.OrderDesk``."""

    def __init__(self, db: Database, audit_key: bytes) -> None:
        """Wire the database."""
        self._db = db
        self._key = audit_key

    async def listed(self, tenant_id: str) -> tuple[StandingOrder, ...]:
        """See the port."""
        return await self._db.read(_listed, tenant_id)

    async def find(self, tenant_id: str, order_id: str) -> StandingOrder | None:
        """See the port."""
        return await self._db.read(find_order, tenant_id, order_id)

    async def runs(self, tenant_id: str, order_id: str, most: int) -> tuple[OrderRun, ...]:
        """See the port."""
        return await self._db.read(runs_of, tenant_id, order_id, most)

    async def propose(self, by: Asker, new: NewOrder, *, key: str = "") -> StandingOrder | Rejected:
        """See the port."""
        return await self._db.transaction(_propose, self._key, by, new, key)

    async def change(
        self, by: Asker, order_id: str, changes: OrderChanges, *, revision: int | None = None
    ) -> StandingOrder | Rejected:
        """Change what is asked, or when; ``revision`` is the one that the writer read."""
        return await self._db.transaction(_change, self._key, by, order_id, changes, revision)

    async def move(self, by: Asker, order_id: str, state: OrderState) -> StandingOrder | Rejected:
        """See the port."""
        return await self._db.transaction(_move, self._key, by, order_id, state)

    async def run_now(self, by: Asker, order_id: str, *, key_ms: int) -> OrderRun | Rejected:
        """See the port."""
        return await self._db.transaction(_run_now, self._key, by, order_id, key_ms)


def _listed(conn: sa.Connection, tenant_id: str) -> tuple[StandingOrder, ...]:
    rows = execute(
        conn,
        f"{ORDERS} WHERE tenant_id = :tenant AND state <> 'deleted' ORDER BY created_at, id",
        tenant=tenant_id,
    ).all()
    return tuple(order_of(row) for row in rows)


# -- a proposal --------------------------------------------------------------------------------


def _propose(
    conn: sa.Connection, key: bytes, by: Asker, new: NewOrder, once: str
) -> StandingOrder | Rejected:
    refused = may_propose(by)
    if refused is not None:
        return refused
    tenant_id = by.user.tenant_id
    one_by_one(conn, tenant_id)
    order_id = f"ord_{hashlib.sha256(once.encode()).hexdigest()[:28]}" if once else new_id("ord")
    before = find_order(conn, tenant_id, order_id)
    if before is not None:
        return before
    if count(conn, tenant_id, "'proposed'") >= MOST_PROPOSED:
        return _TOO_MANY
    place = by.conversation_id or _begin_conversation(conn, by, new)
    if not _may_report_to(conn, by, place):
        return _NO_PLACE
    order = _insert(conn, by, new, order_id, place)
    note(
        conn,
        key,
        order,
        "order.proposed",
        actor=by.user.id,
        turn_id=by.turn_id,
        **_on_record(order),
    )
    return order


_TOO_MANY = Rejected(
    code="too_many_orders",
    sentence=sentence(
        "{most} standing orders wait for their confirmation already. Confirm or delete one first.",
        most=MOST_PROPOSED,
    ),
)
_NO_PLACE = Rejected(
    code="not_found", sentence=sentence("There is no such conversation to report to.")
)


def _begin_conversation(conn: sa.Connection, by: Asker, new: NewOrder) -> str:
    """One over the API, for who names none."""
    conversation_id = new_id("conv")
    address = ConversationAddress(
        platform="api", workspace="", channel=by.user.id, thread=conversation_id
    )
    insert_conversation(conn, by.user, conversation_id, address, new.name)
    return conversation_id


def _may_report_to(conn: sa.Connection, by: Asker, conversation_id: str) -> bool:
    """Their own conversation, one that was shared with them, or the one that they write in."""
    row = execute(
        conn,
        "SELECT 1 FROM conversations c WHERE c.id = :id AND c.tenant_id = :tenant"
        " AND c.deleted_at IS NULL AND (c.user_id = :user"
        " OR EXISTS (SELECT 1 FROM shares s WHERE s.conversation_id = c.id"
        " AND s.user_id = :user AND s.tenant_id = :tenant)"
        " OR EXISTS (SELECT 1 FROM turns t WHERE t.id = :turn AND t.conversation_id = c.id"
        " AND t.user_id = :user))",
        id=conversation_id,
        tenant=by.user.tenant_id,
        user=by.user.id,
        turn=by.turn_id,
    ).first()
    if row is None:
        return False
    return order_rows.seat_of(conn, by.user.tenant_id, by.user.id, conversation_id) is not None


def _insert(
    conn: sa.Connection, by: Asker, new: NewOrder, order_id: str, conversation_id: str
) -> StandingOrder:
    execute(
        conn,
        "INSERT INTO standing_orders (id, tenant_id, name, created_by, conversation_id, prompt,"
        " cron, timezone, misfire, quiet, condition, budget_tokens, next_run_at, state, problem,"
        " failures, revision, created_at, updated_at) VALUES (:id, :tenant, :name, :by, :place,"
        " :prompt, :cron, :zone, :misfire, :quiet, :condition, :budget, NULL, 'proposed', '', 0,"
        " 0, {now}, {now})",
        id=order_id,
        tenant=by.user.tenant_id,
        by=by.user.id,
        place=conversation_id,
        **_asked(new),
    )
    return _kept(conn, by.user.tenant_id, order_id)


def _asked(new: NewOrder) -> dict[str, str | int]:
    return {
        "name": new.name,
        "prompt": new.prompt,
        "cron": new.schedule.cron,
        "zone": new.schedule.timezone,
        "misfire": str(new.misfire),
        "quiet": int(bool(new.condition)),
        "condition": new.condition,
        "budget": new.budget_tokens,
    }


def _kept(conn: sa.Connection, tenant_id: str, order_id: str) -> StandingOrder:
    row = execute(
        conn, f"{ORDERS} WHERE id = :id AND tenant_id = :tenant", id=order_id, tenant=tenant_id
    )
    return order_of(row.one())


def _on_record(order: StandingOrder) -> dict[str, str | int]:
    """What the audit log keeps of an order: no text of it, but its digest."""
    words = f"{order.prompt}\0{order.condition}"
    return {
        "cron": order.schedule.cron,
        "timezone": order.schedule.timezone,
        "misfire": str(order.misfire),
        "budget_tokens": order.budget_tokens,
        "conversation": order.conversation_id,
        "runs_as": order.created_by,
        "prompt_sha256": hashlib.sha256(words.encode()).hexdigest(),
    }


# -- what it is afterwards ---------------------------------------------------------------------


def _locked(conn: sa.Connection, by: Asker, order_id: str) -> StandingOrder | Rejected:
    """The order, its row held, if this person may change it."""
    order = find_order(conn, by.user.tenant_id, order_id, lock="{row}")
    if order is None:
        return UNKNOWN_ORDER
    return may_change(by, order) or order


def _move(
    conn: sa.Connection, key: bytes, by: Asker, order_id: str, state: OrderState
) -> StandingOrder | Rejected:
    if state is OrderState.ACTIVE:
        one_by_one(conn, by.user.tenant_id)
    order = _locked(conn, by, order_id)
    if isinstance(order, Rejected) or order.state is state:
        return order
    match state:
        case OrderState.ACTIVE:
            return _activate(conn, key, by, order)
        case OrderState.PAUSED if order.state is OrderState.ACTIVE:
            return _set(conn, key, by, order, state, None)
        case OrderState.PAUSED:
            return NOT_CONFIRMED
        case OrderState.DELETED:
            return _delete(conn, key, by, order)
        case OrderState.PROPOSED:
            return order


def _activate(
    conn: sa.Connection, key: bytes, by: Asker, order: StandingOrder
) -> StandingOrder | Rejected:
    if order.state is OrderState.PROPOSED:
        crowded = full(conn, order.tenant_id)
        if crowded is not None:
            return crowded
    now = now_ms(conn)
    times = next_times(order.schedule.cron, order.schedule.timezone, now, 1)
    if not times:
        return Rejected(code="bad_order", sentence=sentence("Its schedule does not come again."))
    refused = budget(conn, by.user, order.id, order.budget_tokens, now)
    return refused or _set(conn, key, by, order, OrderState.ACTIVE, times[0])


def _set(  # what a state comes with
    conn: sa.Connection,
    key: bytes,
    by: Asker,
    order: StandingOrder,
    state: OrderState,
    next_ms: int | None,
) -> StandingOrder:
    execute(
        conn,
        "UPDATE standing_orders SET state = :state, next_run_at = :next, problem = '',"
        " failures = 0, revision = revision + 1, updated_at = {now} WHERE id = :id",
        id=order.id,
        state=str(state),
        next=next_ms,
    )
    if order.state is OrderState.PROPOSED:
        action = "order.confirmed"
    else:
        action = "order.resumed" if state is OrderState.ACTIVE else "order.paused"
    note(conn, key, order, action, actor=by.user.id, turn_id=by.turn_id, **_on_record(order))
    return _kept(conn, order.tenant_id, order.id)


def _delete(conn: sa.Connection, key: bytes, by: Asker, order: StandingOrder) -> StandingOrder:
    """Its words go at once; that it was there, and what became of it, stays on the record."""
    execute(
        conn,
        "UPDATE standing_orders SET state = 'deleted', next_run_at = NULL, prompt = '',"
        " condition = '', revision = revision + 1, updated_at = {now} WHERE id = :id",
        id=order.id,
    )
    budget(conn, by.user, order.id, 0, now_ms(conn))
    note(conn, key, order, "order.deleted", actor=by.user.id, turn_id=by.turn_id)
    return _kept(conn, order.tenant_id, order.id)


def _change(
    conn: sa.Connection,
    key: bytes,
    by: Asker,
    order_id: str,
    changes: OrderChanges,
    revision: int | None,
) -> StandingOrder | Rejected:
    order = _locked(conn, by, order_id)
    if isinstance(order, Rejected):
        return order
    if revision is not None and revision != order.revision:
        return CHANGED
    new = changed(order, changes)
    if isinstance(new, Rejected):
        return new
    now, next_ms = now_ms(conn), order.next_run_at_ms
    if next_ms is not None and new.schedule != order.schedule:
        next_ms = next_times(new.schedule.cron, new.schedule.timezone, now, 1)[0]
    if order.state is not OrderState.PROPOSED and new.budget_tokens != order.budget_tokens:
        refused = budget(conn, by.user, order.id, new.budget_tokens, now)
        if refused is not None:
            return refused
    execute(
        conn,
        "UPDATE standing_orders SET name = :name, prompt = :prompt, cron = :cron,"
        " timezone = :zone, misfire = :misfire, quiet = :quiet, condition = :condition,"
        " budget_tokens = :budget, next_run_at = :next, revision = revision + 1,"
        " updated_at = {now} WHERE id = :id",
        id=order.id,
        next=next_ms,
        **_asked(new),
    )
    kept = _kept(conn, order.tenant_id, order.id)
    note(conn, key, kept, "order.changed", actor=by.user.id, turn_id=by.turn_id, **_on_record(kept))
    return kept


def _run_now(
    conn: sa.Connection, key: bytes, by: Asker, order_id: str, at_ms: int
) -> OrderRun | Rejected:
    peek = find_order(conn, by.user.tenant_id, order_id)
    if peek is None:
        return UNKNOWN_ORDER
    order_rows.lock_conversation(conn, peek.tenant_id, peek.conversation_id)
    order = _locked(conn, by, order_id)
    if isinstance(order, Rejected):
        return order
    if order.state is OrderState.PROPOSED:
        return NOT_CONFIRMED
    before = _run_at(conn, order, at_ms)
    if before is not None:
        return before
    if order_rows.unfinished(conn, order.id):
        return STILL_RUNNING
    seat = order_rows.seat_of(conn, order.tenant_id, order.created_by, order.conversation_id)
    if seat is None:
        return _NO_PLACE
    add_run(conn, order, at_ms, RunState.STARTED, manual=True)
    start(conn, key, order, at_ms, seat, actor=by.user.id)
    return _run_at(conn, order, at_ms) or STILL_RUNNING


def _run_at(conn: sa.Connection, order: StandingOrder, at_ms: int) -> OrderRun | None:
    found = runs_of(conn, order.tenant_id, order.id, 1, at_ms=at_ms)
    return found[0] if found else None
