"""The button of a reply's offer on Telegram: shown under the final text, pressed once."""

from __future__ import annotations

import json

from core.messages import ConversationAddress
from core.sinks import Destination, View
from core.turns import Offer
from tests.bots.telegram.kit import Scene, open_scene
from tests.fakes.telegram import TelegramFake
from tests.support.core_kit import Site

OFFER = Offer(label="Confirm", command="/language")
ANSWERED = "SELECT COUNT(*) FROM turns WHERE text = '/language' AND outcome = 'answered'"


async def _offer(scene: Scene) -> None:
    """A reply in the admin's chat that carries the button."""
    ada = scene.admin
    ada.say(ada.user, "what does it cost?")
    await scene.answered(ada, "Fine.")
    await scene.house.settled()
    ((turn, tenant, workspace, channel),) = await scene.house.rows(
        "SELECT id, tenant_id, workspace, channel FROM turns WHERE kind = 'message'"
    )
    stored = json.dumps({"label": OFFER.label, "command": OFFER.command})
    await scene.house.write("UPDATE turns SET offer = :offer WHERE id = :id", offer=stored, id=turn)
    to = Destination(
        tenant_id=tenant,
        turn_id=turn,
        event_id="e",
        address=ConversationAddress(
            platform="telegram", workspace=workspace, channel=channel, thread=""
        ),
        command=True,
    )
    view = View(text="That costs $49.99.", final=True, offer=OFFER)
    await scene.telegram.sink.post(to, 1, view)


async def test_a_press_is_answered_once(place: Site) -> None:
    """Two presses of a person are one command turn; both stop the button from spinning."""
    async with TelegramFake(drafts=False) as fake, open_scene(place, fake) as scene:
        await _offer(scene)
        ada = scene.admin
        offering = ada.shown()[-1]
        presses = [ada.press(ada.user, offering, "Confirm") for _ in range(2)]
        await fake.wait_for(lambda: all(press.answers for press in presses))
        assert [press.answers[0]["show_alert"] for press in presses] == [False, False]
        said = sorted(str(press.answers[0].get("text", "")) for press in presses)
        assert said == [
            "",
            "This was done already. To do it again, type the command that is in the message.",
        ]
        await scene.house.until(ANSWERED)
        await scene.house.settled()
        rows = await scene.house.rows("SELECT text FROM turns WHERE text = '/language'")
        assert rows == [("/language",)]


async def test_a_strangers_press_confirms_nothing(place: Site) -> None:
    """Data that was copied into another chat is refused with an alert."""
    async with TelegramFake(drafts=False) as fake, open_scene(place, fake) as scene:
        await _offer(scene)
        data = str(scene.admin.shown()[-1].button("Confirm")["callback_data"])
        eve = fake.private(6666, first_name="Eve")
        eve.say(eve.user, "hi")
        await fake.wait_for(eve.shown)
        press = eve.press(eve.user, eve.shown()[-1], "", data=data)
        await fake.wait_for(lambda: press.answers)
        assert press.answers[0]["show_alert"]
        assert await scene.house.rows("SELECT id FROM turns WHERE text = '/language'") == []
