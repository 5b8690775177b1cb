"""The fleet's part of the tenant walk: what another team has, and every method asked for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from core.agent_config import OnTimeout
from core.approvals import Card, Decision, Question, Status
from core.audit import AuditFilter
from core.control import Pause
from core.fleet.inventory import Identity, Server
from core.fleet.registry import NewServer, ServerChanges
from core.handover import Handover, Wanted, Writer
from core.messages import InboundMessage
from core.refusals import Rejected
from core.risk import Level
from core.schedule import Schedule
from core.standing_orders import (
    Asker,
    NewOrder,
    OrderChanges,
    OrderState,
    StandingOrder,
)
from core.tenants import User
from core.tools import ToolContext
from core.turns import Turn
from storage.approval_desk import SqlApprovalDesk
from storage.approvals import SqlApprovals
from storage.artifacts import SqlArtifacts
from storage.audit_reads import SqlAuditLog
from storage.database import Database, execute
from storage.handovers import SqlHandovers
from storage.inbox import SqlInbox
from storage.leases import SqlLeases
from storage.orders import SqlOrders
from storage.servers import SqlServers
from stores import Storage

KEY = b"k" * 32


def private_key_text() -> str:
    """A new key, as a file holds it."""
    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


_LOOP = "the loop of every team's orders; each names its own"
_CHAIN = "the operator checks the chain of every team, with the installation's key"
OF_THE_INSTALLATION = {
    **{
        f"SqlOrderRuns.{name}": _LOOP
        for name in ("due", "fire", "forget", "pause", "realign", "settle")
    },
    **{f"SqlAudit.{name}": _CHAIN for name in ("heads_now", "holds")},
    "SqlArtifacts.forget": "forgets old outputs of every team",
    "SqlServers.operator_tenant": "the installation's owner",
}


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the victim has."""

    server: Server
    approval_id: str
    order: StandingOrder
    artifact_id: str
    handover_id: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """Ids that nobody of another team is told."""
        return (
            self.server.id,
            self.approval_id,
            self.order.id,
            self.artifact_id,
            self.handover_id,
        )


async def furnish(
    storage: Storage, victim: User, turn_id: str, conversation: str, canary: str
) -> Fleet:
    """A server with a key, a question, a standing order, a whole output and a handover."""
    db, audit_key = storage.db, storage.keys.derive("audit")
    servers, orders = SqlServers(db, KEY, audit_key), SqlOrders(db, audit_key)
    new = NewServer(
        name=canary,
        address="192.0.2.7",
        user="ops",
        tags=(canary,),
        identity=Identity.STORED,
        private_key=private_key_text(),
    )
    server = await servers.add(victim, new)
    assert isinstance(server, Server)
    await db.transaction(_ask, victim, turn_id, conversation, canary)
    order = await orders.propose(
        Asker(user=victim),
        NewOrder(name=canary, prompt=canary, schedule=Schedule(cron="0 8 * * *", timezone="UTC")),
    )
    assert isinstance(order, StandingOrder)
    kept = await SqlArtifacts(db).keep(
        ToolContext(tenant_id=victim.tenant_id, user_id=victim.id, turn_id=turn_id),
        canary,
        canary.encode(),
        total=len(canary),
    )
    handover = await SqlHandovers(db, audit_key).write(Writer(user=victim), Wanted(since_ms=0))
    assert isinstance(handover, Handover)
    return Fleet(server, APPROVAL, order, kept, handover.id)


APPROVAL = "appr_theirs"


def _ask(conn: sa.Connection, victim: User, turn_id: str, conversation: str, canary: str) -> None:
    execute(
        conn,
        "INSERT INTO approvals (id, tenant_id, turn_id, conversation_id, call_id, digest, tool,"
        " level, card, asked_by, on_timeout, status, created_at, expires_at) VALUES (:id, :tenant,"
        " :turn, :cid, 'call', 'd', 'wreck', 'L2', :card, :by, 'deny', 'pending', 1, :far)",
        id=APPROVAL,
        tenant=victim.tenant_id,
        turn=turn_id,
        cid=conversation,
        card=Card(tool="wreck", action=canary, level="L2").dump(),
        by=victim.id,
        far=2**42,
    )
    execute(
        conn,
        "INSERT INTO approval_steps (approval_id, n, tenant_id, digest)"
        " VALUES (:id, 1, :tenant, 'step')",
        id=APPROVAL,
        tenant=victim.tenant_id,
    )


Calls = dict[str, Callable[[], Awaitable[object]]]


def calls(db: Database, mine: User, theirs: Turn, fleet: Fleet, message: InboundMessage) -> Calls:
    """Each method with the victim's ids and the intruder's tenant."""
    return {
        **_of_approvals(db, mine, theirs, message),
        **_of_servers(db, mine, fleet),
        **_of_orders(db, mine, fleet),
        **_of_records(db, mine, theirs, fleet),
    }


def _of_approvals(db: Database, mine: User, theirs: Turn, message: InboundMessage) -> Calls:
    store, desk = SqlApprovals(db, KEY), SqlApprovalDesk(db, KEY)
    question = Question(
        call_id="call",
        digest="d",
        level=Level.L2,
        card=Card(tool="t", action="a", level="L2"),
        asked_by=mine.id,
        four_eyes=False,
        on_timeout=OnTimeout.DENY,
        timeout_s=10,
    )
    yes = Decision(approve=True, where="test")
    pause = Pause(approvals=(APPROVAL,), until_ms=2**50)
    return {
        "SqlApprovals.ask": lambda: store.ask(theirs, question),
        "SqlApprovals.of_call": lambda: store.of_call(theirs, "call"),
        "SqlApprovals.by_plan": lambda: store.by_plan(theirs, "other", "step"),
        "SqlApprovals.tell": lambda: _told(store, desk, mine),
        "SqlApprovalDesk.decide": lambda: desk.decide(mine, APPROVAL, yes),
        "SqlApprovalDesk.get": lambda: desk.get(mine.tenant_id, APPROVAL),
        "SqlApprovalDesk.pending": lambda: desk.pending(mine.tenant_id),
        "SqlApprovalDesk.listed": lambda: desk.listed(mine.tenant_id, Status.PENDING, 50),
        "SqlInbox.decide": lambda: SqlInbox(db, KEY).decide(message, APPROVAL, approve=True),
        "SqlLeases.park": lambda: SqlLeases(db).park(theirs, settlements=(), pause=pause),
    }


async def _told(store: SqlApprovals, desk: SqlApprovalDesk, mine: User) -> None:
    """What the intruder can get hold of, and so have told."""
    for approval in await desk.pending(mine.tenant_id):
        await store.tell(approval)


async def _code(work: Awaitable[object]) -> object:
    """A refusal's code: its sentence repeats what was asked for."""
    result = await work
    return result.code if isinstance(result, Rejected) else result


def _of_servers(db: Database, mine: User, fleet: Fleet) -> Calls:
    servers, tenant, one = SqlServers(db, KEY, KEY), mine.tenant_id, fleet.server.id
    forged = Server(id=one, tenant_id=tenant, name="x", kind=fleet.server.kind)
    new = NewServer(name="mine", address="192.0.2.8", jump=one, private_key=private_key_text())
    return {
        "SqlServers.servers": lambda: servers.servers(tenant),
        "SqlServers.server": lambda: servers.server(tenant, one),
        "SqlServers.add": lambda: _code(servers.add(mine, new)),
        "SqlServers.change": lambda: servers.change(mine, one, ServerChanges(name="forged")),
        "SqlServers.remove": lambda: servers.remove(mine, one),
        "SqlServers.confirm_host_key": lambda: servers.confirm_host_key(
            mine, one, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        ),
        "SqlServers.private_key": lambda: servers.private_key(forged),
        "SqlServers.key_hints": lambda: servers.key_hints(tenant),
        "SqlServers.owns_installation": lambda: servers.owns_installation(tenant),
    }


def _of_orders(db: Database, mine: User, fleet: Fleet) -> Calls:
    orders, tenant, one = SqlOrders(db, KEY), mine.tenant_id, fleet.order.id
    asker = Asker(user=mine, conversation_id=fleet.order.conversation_id)
    new = NewOrder(name="n", prompt="p", schedule=Schedule(cron="0 8 * * *", timezone="UTC"))
    return {
        "SqlOrders.listed": lambda: orders.listed(tenant),
        "SqlOrders.find": lambda: orders.find(tenant, one),
        "SqlOrders.runs": lambda: orders.runs(tenant, one, 10),
        "SqlOrders.propose": lambda: orders.propose(asker, new),
        "SqlOrders.change": lambda: orders.change(asker, one, OrderChanges(name="forged")),
        "SqlOrders.move": lambda: orders.move(asker, one, OrderState.ACTIVE),
        "SqlOrders.run_now": lambda: orders.run_now(asker, one, key_ms=1),
    }


def _of_records(db: Database, mine: User, theirs: Turn, fleet: Fleet) -> Calls:
    artifacts, handovers, log = SqlArtifacts(db), SqlHandovers(db, KEY), SqlAuditLog(db, KEY)
    context = ToolContext(tenant_id=mine.tenant_id, user_id=mine.id, turn_id=theirs.id)
    writer = Writer(user=mine, conversation_id=theirs.conversation_id)
    everything = AuditFilter()
    return {
        "SqlArtifacts.keep": lambda: artifacts.keep(context, "s", b"forged", total=6),
        "SqlArtifacts.read": lambda: artifacts.read(mine.tenant_id, fleet.artifact_id),
        "SqlHandovers.write": lambda: handovers.write(writer, Wanted(since_ms=None)),
        "SqlHandovers.accept": lambda: handovers.accept(mine, fleet.handover_id),
        "SqlHandovers.find": lambda: handovers.find(mine, fleet.handover_id),
        "SqlHandovers.listed": lambda: handovers.listed(mine, 50),
        "SqlAuditLog.page": lambda: log.page(mine.tenant_id, everything, before=None, limit=50),
        "SqlAuditLog.head": lambda: log.head(mine.tenant_id),
    }
