"""Pressing what a reply offers: a command turn of whoever pressed, once."""

from __future__ import annotations

import json

from core.buttons import Action, Press
from core.inbox import Accepted
from core.refusals import Rejected
from core.tenants import Role, User
from tests.support.core_kit import House, Site


def press_of(house: House, offering: Accepted, who: User | None = None) -> Press:
    """A press on the button under a turn's reply, as often as the platform delivers it."""
    message = house.message("", who)
    user = who or house.admin
    return Press(
        event_id=f"test:offer:{offering.turn_id}:{user.id}",
        actor=message.actor,
        address=message.address,
        group=None,
        action=Action.OFFER,
        subject=offering.turn_id,
    )


async def offered(house: House, command: str) -> Accepted:
    """A finished turn whose reply offers a command."""
    accepted = await house.accepted("what does it cost?")
    await house.final(accepted)
    await house.write(
        "UPDATE turns SET offer = :offer WHERE id = :id",
        offer=json.dumps({"label": "Go", "command": command}),
        id=accepted.turn_id,
    )
    return accepted


async def test_a_press_is_the_command(site: Site) -> None:
    """It is answered as a command turn in the same conversation, written by the presser."""
    async with site.open() as house:
        offering = await offered(house, "/language")
        pressed = await house.core.inbox.press(press_of(house, offering))
        assert isinstance(pressed, Accepted)
        assert pressed.conversation_id == offering.conversation_id
        assert "English" in (await house.final(pressed)).reply
        rows = await house.rows(
            "SELECT kind, text, user_id FROM turns WHERE id = :id", id=pressed.turn_id
        )
        assert rows == [("command", "/language", house.admin.id)]


async def test_pressed_twice_is_one_turn(site: Site) -> None:
    """The second press of a person answers with the first one's turn."""
    async with site.open() as house:
        offering = await offered(house, "/language")
        first = await house.core.inbox.press(press_of(house, offering))
        second = await house.core.inbox.press(press_of(house, offering))
        assert isinstance(first, Accepted)
        assert isinstance(second, Accepted)
        assert (second.turn_id, second.duplicate) == (first.turn_id, True)
        assert await house.rows("SELECT COUNT(*) FROM turns WHERE kind = 'command'") == [(1,)]


async def test_who_presses_decides_what_may_be_done(site: Site) -> None:
    """A viewer's press is the viewer's command: it is refused as if they had typed it."""
    async with site.open() as house:
        viewer = await house.user(house.admin.tenant_id, "v@example.com", Role.VIEWER)
        offering = await offered(house, "/engine runbook")
        pressed = await house.core.inbox.press(press_of(house, offering, viewer))
        assert isinstance(pressed, Accepted)
        assert (await house.final(pressed)).outcome == "refused"


async def test_a_button_of_nothing_is_refused(site: Site) -> None:
    """A turn that offers nothing, and one of another team: nothing is sent."""
    async with site.open() as house:
        stranger = await house.tenant("elsewhere")
        plain = await house.accepted("hello")
        await house.final(plain)
        offering = await offered(house, "/language")
        for press in (press_of(house, plain), press_of(house, offering, stranger)):
            refused = await house.core.inbox.press(press)
            assert isinstance(refused, Rejected)
            assert refused.code == "no_offer"
        assert await house.rows("SELECT COUNT(*) FROM turns WHERE kind = 'command'") == [(0,)]
