"""The meter with quotas: who may make a model call, and what is said to who may not.

A database that is away must not stop everybody at once, nor give away tokens without end: a
tenant that was known to be well within its limits gets a small grace in each process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from billing.dunning import Service
from billing.quota import Short, Standing, forecast, refusal, suspended
from core.clock import Clock
from core.errors import StorageFailure
from core.metering import CallRequest, Grant, QuotaRefusal

FRESH_MS: Final = 300_000
"""How long a plan, its limits and the service are believed without asking."""
GRACE_PERCENT: Final = 2
"""Of the limit: what a process grants a tenant while the database is away; at least a turn."""
GRACE_BELOW_PERCENT: Final = 90
"""Of the limit: a tenant that was known to have taken more gets no grace."""

_SERVED: Final = frozenset({Service.FULL, Service.NO_OVERAGE})
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A call that has its row and its hold."""

    max_output: int
    """Tokens; less than was asked where less was left."""
    standing: Standing
    """The month, with the hold in it."""


class QuotaStore(Protocol):
    """Where the counters are."""

    async def reserve(self, call: CallRequest, at_ms: int, *, overage: bool) -> Admitted | Short:
        """Record the call and hold its estimate, or neither.

        Without ``overage`` nothing beyond what the plan includes. Raises ``Fenced`` and
        ``StorageFailure``.
        """

    async def service(self, tenant_id: str, at_ms: int) -> Service:
        """What the tenant is served. Raises ``StorageFailure``."""


@dataclass(slots=True)
class _Known:
    """What a process last knew of a tenant, and what it granted since without asking."""

    most: int
    taken: int
    at_ms: int
    grace: int = 0
    """Tokens, by estimate."""
    grace_turn: str | None = None
    """The one turn that was granted any; empty when there were several."""
    grace_at_ms: int = 0


class BillingService:
    """Implements ``core.metering.Meter`` with the limits of plans and budgets."""

    def __init__(self, store: QuotaStore, clock: Clock) -> None:
        """Wire the counters and the time."""
        self._store = store
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._full: dict[str, int] = {}

    async def reserve(self, call: CallRequest) -> Grant | QuotaRefusal:
        """Admit one call, durably; while the database is away, within the grace.

        Raises ``Fenced``, and ``StorageFailure`` where no grace is left.
        """
        at_ms = self._clock.now_ms()
        try:
            return await self._reserve(call, at_ms)
        except StorageFailure as failure:
            if not self._grace(call, at_ms):
                raise
            _log.warning("quota.grace", tenant=call.tenant_id, error=failure.code)
            return Grant(call_id=call.id, max_output=call.max_output, recorded=False)

    async def _reserve(self, call: CallRequest, at_ms: int) -> Grant | QuotaRefusal:
        service = await self._service(call.tenant_id, at_ms)
        if service not in _SERVED:
            self._known.pop(call.tenant_id, None)
            return suspended(offline=service is not Service.OFF)
        overage = service is Service.FULL
        answer = await self._store.reserve(call, at_ms, overage=overage)
        self._note(call.tenant_id, answer.standing, at_ms, overage=overage)
        if isinstance(answer, Short):
            return refusal(call, answer, overage=overage)
        return Grant(
            call_id=call.id,
            max_output=answer.max_output,
            note=forecast(call, answer.standing.limits.soft),
        )

    async def _service(self, tenant_id: str, at_ms: int) -> Service:
        """Full service is believed for a while, less is asked for each time.

        It ends with a payment, and nobody who has paid should wait.
        """
        if 0 <= at_ms - self._full.get(tenant_id, -FRESH_MS) < FRESH_MS:
            return Service.FULL
        service = await self._store.service(tenant_id, at_ms)
        if service is Service.FULL:
            self._full[tenant_id] = at_ms
        else:
            self._full.pop(tenant_id, None)
        return service

    def _note(self, tenant_id: str, standing: Standing, at_ms: int, *, overage: bool) -> None:
        limits = standing.limits
        most = limits.most_with(overage=overage)
        known = _Known(
            most=limits.soft if most is None else most, taken=standing.taken, at_ms=at_ms
        )
        before = self._known.get(tenant_id)
        # What was granted in an outage may not have reached the counter yet.
        if before is not None and 0 <= at_ms - before.grace_at_ms < FRESH_MS:
            known.grace, known.grace_turn = before.grace, before.grace_turn
            known.grace_at_ms = before.grace_at_ms
        self._known[tenant_id] = known

    def _grace(self, call: CallRequest, at_ms: int) -> bool:
        known = self._known.get(call.tenant_id)
        if known is None or not 0 <= at_ms - known.at_ms < FRESH_MS:
            return False
        if (known.taken + known.grace) * 100 >= known.most * GRACE_BELOW_PERCENT:
            return False
        tokens = call.estimated_input + call.max_output
        within = (known.grace + tokens) * 100 <= known.most * GRACE_PERCENT
        alone = known.grace_turn in {None, call.turn_id}
        if not within and not alone:
            return False
        known.grace_turn = call.turn_id if alone else ""
        known.grace += tokens
        known.grace_at_ms = at_ms
        return True
