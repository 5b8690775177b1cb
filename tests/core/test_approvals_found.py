"""What hostile reviews found in approvals, and what must not come back."""

from __future__ import annotations

from dataclasses import replace

from core.agent_config import ConfigChanges, OnTimeout
from core.approvals import Status
from core.control import Pause
from core.inbox import Accepted
from core.metering import Settlement
from core.pausing import asked
from core.turns import Turn
from storage.team import SqlTeam
from tests.core.test_approvals import (
    _choose,
    _decide,
    _ended,
    _open,
    _pass_time,
    _waiting,
    _wreck,
)
from tests.support.core_kit import Site


async def test_nothing_runs_for_somebody_who_left(site: Site) -> None:
    """Asked, then disabled: the question is void, the turn ends, and says so."""
    wreck = _wreck()
    async with _open(site, wreck) as house:
        bob = await house.user(house.admin.tenant_id, "bob@example.com")
        accepted = await house.accepted("wreck it", bob)
        (approval,) = await _waiting(house)
        team = SqlTeam(house.core.storage.db, house.core.storage.keys.derive("audit"))
        await team.disable_user(house.admin.tenant_id, bob.id, actor=house.admin.id)
        house.core.scheduler.wake()
        final = await house.final(accepted)
        assert (final.outcome, final.failure) == ("refused", "person_left")
        after = await house.core.fleet.desk.get(house.admin.tenant_id, approval.id)
        assert after is not None
        assert after.status is Status.VOID
        assert wreck.runs == []


async def test_waiting_is_no_way_around_four_eyes(site: Site) -> None:
    """Where somebody else has to approve, no timeout does it for them."""
    wreck = _wreck()
    async with _open(site, wreck) as house:
        await _choose(house, ConfigChanges(four_eyes=True, on_timeout=OnTimeout.APPROVE))
        accepted = await house.accepted("wreck it")
        await _waiting(house)
        await _pass_time(house)
        await _ended(house, accepted)
        assert wreck.runs == []


async def test_an_edit_does_not_change_what_was_asked_for(site: Site) -> None:
    """The message of a waiting turn keeps its text; the new one joins when the turn goes on."""
    wreck = _wreck()
    async with _open(site, wreck) as house:
        message = house.message("wreck it")
        accepted = await house.core.inbox.accept(message)
        assert isinstance(accepted, Accepted)
        (approval,) = await _waiting(house)
        await house.core.inbox.edit(replace(message, text="only look", edit="2"))
        texts = await house.rows("SELECT text FROM turns ORDER BY seq")
        assert texts[0] == ("wreck it",)
        assert "only look" in texts[1][0]
        await _decide(house, approval, house.admin, approve=False)
        await _ended(house, accepted)


class BrokenReply:
    """A platform's adapter with a bug."""

    async def ask(self, *_: object) -> None:
        """Crash."""
        raise KeyError("blocks")


async def test_a_bug_in_showing_the_card_ends_nothing() -> None:
    """It counts as not shown: the turn waits, and comes back soon to show it again."""

    async def hold() -> bool:
        return True

    assert not await asked(BrokenReply(), "", (), hold)  # type: ignore[arg-type]


async def test_what_was_not_shown_is_shown_again_soon(site: Site) -> None:
    """By the database's clock, whatever the worker's own says."""
    wreck = _wreck()
    async with _open(site, wreck) as house:
        leases, park = house.core.scheduler.leases, house.core.scheduler.leases.park

        async def unshown(turn: Turn, *, settlements: tuple[Settlement, ...], pause: Pause) -> None:
            await park(turn, settlements=settlements, pause=replace(pause, again_ms=5_000))

        leases.park = unshown  # type: ignore[method-assign]
        accepted = await house.accepted("wreck it")
        (approval,) = await _waiting(house)
        ((until,),) = await house.rows(
            "SELECT parked_until FROM conversations WHERE parked_until IS NOT NULL"
        )
        assert until < approval.expires_at_ms - 60_000
        await _decide(house, approval, house.admin, approve=False)
        await _ended(house, accepted)
