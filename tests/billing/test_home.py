"""What a home page shows of billing."""

from __future__ import annotations

from dataclasses import dataclass

from billing.home import PlanSummary
from billing.plans import PlanName
from core.messages import Actor
from core.refusals import STRANGER, Rejected
from core.tenants import Role, User
from tests.billing.command_kit import Asked

ACTOR = Actor(platform="slack", workspace="T1", external_id="U1")
USER = User(id="usr_0", tenant_id="ten_1", email="a@b.c", name="", role=Role.VIEWER)


@dataclass
class Known:
    """Everybody is this user, or a stranger."""

    user: User | Rejected

    async def known(self, actor: Actor, group: str | None) -> User | Rejected:
        """Whoever asks."""
        assert (actor, group) == (ACTOR, "T1")
        return self.user


async def test_plan_and_bar() -> None:
    """With what is wrong, if anything is."""
    asked = Asked()
    asked.desk.plan, asked.desk.used = PlanName.PRO, 500_000
    summary = PlanSummary(asked.desk.desk(), Known(USER))
    assert await summary.summary(ACTOR, "T1") == (
        "**Pro plan** this month:\n\n`█████░░░░░` 50 %: 500,000 of 1,000,000 tokens"
    )
    asked.desk.service = "off"
    assert "overdue" in await summary.summary(ACTOR, "T1")


async def test_strangers_see_nothing() -> None:
    """Whoever the team does not know learns nothing of its plan."""
    asked = Asked()
    assert await PlanSummary(asked.desk.desk(), Known(STRANGER)).summary(ACTOR, "T1") == ""
