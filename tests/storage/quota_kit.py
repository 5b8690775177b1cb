"""What the tests of quotas and budgets share: a tenant with running turns, and their calls."""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

from billing.meter import Admitted
from billing.periods import Period, month_of
from billing.quota import Limits, Short
from core.metering import CallRequest, Settlement, Usage
from storage import quota
from storage.admission import reserve
from storage.database import Database, execute
from storage.metering import settle
from tests.storage.racing import rows

NOV = 1_795_000_000_000
"""In November 2026."""
MONTH = month_of(NOV)
FAR = 10**12


@dataclass(slots=True)
class Hands:
    """A clock that stands until it is moved."""

    at: int = NOV

    def now_ms(self) -> int:
        """Where the hands stand."""
        return self.at


@dataclass(frozen=True, kw_only=True)
class Team:
    """A tenant whose turns run, each in a conversation of its own."""

    db: Database
    id: str
    turns: int

    def call(self, turn: int = 1, number: int = 1, **other: object) -> CallRequest:
        """A call of one of the turns: 1,000 tokens in, at most 1,000 out."""
        call = CallRequest(
            id=f"{self.id}_t{turn}.1.{number}",
            tenant_id=self.id,
            conversation_id=f"{self.id}_c{turn}",
            turn_id=f"{self.id}_t{turn}",
            user_id=f"{self.id}_u",
            engine="e",
            model="claude-sonnet-5-5",
            estimated_input=1_000,
            max_output=1_000,
        )
        return replace(call, **other)  # type: ignore[arg-type]  # fields of the same class

    async def limit(
        self, soft: int, hard: int | None, cap: int | None = None, *, month: Period = MONTH
    ) -> None:
        """Set the month's limits."""
        limits = Limits(soft=soft, hard=hard, cap=cap)
        await self.db.transaction(quota.set_limits, self.id, month, limits)

    async def reserve(
        self, call: CallRequest, *, at_ms: int = NOV, overage: bool = True
    ) -> Admitted | Short:
        """Ask for the call."""
        return await self.db.transaction(reserve, call, at_ms, overage=overage)

    async def admitted(self, call: CallRequest, *, at_ms: int = NOV) -> int:
        """The output that the call gets; it must be admitted."""
        answer = await self.reserve(call, at_ms=at_ms)
        assert isinstance(answer, Admitted), answer
        return answer.max_output

    async def refused(self, call: CallRequest, *, overage: bool = True) -> Short:
        """Why the call is not admitted."""
        answer = await self.reserve(call, overage=overage)
        assert isinstance(answer, Short), answer
        return answer

    async def settle(self, call: CallRequest, tokens: int) -> None:
        """The call used so many tokens."""
        usage = Usage(input_tokens=tokens)
        await self.db.transaction(settle, Settlement(call_id=call.id, usage=usage))

    async def use(self, call: CallRequest, tokens: int) -> None:
        """Reserve and settle."""
        await self.admitted(call)
        await self.settle(call, tokens)

    async def counter(self, month: Period = MONTH) -> tuple[int, int, int]:
        """Used, held and used on the own account."""
        standing = await self.db.read(quota.standing, self.id, month.start_ms)
        assert standing is not None
        return standing.used, standing.reserved, standing.own_used

    async def events(self) -> list[tuple[object, ...]]:
        """What was told of the quota, in order."""
        return await rows(
            self.db,
            "SELECT kind, payload FROM outbox WHERE tenant_id = :tenant"
            " AND kind <> 'usage.recorded' ORDER BY seq",
            tenant=self.id,
        )


async def team(db: Database, name: str = "ten_1", *, turns: int = 1) -> Team:
    """A new one."""
    await db.transaction(add_team, name, turns)
    return Team(db=db, id=name, turns=turns)


def add_team(conn: sa.Connection, name: str, turns: int) -> None:
    """Its rows, as the inbox and a worker leave them."""
    execute(
        conn, "INSERT INTO tenants (id, name, created_at) VALUES (:id, :id, :at)", id=name, at=NOV
    )
    execute(
        conn,
        "INSERT INTO users (id, tenant_id, email, name, role, created_at)"
        " VALUES (:id, :tenant, 'a@example.org', 'A', 'admin', :at)",
        id=f"{name}_u",
        tenant=name,
        at=NOV,
    )
    for number in range(1, turns + 1):
        execute(
            conn,
            "INSERT INTO conversations (id, tenant_id, user_id, platform, workspace, channel,"
            " thread, title, created_at, updated_at, last_seq, done_seq, lease_owner) VALUES"
            " (:id, :tenant, :user, 'api', '', '', '', '', :at, :at, 1, 0, 'w_9')",
            id=f"{name}_c{number}",
            tenant=name,
            user=f"{name}_u",
            at=NOV,
        )
        execute(
            conn,
            "INSERT INTO turns (id, tenant_id, conversation_id, seq, user_id, event_id, kind,"
            " overlap, platform, workspace, channel, thread, text, attachments, status, attempt,"
            " created_at) VALUES (:id, :tenant, :cid, 1, :user, :id, 'message', 'queue', 'api', '',"
            " '', '', '', '[]', 'running', 1, :at)",
            id=f"{name}_t{number}",
            tenant=name,
            cid=f"{name}_c{number}",
            user=f"{name}_u",
            at=NOV,
        )
