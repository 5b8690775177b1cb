"""Bodies of billing's requests and answers. Amounts are whole minor units; times are UTC."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from billing.invoices import InvoiceKind, InvoiceStatus, LineKind
from billing.payments import PaymentStatus
from billing.plans import PlanName
from billing.subscriptions import Status
from bots.web.bodies import Body, Integer, Query
from bots.web.requests import NO_NUL
from core.words import sentence

MAX_PAGE = 100
MAX_DAYS = 366
MAX_TOKENS = 10**15
"""No budget is larger; it also fits every column and counter."""
_MAX_POSITION = 2**53
"""Positions are whole numbers that JavaScript reads exactly."""

Id = Annotated[str, Field(min_length=1, max_length=64, pattern=NO_NUL)]
Page = Annotated[int, Field(ge=1, le=MAX_PAGE)]


def _no_default(schema: JsonDict) -> None:
    schema.pop("default", None)


_LeftOut = Field(json_schema_extra=_no_default)
"""May be left out, and is not null where it is not."""


class ChangeBody(Body):
    """A plan, for a quote; or the id of a quote, to carry it out."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["plan"]}, {"required": ["quote_id"]}]},
    )

    plan: Annotated[PlanName | SkipJsonSchema[None], _LeftOut] = None
    quote_id: Annotated[Id | SkipJsonSchema[None], _LeftOut] = None

    @model_validator(mode="after")
    def _says_one(self) -> Self:
        if (self.plan is None) == (self.quote_id is None) or len(self.model_fields_set) > 1:
            message = sentence("Send a plan to get a quote, or the id of a quote to carry it out.")
            raise ValueError(message)
        return self


class CancelBody(Body):
    """When the subscription ends: with its period, or now."""

    at_once: bool = False


class ReactivateBody(Body):
    """Nothing is asked."""


class PayBody(Body):
    """The way to pay; it may be left out where there is only one."""

    method: Id | None = None


class BudgetBody(Body):
    """A limit of the team's own. ``subject`` is an id, or empty for each one of that scope."""

    scope: Literal["user", "conversation", "order", "turn"]
    subject: Annotated[str, Field(max_length=64, pattern=NO_NUL)] = ""
    tokens: Annotated[Integer, Field(ge=0, le=MAX_TOKENS)]
    """Per month, or for each turn; 0 removes the limit."""


class InvoicesQuery(Query):
    """A page of the invoices."""

    status: InvoiceStatus | None = None
    cursor: Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)] | None = None
    limit: Page = 20


class PdfQuery(Query):
    """The language that an invoice is printed in."""

    language: Annotated[str, Field(max_length=35, pattern=NO_NUL)] = "en"


class ExplanationQuery(Query):
    """A page of the calls behind a line."""

    after: Annotated[int, Field(ge=0, le=_MAX_POSITION)] = 0
    limit: Page = 50


class HistoryQuery(Query):
    """Days, UTC, both included; this month where they are left out."""

    from_: Annotated[date | None, Field(alias="from")] = None
    to: date | None = None


class Amount(BaseModel):
    """Minor units of a currency: 4999 USD are 49.99 dollars."""

    amount: int
    currency: str


class PlanPrice(BaseModel):
    """A plan's price in one currency."""

    currency: str
    base: Amount
    """A month, in advance."""
    overage_per_million: Amount
    """A million tokens over the allowance, in arrears; 0 where nothing may go over."""


class PlanInfo(BaseModel):
    """A plan, in one of its versions."""

    id: str
    plan: PlanName
    version: int
    included_tokens: int
    hard_percent: int | None
    """Of the included tokens: more is refused. Null: no such limit."""
    max_servers: int
    max_users: int
    max_standing_orders: int
    prices: list[PlanPrice]


class PlanList(BaseModel):
    """What is sold now, the smallest first."""

    plans: list[PlanInfo]


class SubscriptionAnswer(BaseModel):
    """The team's subscription."""

    id: str
    status: Status
    plan: PlanInfo
    next_plan: PlanInfo | None
    """What it changes to at the end of the period."""
    currency: str
    period_start: datetime
    period_end: datetime
    started_at: datetime
    trial_end: datetime | None
    cancel_at: datetime | None
    service: str
    balance: Amount | None
    due: Amount | None
    """Both null for who is not an admin."""
    overdue_since: datetime | None


class LineInfo(BaseModel):
    """A line of a quote or an invoice, before tax."""

    kind: LineKind
    plan: str
    """The id of the plan's version."""
    period_start: datetime
    period_end: datetime
    quantity: int
    """Tokens of usage lines, seconds of prorations, 1 of base fees."""
    unit: Amount
    """The price of a million tokens, or of the whole period."""
    amount: Amount


class QuoteAnswer(BaseModel):
    """A change of plan with its price: until it expires, what it says is what is charged."""

    id: str
    kind: Literal["upgrade", "downgrade"]
    current: PlanInfo
    wanted: PlanInfo
    lines: list[LineInfo]
    subtotal: Amount
    tax: Amount
    total: Amount
    from_balance: Amount
    effective_at: datetime
    expires_at: datetime


class InvoiceInfo(BaseModel):
    """An invoice, without its lines."""

    id: str
    number: str | None
    kind: InvoiceKind
    status: InvoiceStatus
    currency: str
    period_start: datetime
    period_end: datetime
    subtotal: Amount
    tax: Amount
    total: Amount
    from_balance: Amount
    paid: Amount
    credited: Amount
    due: Amount
    needs_review: bool
    issued_at: datetime | None
    due_at: datetime | None
    closed_at: datetime | None


class InvoiceList(BaseModel):
    """The newest first. ``next_cursor`` leads to the next page; null at the end."""

    invoices: list[InvoiceInfo]
    next_cursor: str | None


class PartyInfo(BaseModel):
    """Who sells or buys."""

    name: str
    address: str
    tax_number: str
    email: str


class InvoiceLine(LineInfo):
    """A line of an invoice."""

    number: int
    tax: Amount


class CreditNoteInfo(BaseModel):
    """What takes a part of the invoice back."""

    id: str
    number: str
    total: Amount
    tax: Amount
    reason: str
    created_at: datetime


class PaymentAnswer(BaseModel):
    """An attempt to pay, with what the payer needs to go on."""

    id: str
    invoice_id: str
    method: str
    status: PaymentStatus
    amount: Amount
    received: Amount | None
    instructions: str
    url: str
    qr: str
    created_at: datetime
    expires_at: datetime | None


class InvoiceDetail(InvoiceInfo):
    """An invoice with its lines, its credit notes and the attempts to pay it."""

    seller: PartyInfo
    buyer: PartyInfo
    tax_rate: int
    """Hundredths of a per cent."""
    lines: list[InvoiceLine]
    credit_notes: list[CreditNoteInfo]
    payments: list[PaymentAnswer]


class ChangeAnswer(BaseModel):
    """A quote; or, where one was carried out, the subscription, and what is to be paid first."""

    quote: QuoteAnswer | None = None
    subscription: SubscriptionAnswer | None = None
    invoice: InvoiceInfo | None = None


class TokenBuckets(BaseModel):
    """Tokens, by how they are priced."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int


class ExplainedConversationInfo(BaseModel):
    """The calls of a line in one conversation."""

    conversation_id: str
    owner: str
    turns: int
    calls: int
    billed_tokens: int


class ExplainedCallInfo(BaseModel):
    """A model call behind a line; the first and the last may belong to it in part."""

    call_id: str
    turn_id: str
    conversation_id: str
    user_id: str
    model: str
    at: datetime
    usage: TokenBuckets
    estimated: bool
    billed_tokens: int


class ExplanationAnswer(BaseModel):
    """What is behind a line: its sums agree to the token."""

    invoice_id: str
    line: InvoiceLine
    conversations: list[ExplainedConversationInfo]
    calls: list[ExplainedCallInfo]
    next_after: int | None


class QuotaAnswer(BaseModel):
    """This month's tokens."""

    period_start: datetime
    period_end: datetime
    used_tokens: int
    reserved_tokens: int
    own_key_tokens: int
    included_tokens: int
    hard_limit_tokens: int | None
    percent: int
    forecast_tokens: int
    overage: Amount
    overage_forecast: Amount


class UsageDay(BaseModel):
    """A day's usage with a model. ``cost_pico_usd``: millionths of a millionth of a dollar."""

    day: date
    model: str
    own_key: bool
    calls: int
    estimated_calls: int
    unpriced_calls: int
    usage: TokenBuckets
    cost_pico_usd: int


class UsageHistory(BaseModel):
    """The oldest first."""

    days: list[UsageDay]


class BudgetInfo(BaseModel):
    """A limit of the team's own."""

    scope: str
    subject: str
    tokens: int


class BudgetList(BaseModel):
    """The team's own limits."""

    budgets: list[BudgetInfo]


class PaymentMethod(BaseModel):
    """A way to pay."""

    name: str
    description: str


class PaymentMethods(BaseModel):
    """The ways to pay."""

    methods: list[PaymentMethod]
