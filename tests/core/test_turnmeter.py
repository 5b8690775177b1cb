"""The meter as one turn sees it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from core.messages import ConversationAddress, Overlap
from core.metering import CallRequest, CallState, Grant, QuotaRefusal, Usage
from core.steps import ModelStep
from core.tenants import Role, User
from core.turnmeter import TurnMeter
from core.turns import Turn, TurnKind

TURN = Turn(
    id="turn_1",
    tenant_id="ten_1",
    conversation_id="conv_1",
    seq=1,
    epoch=1,
    attempt=2,
    failures=0,
    kind=TurnKind.MESSAGE,
    event_id="e1",
    user=User(id="usr_1", tenant_id="ten_1", email="a@b", name="a", role=Role.VIEWER),
    address=ConversationAddress(platform="api", workspace="", channel="", thread=""),
    text="hi",
    attachments=(),
    engine=None,
    overlap=Overlap.QUEUE,
    cancelled=False,
    created_at_ms=0,
)


class Answers:
    """A meter that grants, refuses or never answers."""

    def __init__(
        self, *, refuse: bool = False, hang: bool = False, note: str = "", recorded: bool = True
    ) -> None:
        """What it does."""
        self.note = note
        self.recorded = recorded
        self.refuse = refuse
        self.hang = hang
        self.asked: list[CallRequest] = []

    async def reserve(self, call: CallRequest) -> Grant | QuotaRefusal:
        """Answer, or not."""
        self.asked.append(call)
        if self.hang:
            await asyncio.Event().wait()
        if self.refuse:
            return QuotaRefusal(sentence="no")
        return Grant(
            call_id=call.id, max_output=call.max_output, note=self.note, recorded=self.recorded
        )


async def reserve(meter: TurnMeter) -> Grant | QuotaRefusal:
    """One call with 90 tokens of input."""
    return await meter.reserve(engine="e", model="m", estimated_input=90, max_output=10)


async def test_calls_are_named_by_turn_attempt_and_number() -> None:
    """The id is made before the call, and no two calls share one."""
    meter = TurnMeter(Answers(), TURN)
    first, second = await reserve(meter), await reserve(meter)
    assert [grant.call_id for grant in (first, second) if isinstance(grant, Grant)] == [
        "turn_1.2.1",
        "turn_1.2.2",
    ]


async def test_a_finished_call_is_settled_as_told() -> None:
    """The provider's figures count, and nothing is left over."""
    meter = TurnMeter(Answers(), TURN)
    await reserve(meter)
    usage = Usage(input_tokens=7, output_tokens=3)
    step = ModelStep(call_id="turn_1.2.1", engine="e", model="m", text="hi", usage=usage)
    settlement = meter.finished(step)
    assert (settlement.usage, settlement.state) == (usage, CallState.SETTLED)
    assert meter.leftovers() == ()


async def test_w9_a_call_that_is_cut_off_is_estimated() -> None:
    """Input as reserved, output as streamed: four bytes a token, rounded up."""
    meter = TurnMeter(Answers(), TURN)
    await reserve(meter)
    meter.streamed("x" * 9)
    (left,) = meter.leftovers()
    assert left.state is CallState.ESTIMATED
    assert (left.usage.input_tokens, left.usage.output_tokens) == (90, 3)


async def test_w9_a_reported_zero_is_zero() -> None:
    """A call that the provider refused costs nothing."""
    meter = TurnMeter(Answers(), TURN)
    await reserve(meter)
    meter.saw("turn_1.2.1", Usage())
    (left,) = meter.leftovers()
    assert left.usage == Usage()


async def test_streamed_text_belongs_to_the_newest_call() -> None:
    """A retry does not add to the bill of the try before it."""
    meter = TurnMeter(Answers(), TURN)
    await reserve(meter)
    meter.streamed("x" * 40)
    await reserve(meter)
    meter.streamed("x" * 4)
    first, second = meter.leftovers()
    assert (first.usage.output_tokens, second.usage.output_tokens) == (10, 1)


async def test_a_refused_call_leaves_nothing() -> None:
    """What was not granted is not settled."""
    meter = TurnMeter(Answers(refuse=True), TURN)
    assert isinstance(await reserve(meter), QuotaRefusal)
    assert meter.leftovers() == ()


async def test_a_call_cancelled_while_it_was_reserved_costs_nothing() -> None:
    """Its reservation may be committed: it is settled as zero, for nothing was sent."""
    meter = TurnMeter(Answers(hang=True), TURN)
    task = asyncio.create_task(reserve(meter))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    (left,) = meter.leftovers()
    assert (left.call_id, left.usage) == ("turn_1.2.1", Usage())


async def test_whose_account_pays_goes_with_every_call() -> None:
    """A turn on the tenant's own key says so of each of its calls; others say nothing."""
    answers = Answers()
    own = TurnMeter(answers, TURN, own_key=True)
    await reserve(own)
    await reserve(own)
    await reserve(TurnMeter(answers, TURN))
    assert [call.own_key for call in answers.asked] == [True, True, False]


async def test_a_note_is_passed_on() -> None:
    """What the turn is likely to take is told before its answer; nothing is no note."""
    told: list[str] = []
    meter = TurnMeter(Answers(), TURN, noted=told.append)
    await reserve(meter)
    assert told == []
    meter.meter = Answers(note="about 40k tokens")
    await reserve(meter)
    assert told == ["about 40k tokens"]
    await reserve(TurnMeter(Answers(note="x"), TURN))  # nobody shows it


async def test_a_call_without_a_row_is_settled_with_itself() -> None:
    """Whether it ended well or was cut off: its row is written then."""
    answers = Answers(recorded=False)
    meter = TurnMeter(answers, replace(TURN, order_id="ord_1"))
    for _ in range(2):
        await reserve(meter)
    step = ModelStep(call_id="turn_1.2.1", engine="e", model="m", text="", usage=Usage())
    assert meter.finished(step).call == answers.asked[0]
    assert [left.call for left in meter.leftovers()] == [answers.asked[1]]
    assert answers.asked[0].order_id == "ord_1"


async def test_a_call_with_a_row_is_settled_without() -> None:
    """The usual one."""
    meter = TurnMeter(Answers(), TURN)
    await reserve(meter)
    assert [left.call for left in meter.leftovers()] == [None]


async def test_chinese_output_is_estimated_by_its_bytes() -> None:
    """A character is about a token: who stops an answer does not get it for a quarter."""
    meter = TurnMeter(Answers(), TURN)
    await reserve(meter)
    meter.streamed("磁盘已满" * 25)
    (left,) = meter.leftovers()
    assert left.usage.output_tokens == 75


async def test_what_was_granted_without_a_row_is_remembered() -> None:
    """Finished or cut off: the commit that brings it may be lost, its usage may not."""
    meter = TurnMeter(Answers(recorded=False), TURN)
    for _ in range(2):
        await reserve(meter)
    usage = Usage(input_tokens=1, output_tokens=2)
    step = ModelStep(call_id="turn_1.2.1", engine="e", model="m", text="hi", usage=usage)
    settlements = (meter.finished(step), *meter.leftovers())
    assert meter.unrecorded == list(settlements)
    assert [one.call_id for one in settlements] == ["turn_1.2.1", "turn_1.2.2"]
    recorded = TurnMeter(Answers(), TURN)
    await reserve(recorded)
    recorded.leftovers()
    assert recorded.unrecorded == []
