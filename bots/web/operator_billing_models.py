"""What ``/api/v1/operator/billing`` takes and answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, Field

from billing.invoices import InvoiceStatus
from billing.plans import PlanName
from bots.web.bodies import Body, Integer, Query
from bots.web.requests import NO_NUL

_MOST_TOKENS: Final = 10**12
Text = Annotated[str, Field(max_length=1000, pattern=NO_NUL)]
Id = Annotated[str, Field(max_length=100, pattern=NO_NUL)]
Tokens = Annotated[Integer, Field(ge=0, le=_MOST_TOKENS)]
Count = Annotated[Integer, Field(ge=0, le=1_000_000)]
Percent = Annotated[Integer, Field(ge=100, le=100_000)]
Minor = Annotated[Integer, Field(ge=0, le=10**12)]


class RunBody(Body):
    """When to bill; without it, now."""

    at: AwareDatetime | None = None


class PaidBody(Body):
    """What came in; without an amount, all that is due."""

    amount: Id | None = None
    """As people write it, such as 49.99."""
    currency: Id | None = None
    """Of the amount; the invoice's where none is told."""


class CreditBody(Body):
    """What to take back."""

    amount: Id
    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=NO_NUL)]


class TrialBody(Body):
    """Which plan to try, by which team; without one, the caller's."""

    plan: PlanName
    days: Annotated[Integer, Field(ge=1, le=365)] = 14
    tenant: Id | None = None


class AccountBody(Body):
    """What to change; without a team, the caller's."""

    tenant: Id | None = None
    currency: Id | None = None
    name: Text | None = None
    address: Text | None = None
    tax_number: Text | None = None
    email: Text | None = None
    tax_rate: Annotated[Integer, Field(ge=0, le=10_000)] | None = None
    """Hundredths of a per cent."""


class PriceBody(Body):
    """In minor units."""

    base: Minor
    overage: Minor = 0


class PlanBody(Body):
    """A version of a plan that is to be sold."""

    plan: PlanName
    version: Annotated[Integer, Field(ge=1, le=1_000_000)]
    included_tokens: Tokens
    hard_percent: Percent | None = None
    cap_percent: Percent | None = None
    max_servers: Count
    max_users: Count
    max_standing_orders: Count
    prices: dict[str, PriceBody]
    available_from: AwareDatetime | None = None


class MoveBody(Body):
    """Whom to move; without a team, everybody on another version of the plan."""

    version: Id
    tenant: Id | None = None


class LeftOut(BaseModel):
    """A team that could not be billed."""

    tenant: str
    reason: str


class Ran(BaseModel):
    """What the run did."""

    billed: int
    renewed: int
    skipped: int
    trials_ended: int
    voided: int
    reminded: int
    given_up: int
    failed: int
    problems: list[LeftOut]
    """The first hundred."""


class InvoicesQuery(Query):
    """Which invoices; without a status, all that were issued."""

    status: InvoiceStatus | None = None


class InvoiceRow(BaseModel):
    """An invoice in the operator's list; amounts in minor units."""

    id: str
    number: str | None
    tenant: str
    buyer: str
    status: str
    currency: str
    total: int
    due: int
    needs_review: bool
    issued_at: datetime | None
    due_at: datetime | None


class InvoiceRows(BaseModel):
    """The newest first."""

    invoices: list[InvoiceRow]
    more: bool


class Marked(BaseModel):
    """What became of the money."""

    number: str
    payment: str
    applied: str
    """``invoice``, ``balance`` or ``review``."""
    problem: str


class Credited(BaseModel):
    """The credit note."""

    number: str
    currency: str
    total: int


class Published(BaseModel):
    """The version that is sold."""

    version: str


class Moved(BaseModel):
    """How many subscriptions change with their next period."""

    subscriptions: int


class Trial(BaseModel):
    """The subscription on trial."""

    subscription: str
    tenant: str
    until: datetime | None


class AccountInfo(BaseModel):
    """Who is invoiced, and how."""

    tenant: str
    currency: str
    name: str
    address: str
    tax_number: str
    email: str
    tax_rate: int


class DifferenceRow(BaseModel):
    """A figure that is not what its records add up to."""

    tenant: str
    month: str
    what: str
    expected: int
    found: int


class Differences(BaseModel):
    """Empty when everything agrees."""

    differences: list[DifferenceRow]
