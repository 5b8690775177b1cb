"""The plans: what each includes, allows and costs. A version never changes; a price does.

A new price is a new version. Subscriptions keep theirs until they are moved on purpose.
Prices in another currency are set, not converted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class PlanName(StrEnum):
    """What is sold, from the smallest to the largest."""

    FREE = "free"
    PRO = "pro"
    ENTERPRISE = "enterprise"

    @property
    def rank(self) -> int:
        """Larger is more; a change to a larger one is an upgrade."""
        return tuple(PlanName).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """In one currency, in its minor units."""

    base: int
    """A whole calendar month, in advance."""
    overage: int
    """A million tokens over the allowance, in arrears; 0 where nothing may go over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanVersion:
    """A plan as it is sold from ``available_from_ms`` on."""

    id: str
    plan: PlanName
    version: int
    included_tokens: int
    """A whole calendar month's allowance."""
    hard_percent: int | None
    """Of the allowance: more is refused. None: no limit but ``cap_percent``."""
    cap_percent: int | None
    """Where there is no limit: the operator's safety cap, in per cent of the allowance."""
    max_servers: int
    max_users: int
    max_standing_orders: int
    prices: Mapping[str, Price]
    """By ISO 4217 currency."""
    available_from_ms: int = 0


CURRENCIES: Final = ("USD", "CNY")


class UnknownCurrency(ValueError):
    """The plan has no price in it."""

    def __init__(self, version: PlanVersion, currency: str) -> None:
        """Name both."""
        super().__init__(f"{version.id} has no price in {currency}")


def sold(versions: Iterable[PlanVersion], at_ms: int) -> tuple[PlanVersion, ...]:
    """What is sold at a moment: of each plan the newest version that is out, smallest first."""
    newest: dict[PlanName, PlanVersion] = {}
    for version in sorted(versions, key=lambda it: (it.available_from_ms, it.version)):
        if version.available_from_ms <= at_ms:
            newest[version.plan] = version
    return tuple(newest[name] for name in PlanName if name in newest)


SEED: Final = (
    PlanVersion(
        id="free-1",
        plan=PlanName.FREE,
        version=1,
        included_tokens=100_000,
        hard_percent=100,
        cap_percent=None,
        max_servers=3,
        max_users=3,
        max_standing_orders=2,
        prices={"USD": Price(base=0, overage=0), "CNY": Price(base=0, overage=0)},
    ),
    PlanVersion(
        id="pro-1",
        plan=PlanName.PRO,
        version=1,
        included_tokens=1_000_000,
        hard_percent=150,
        cap_percent=None,
        max_servers=50,
        max_users=25,
        max_standing_orders=50,
        prices={
            "USD": Price(base=49_99, overage=8_00),
            "CNY": Price(base=358_00, overage=57_00),
        },
    ),
    PlanVersion(
        id="enterprise-1",
        plan=PlanName.ENTERPRISE,
        version=1,
        included_tokens=10_000_000,
        hard_percent=None,
        cap_percent=1_000,
        max_servers=1_000,
        max_users=500,
        max_standing_orders=1_000,
        prices={
            "USD": Price(base=199_99, overage=5_00),
            "CNY": Price(base=1_428_00, overage=36_00),
        },
    ),
)
"""What a new installation sells."""
