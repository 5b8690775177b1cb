"""The meter with quotas: grants, refusals, and a bounded grace while the database is away."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from billing.dunning import Service
from billing.meter import FRESH_MS, Admitted, BillingService
from billing.periods import month_of
from billing.quota import MONTH, Limits, Room, Short, Standing
from core.errors import Fenced, It0Error, StorageUnreachable
from core.metering import CallRequest, Grant, QuotaRefusal, RefusalCode
from tests.billing.test_quota import CALL

NOW = 1_795_000_000_000


@dataclass(slots=True)
class Counters:
    """A store of one tenant, in memory, that can be away. Also the clock."""

    limits: Limits = field(default_factory=lambda: Limits(soft=100_000, hard=100_000))
    served: Service = Service.FULL
    taken: int = 0
    fault: It0Error | None = None
    at: int = NOW
    asked: list[str] = field(default_factory=list)

    def now_ms(self) -> int:
        """Where the hands stand."""
        return self.at

    async def service(self, tenant_id: str, at_ms: int) -> Service:
        """What is served."""
        assert (tenant_id, at_ms) == ("ten_1", self.at)
        self.asked.append("service")
        if self.fault is not None:
            raise self.fault
        return self.served

    async def reserve(self, call: CallRequest, at_ms: int, *, overage: bool) -> Admitted | Short:
        """Take the estimate if it fits."""
        self.asked.append("overage" if overage else "no overage")
        if self.fault is not None:
            raise self.fault
        tokens = call.estimated_input + call.max_output
        most = self.limits.most_with(overage=overage)
        fits = most is None or self.taken + tokens <= most
        self.taken += tokens if fits else 0
        standing = Standing(
            tenant_id=call.tenant_id,
            period=month_of(at_ms),
            used=self.taken,
            reserved=0,
            own_used=0,
            limits=self.limits,
        )
        if fits:
            return Admitted(max_output=call.max_output, standing=standing)
        room = Room(scope=MONTH, most=most or 0, taken=self.taken)
        return Short(room=room, standing=standing, plan="free")


AWAY = StorageUnreachable("away")
SMALL = replace(CALL, estimated_input=300, max_output=200)
"""Four of them are the grace of a tenant with 100,000 tokens."""


def service(counters: Counters) -> BillingService:
    """The meter over the counters."""
    return BillingService(counters, counters)


async def away(counters: Counters) -> BillingService:
    """A meter that knows the tenant, whose database has gone."""
    meter = service(counters)
    await meter.reserve(SMALL)
    counters.fault = AWAY
    return meter


async def graces(meter: BillingService, call: CallRequest, *, most: int = 99) -> int:
    """How many such calls are granted without the database, up to ``most``."""
    for granted in range(most):
        try:
            answer = await meter.reserve(call)
        except StorageUnreachable:
            return granted
        assert isinstance(answer, Grant)
        assert not answer.recorded
    return most


async def test_a_call_that_fits_is_granted() -> None:
    """With what the store grants, and the forecast of an expensive turn."""
    answer = await service(Counters()).reserve(replace(CALL, estimated_input=3_000))
    assert isinstance(answer, Grant)
    assert (answer.call_id, answer.max_output, answer.recorded) == ("t.1.1", 4_000, True)
    assert "4 % of your month" in answer.note


async def test_a_call_that_does_not_fit_is_refused() -> None:
    """As a value, with when to come back."""
    answer = await service(Counters(taken=99_999)).reserve(CALL)
    assert isinstance(answer, QuotaRefusal)
    assert answer.retry_at_ms == month_of(NOW).end_ms


@pytest.mark.parametrize(
    ("served", "asked"),
    [
        (Service.FULL, ["service", "overage"]),
        (Service.NO_OVERAGE, ["service", "no overage"]),
        (Service.READ_ONLY, ["service"]),
        (Service.OFF, ["service"]),
    ],
)
async def test_who_owes_gets_less(served: Service, asked: list[str]) -> None:
    """First no overage, then no model at all; the store is not even asked."""
    counters = Counters(served=served)
    answer = await service(counters).reserve(CALL)
    assert counters.asked == asked
    suspended = isinstance(answer, QuotaRefusal) and answer.code is RefusalCode.SERVICE
    assert suspended is (served in {Service.READ_ONLY, Service.OFF})
    if isinstance(answer, QuotaRefusal):
        assert answer.offline is (served is not Service.OFF)


async def test_full_service_is_believed_for_five_minutes() -> None:
    """Less than that is asked for each time: who pays is served at once."""
    counters = Counters()
    meter = service(counters)
    for _ in range(2):
        await meter.reserve(SMALL)
    assert counters.asked.count("service") == 1
    counters.at += FRESH_MS
    counters.served = Service.OFF
    assert isinstance(await meter.reserve(SMALL), QuotaRefusal)
    counters.served = Service.FULL
    assert isinstance(await meter.reserve(SMALL), Grant)
    assert counters.asked.count("service") == 3


async def test_the_grace_is_two_per_cent() -> None:
    """Of the limit, over all turns of the process, whatever they ask for at once."""
    meter = await away(Counters())
    assert await graces(meter, replace(SMALL, turn_id="a"), most=2) == 2
    assert await graces(meter, replace(SMALL, turn_id="b")) == 2
    assert await graces(meter, replace(SMALL, turn_id="a")) == 0


async def test_the_grace_is_one_turn_at_least() -> None:
    """A turn that needs more than that may end, up to 90 % of the limit; no other begins."""
    meter = await away(Counters())
    assert await graces(meter, CALL, most=3) == 3
    assert await graces(meter, replace(SMALL, turn_id="b")) == 0
    assert await graces(meter, CALL) == 15


async def test_who_is_near_the_limit_gets_no_grace() -> None:
    """From 90 % on, as last known."""
    assert await graces(await away(Counters(taken=89_500)), SMALL) == 0
    assert await graces(await away(Counters(taken=89_499)), SMALL) == 1


async def test_who_is_not_known_gets_no_grace() -> None:
    """Or was last seen more than five minutes ago."""
    assert await graces(service(Counters(fault=AWAY)), SMALL) == 0
    counters = Counters()
    meter = await away(counters)
    counters.at += FRESH_MS
    assert await graces(meter, SMALL) == 0


async def test_a_database_that_comes_and_goes_gives_one_grace() -> None:
    """What was granted meanwhile may not be counted yet; after five minutes it is."""
    counters = Counters()
    meter = await away(counters)
    assert await graces(meter, SMALL, most=3) == 3
    counters.fault = None
    await meter.reserve(SMALL)
    counters.fault = AWAY
    assert await graces(meter, replace(SMALL, turn_id="b")) == 1
    counters.fault = None
    counters.at += FRESH_MS
    await meter.reserve(SMALL)
    counters.fault = AWAY
    assert await graces(meter, replace(SMALL, turn_id="c"), most=4) == 4


async def test_a_suspended_team_gets_no_grace() -> None:
    """It was served before, but not when it was last asked."""
    counters = Counters(served=Service.NO_OVERAGE)
    meter = service(counters)
    await meter.reserve(SMALL)
    counters.served = Service.OFF
    await meter.reserve(SMALL)
    counters.fault = AWAY
    assert await graces(meter, SMALL) == 0


async def test_without_any_limit_the_allowance_bounds_the_grace() -> None:
    """There is nothing else to go by."""
    meter = await away(Counters(limits=Limits(soft=50_000, hard=None)))
    assert await graces(meter, replace(SMALL, turn_id="a"), most=1) == 1
    assert await graces(meter, replace(SMALL, turn_id="b")) == 1


async def test_a_lost_lease_is_no_outage() -> None:
    """Somebody else answers the turn."""
    counters = Counters()
    meter = await away(counters)
    counters.fault = Fenced("gone")
    with pytest.raises(Fenced):
        await meter.reserve(SMALL)
