"""What a person sees of billing before they ask: the plan and the month's bar."""

from __future__ import annotations

from typing import Protocol

from billing.desk import BillingDesk
from billing.texts import plan_title, service_sentence, usage_line
from core.messages import Actor
from core.refusals import Rejected
from core.tenants import User
from core.words import Words


class Who(Protocol):
    """The person behind an account of a platform."""

    async def known(self, actor: Actor, group: str | None) -> User | Rejected:
        """The user of the place's team, or of the team they chose."""


class PlanSummary:
    """A few lines for a home page; implements ``bots.slack.ports.Summary``."""

    def __init__(self, desk: BillingDesk, who: Who) -> None:
        """Wire the ports."""
        self._desk = desk
        self._who = who

    async def summary(self, actor: Actor, group: str | None) -> str:
        """Markdown in the actor's language; empty for strangers."""
        user = await self._who.known(actor, group)
        if isinstance(user, Rejected):
            return ""
        words = Words(actor.language)
        standing = await self._desk.plans.standing(user.tenant_id)
        usage = await self._desk.usage.current(user.tenant_id)
        lines = [
            words("**{plan} plan** this month:", plan=plan_title(standing.plan.plan)),
            "",
            usage_line(usage, words),
        ]
        service = service_sentence(standing, words)
        return "\n".join([*lines, *([] if service is None else ["", f"**{service}**"])])
