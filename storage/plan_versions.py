"""Plan versions in the database: seeded, added, never changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from billing.plans import SEED, PlanName, PlanVersion, Price, sold
from storage.database import execute
from storage.rows import integer, text

COLUMNS = (
    "id, plan, version, included_tokens, hard_percent, cap_percent, max_servers, max_users,"
    " max_standing_orders, prices, available_from"
)


def seed(conn: sa.Connection, versions: Iterable[PlanVersion] = SEED) -> None:
    """Put in what a new installation sells; a row that exists is left as it is."""
    for version in versions:
        insert(conn, version)


def insert(conn: sa.Connection, version: PlanVersion) -> bool:
    """Add a version; False: there is one of that id, or of that plan and number."""
    prices = {
        currency: {"base": price.base, "overage": price.overage}
        for currency, price in version.prices.items()
    }
    row = execute(
        conn,
        f"INSERT INTO plan_versions ({COLUMNS}) VALUES (:id, :plan, :version, :included, :hard,"
        " :cap, :servers, :users, :orders, :prices, :available) ON CONFLICT DO NOTHING"
        " RETURNING id",
        id=version.id,
        plan=str(version.plan),
        version=version.version,
        included=version.included_tokens,
        hard=version.hard_percent,
        cap=version.cap_percent,
        servers=version.max_servers,
        users=version.max_users,
        orders=version.max_standing_orders,
        prices=json.dumps(prices, sort_keys=True),
        available=version.available_from_ms,
    ).first()
    return row is not None


def versions_by_id(conn: sa.Connection) -> Mapping[str, PlanVersion]:
    """Every version that was ever sold; there are few. What is not seeded yet is there too."""
    rows = execute(conn, f"SELECT {COLUMNS} FROM plan_versions").all()
    found = [_version_of(row) for row in rows] or SEED
    return {version.id: version for version in found}


def sold_now(conn: sa.Connection, at_ms: int) -> tuple[PlanVersion, ...]:
    """What is sold at the moment, the smallest first."""
    return sold(versions_by_id(conn).values(), at_ms)


def free_version(versions: Mapping[str, PlanVersion], at_ms: int) -> PlanVersion:
    """The free plan as it is given at the moment. Raises ``LookupError``: it must be there."""
    for version in sold(versions.values(), at_ms):
        if version.plan is PlanName.FREE:
            return version
    message = "there is no free plan"
    raise LookupError(message)


def _version_of(row: Sequence[object]) -> PlanVersion:
    prices = json.loads(text(row[9]))
    return PlanVersion(
        id=text(row[0]),
        plan=PlanName(text(row[1])),
        version=integer(row[2]),
        included_tokens=integer(row[3]),
        hard_percent=None if row[4] is None else integer(row[4]),
        cap_percent=None if row[5] is None else integer(row[5]),
        max_servers=integer(row[6]),
        max_users=integer(row[7]),
        max_standing_orders=integer(row[8]),
        prices={
            currency: Price(base=price["base"], overage=price["overage"])
            for currency, price in prices.items()
        },
        available_from_ms=integer(row[10]),
    )
