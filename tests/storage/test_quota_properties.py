"""Whatever calls, settlements, sweeps, clocks and limits do: the counters are the calls' sums."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count as count_from
from pathlib import Path
from typing import TypeVar, cast

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing.desk import Budget
from billing.meter import Admitted
from billing.periods import Period, month_of
from billing.quota import LEASE_MS, MONTH, Limits, Room, output_within
from core.metering import CallRequest, Settlement, Usage
from storage import budgets
from storage.admission import sweep
from storage.budgets import Key
from storage.database import Database, execute
from storage.metering import settle, settle_lost
from storage.postgres import PostgresDatabase
from storage.rows import integer
from storage.sqlite import SqliteDatabase
from tests.storage.payment_places import migrated_file, migrated_url, place
from tests.storage.quota_kit import NOV, Hands, Team, team

__all__ = ["migrated_file", "migrated_url", "place"]

T = TypeVar("T")
_NAMES = count_from(1)
_TOKENS = st.integers(0, 3_000)
_TURNS = 3
Ask = tuple[int, int, int, bool, str, bool]
"""Turn, input, output, own account, standing order, whether overage is allowed."""
ASKS: st.SearchStrategy[Ask] = st.tuples(
    st.integers(1, _TURNS),
    st.integers(0, 700),
    st.integers(1, 1_500),
    st.booleans(),
    st.sampled_from(["", "ord_1"]),
    st.sampled_from([True, True, False]),
)
_ALLOWED = st.integers(2_000, 9_000)


@dataclass(slots=True)
class Made:
    """A call as the tests know it."""

    call: CallRequest
    month: Period
    held: int
    holds_on: tuple[Key, ...] = ()
    settled: int | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """Every counter that it could count against."""
        call = self.call
        subjects = {
            "user": call.user_id,
            "conversation": call.conversation_id,
            "order": call.order_id,
            "turn": call.turn_id,
        }
        return tuple(
            Key(
                scope=scope,
                subject=subject,
                period_start=0 if scope == "turn" else self.month.start_ms,
            )
            for scope, subject in sorted(subjects.items())
            if subject
        )


@dataclass(slots=True)
class Ledger:
    """What the counters must be, as sums over the calls."""

    calls: list[Made] = field(default_factory=list)
    limits: dict[int, Limits] = field(default_factory=dict)
    budgeted: dict[tuple[str, str], int] = field(default_factory=dict)

    def month(self, start: int) -> tuple[int, int, int]:
        """Used, held, used on the own account."""
        mine = [made for made in self.calls if made.month.start_ms == start]
        used = sum(made.settled or 0 for made in mine)
        own = sum(made.settled or 0 for made in mine if made.call.own_key)
        return used, sum(made.held for made in mine), own

    def budget(self, key: Key) -> tuple[int, int]:
        """Used and held."""
        used = sum(made.settled or 0 for made in self.calls if key in made.keys)
        return used, sum(made.held for made in self.calls if key in made.holds_on)

    def rooms(self, made: Made, *, overage: bool) -> list[Room]:
        """Of everything that limits the call."""
        used, held, _ = self.month(made.month.start_ms)
        most = self.limits[made.month.start_ms].most_with(overage=overage)
        rooms = [Room(scope=MONTH, most=most or 0, taken=used + held)]
        for key in self.concerning(made):
            tokens = self.budgeted.get((key.scope, key.subject), self.budgeted.get((key.scope, "")))
            rooms.append(Room(scope=key.scope, most=tokens or 0, taken=sum(self.budget(key))))
        return rooms

    def concerning(self, made: Made) -> tuple[Key, ...]:
        """The counters of the budgets that there are for the call."""
        return tuple(
            key
            for key in made.keys
            if (key.scope, key.subject) in self.budgeted or (key.scope, "") in self.budgeted
        )


class QuotaMachine(RuleBasedStateMachine):
    """A tenant's calls on a real database beside the sums that they must come to."""

    def __init__(self, runner: asyncio.Runner, db: Database, clock: Hands) -> None:
        """A new tenant; the clock stands in November."""
        super().__init__()
        self.runner, self.db, self.clock = runner, db, clock
        self.known = Ledger()
        self.numbers = count_from(1)
        clock.at = NOV
        self.team: Team = runner.run(team(db, f"ten_{next(_NAMES)}", turns=_TURNS))
        self.taken_before: dict[int, int] = {}
        self.exceptions = True

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """Run it in a transaction."""
        return self.runner.run(self.db.transaction(work))

    def made(self, index: int) -> Made:
        """One of the calls."""
        return self.known.calls[index % len(self.known.calls)]

    @initialize(soft=_ALLOWED, more=_TOKENS)
    def first_limits(self, soft: int, more: int) -> None:
        """The month has a plan."""
        self.change_limits(soft=soft, more=more, capped=False)

    @rule(soft=st.one_of(st.just(0), _ALLOWED), more=_TOKENS, capped=st.booleans())
    def change_limits(self, soft: int, more: int, *, capped: bool) -> None:
        """The plan changes, up or down."""
        most = soft + more
        limits = Limits(soft=soft, hard=None if capped else most, cap=most if capped else None)
        month = month_of(self.clock.at)
        self.known.limits[month.start_ms] = limits
        self.runner.run(self.team.limit(limits.soft, limits.hard, limits.cap, month=month))
        self.exceptions = True

    @rule(asks=st.lists(ASKS, min_size=1, max_size=5))
    def reserve(self, asks: list[Ask]) -> None:
        """A call is admitted exactly where it fits, with what is left, or leaves nothing."""
        for ask in asks:
            self.reserve_one(*ask)

    def reserve_one(
        self, turn: int, asked: int, output: int, own: bool, order: str, overage: bool
    ) -> None:
        """One of them."""
        call = self.team.call(
            turn,
            next(self.numbers),
            estimated_input=asked,
            max_output=output,
            own_key=own,
            order_id=order,
        )
        made = Made(call=call, month=month_of(self.clock.at), held=0)
        expected = output_within(asked, output, self.known.rooms(made, overage=overage))
        answer = self.runner.run(self.team.reserve(call, at_ms=self.clock.at, overage=overage))
        if isinstance(expected, Room):
            assert not isinstance(answer, Admitted)
            assert answer.room.left == expected.left
            return
        assert isinstance(answer, Admitted)
        assert answer.max_output == expected
        made.held, made.holds_on = asked + expected, self.known.concerning(made)
        self.known.calls.append(made)

    @precondition(lambda self: self.known.calls)
    @rule(index=st.integers(0, 99), share=st.integers(0, 120))
    def settle(self, index: int, share: int) -> None:
        """In time or late, below its estimate or above; a second time it changes nothing."""
        made = self.made(index)
        tokens = max(made.held, 100) * share // 100
        usage = Usage(input_tokens=tokens // 2, cache_read_tokens=tokens - tokens // 2)
        self.write(lambda conn: settle(conn, Settlement(call_id=made.call.id, usage=usage)))
        self.settled(made, tokens)

    def settled(self, made: Made, tokens: int) -> None:
        """Note it, and whether it may pass the limit."""
        if made.settled is None:
            self.exceptions |= tokens > made.held
            made.settled, made.held, made.holds_on = tokens, 0, ()

    @rule(turn=st.integers(1, _TURNS))
    def lose(self, turn: int) -> None:
        """A crash: what is open of a turn is settled as estimated."""
        turn_id = self.team.call(turn).turn_id
        self.write(lambda conn: settle_lost(conn, turn_id))
        for made in self.known.calls:
            if made.call.turn_id == turn_id:
                self.settled(made, made.call.estimated_input)

    @rule(output=_TOKENS, own=st.booleans())
    def grace(self, output: int, *, own: bool) -> None:
        """A call that was admitted while the database was away."""
        call = self.team.call(1, next(self.numbers), own_key=own)
        settlement = Settlement(call_id=call.id, usage=Usage(output_tokens=output), call=call)

        def write(conn: sa.Connection) -> int:
            settle(conn, settlement)
            sql = "SELECT period_start FROM model_calls WHERE id = :id"
            return integer(execute(conn, sql, id=call.id).one()[0])

        month = month_of(self.write(write))
        self.known.calls.append(Made(call=call, month=month, held=0, settled=output))
        self.exceptions = True

    @rule(passed=st.sampled_from([LEASE_MS // 2, LEASE_MS + 1]))
    def wait_and_sweep(self, passed: int) -> None:
        """Leases that are over give their hold back."""
        self.clock.at += passed
        expired = self.write(
            lambda conn: {
                row[0]
                for row in execute(
                    conn,
                    "SELECT id FROM model_calls WHERE tenant_id = :tenant AND lease_until < :at",
                    tenant=self.team.id,
                    at=self.clock.at,
                )
            }
        )
        self.runner.run(sweep(self.db, self.clock.at))
        for made in self.known.calls:
            if made.call.id in expired:
                made.held, made.holds_on = 0, ()

    @rule(soft=_ALLOWED)
    def next_month(self, soft: int) -> None:
        """The clock passes the end of a month."""
        self.clock.at = month_of(self.clock.at).end_ms
        self.change_limits(soft=soft, more=0, capped=False)

    @rule(
        scope=st.sampled_from(budgets.SCOPES),
        tokens=st.one_of(st.just(0), _ALLOWED),
        turn=st.integers(0, 3),
    )
    def budget(self, scope: str, tokens: int, turn: int) -> None:
        """An admin sets, changes or takes away a budget."""
        subject = ""
        if turn and scope != "turn":
            call = self.team.call(turn)
            subject = {"user": call.user_id, "conversation": call.conversation_id}.get(
                scope, "ord_1"
            )
        wanted = Budget(scope=scope, subject=subject, tokens=tokens)
        answer = self.write(lambda conn: budgets.set_budget(conn, self.team.id, wanted, "usr", NOV))
        assert answer == wanted
        if tokens:
            self.known.budgeted[scope, subject] = tokens
        else:
            self.known.budgeted.pop((scope, subject), None)

    @invariant()
    def counters_are_sums(self) -> None:
        """Of the month and of each budget: what was settled, and what is held."""
        months, others, calls = self.write(self.stored)
        for start, used, reserved, own in months:
            assert (used, reserved, own) == self.known.month(start), start
            most = self.known.limits[start].most if start in self.known.limits else None
            before = self.taken_before.get(start, 0)
            if most is not None and not self.exceptions:
                assert used + reserved <= max(most, before)
            self.taken_before[start] = used + reserved
        self.exceptions = False
        for scope, subject, start, used, reserved in others:
            key = Key(scope=scope, subject=subject, period_start=start)
            assert (used, reserved) == self.known.budget(key), key
        ends = Counter[int]()
        for start, position, total in calls:
            assert position - total == ends[start]
            ends[start] = position

    def stored(
        self, conn: sa.Connection
    ) -> tuple[
        list[tuple[int, int, int, int]],
        list[tuple[str, str, int, int, int]],
        list[tuple[int, int, int]],
    ]:
        """The counters, and the positions in order."""
        total = (
            "(input_tokens + output_tokens + cache_read_tokens + cache_write_5m_tokens"
            " + cache_write_1h_tokens)"
        )
        mine = "WHERE tenant_id = :tenant"
        found = [
            execute(conn, sql, tenant=self.team.id).all()
            for sql in (
                f"SELECT period_start, used, reserved, own_used FROM quota_counters {mine}",
                f"SELECT scope, subject, period_start, used, reserved FROM budget_counters {mine}",
                (
                    f"SELECT period_start, position, {total} FROM model_calls {mine}"
                    f" AND position IS NOT NULL ORDER BY period_start, position, position - {total}"
                ),
            )
        ]
        return tuple([tuple(row) for row in rows] for rows in found)  # type: ignore[return-value]


def check(where: str | Path, *, examples: int, steps: int) -> None:
    """Run the machine against the database there."""
    clock = Hands()
    with asyncio.Runner() as runner:

        async def connect() -> Database:
            if isinstance(where, Path):
                return SqliteDatabase(where, clock)
            return PostgresDatabase(where, size=1)

        db = runner.run(connect())
        try:
            run_state_machine_as_test(
                cast("type[QuotaMachine]", partial(QuotaMachine, runner, db, clock)),
                settings=settings(
                    max_examples=examples,
                    stateful_step_count=steps,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(db.close())


def test_the_counters_are_the_sums_of_the_calls(place: str | Path) -> None:
    """And nothing passes a limit but late settlements, lowered limits and wrong estimates."""
    check(place, examples=40, steps=40)


@pytest.mark.slow
def test_the_counters_are_the_sums_of_many_calls(place: str | Path) -> None:
    """The same, for longer."""
    check(place, examples=120, steps=60)
