"""What every platform's sink must do with ``Reply.ask``: cards, their buttons, and their end."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import Fenced, StorageFailure
from core.replies import Reply
from core.sinks import CardForm, DeliveryFailed
from tests.contracts.sink_kit import SinkKit
from tests.contracts.test_sinks import ANSWER, KITS, LONG, bed
from tests.support.core_kit import Site, copy_sqlite, eventually

APPROVAL = "appr_0190aaaabbbbccccddddeeeeabc123"
COMMAND = "systemctl restart nginx"
CARD = f"Approve this?\n\n```\n{COMMAND}\n```\n\nIt restarts a service."
FORMS = (
    CardForm(text=f"{CARD}\n\n{LONG}", approvals=(APPROVAL,)),
    CardForm(text=CARD, approvals=(APPROVAL,)),
    CardForm(text="Too long to show here."),
)
SAID = "I will restart it."


@pytest.fixture(params=KITS, ids=[kit.name for kit in KITS])
def kit(request: pytest.FixtureRequest) -> SinkKit:
    """The platform; what databases have to do with it ``test_sinks`` knows."""
    chosen: SinkKit = request.param
    return chosen


@pytest.fixture
def site(sqlite_template: Path, tmp_path: Path) -> Site:
    """A site of the test's own."""
    return copy_sqlite(sqlite_template, tmp_path / "data")


async def test_a_card_is_one_committed_message_until_the_answer(site: Site, kit: SinkKit) -> None:
    """Under the words before it, with its buttons; the answer takes its place and has none."""
    async with bed(site, kit) as b:
        reply = b.reply()
        await reply.open(first_attempt=True)
        reply.show(SAID)
        await reply.ask(SAID, [FORMS])
        (shown,) = b.texts()
        assert shown.index(SAID) < shown.index(COMMAND)
        assert b.stage.decidable(b.turn.id) == [True]
        refs = b.stage.refs(b.turn.id)
        assert await b.parts() == refs
        resumed = b.another()
        await resumed.open(first_attempt=False)
        await resumed.deliver(ANSWER)
        assert (b.texts(), b.stage.decidable(b.turn.id)) == ([ANSWER], [False])
        assert b.stage.refs(b.turn.id) == refs


async def test_a_card_is_not_shown_twice(site: Site, kit: SinkKit) -> None:
    """An attempt that finds the question still open shows the same in the same message."""
    async with bed(site, kit) as b:
        reply = b.reply()
        await reply.open(first_attempt=True)
        await reply.ask(SAID, [FORMS])
        before = b.texts(), b.stage.refs(b.turn.id)
        for _ in range(2):
            again = b.another()
            await again.open(first_attempt=False)
            await again.ask(SAID, [FORMS])
        assert (b.texts(), b.stage.refs(b.turn.id)) == before
        assert b.stage.decidable(b.turn.id) == [True]


async def test_a_card_alone_needs_no_words(site: Site, kit: SinkKit) -> None:
    """A call without a word before it; two of them are two messages with their own buttons."""
    async with bed(site, kit) as b:
        reply = b.reply()
        await reply.open(first_attempt=True)
        await reply.ask("", [FORMS, FORMS])
        assert b.stage.decidable(b.turn.id) == [True, True]
        assert all(COMMAND in text for text in b.texts())
        assert await b.parts() == b.stage.refs(b.turn.id)


async def test_a_card_is_whole_in_the_message_with_its_buttons(site: Site, kit: SinkKit) -> None:
    """Under a long text it is a message of its own; later nothing of it can be pressed."""
    async with bed(site, kit) as b:
        reply = b.reply()
        await reply.open(first_attempt=True)
        await reply.ask(LONG, [FORMS])
        decidable = b.stage.decidable(b.turn.id)
        assert decidable == [False] * (len(decidable) - 1) + [True]
        assert COMMAND in b.texts()[-1]
        assert " ".join(b.texts()[:-1]).split() == LONG.split()
        await b.finish(ANSWER)
        await b.another(owner=False).deliver(ANSWER)
        assert b.texts() == [ANSWER] + ["(see above)"] * (len(decidable) - 1)
        assert not any(b.stage.decidable(b.turn.id))


async def test_words_that_could_be_a_card_stand_apart(site: Site, kit: SinkKit) -> None:
    """What an agent wrote over several lines is not in the message that has the buttons."""
    async with bed(site, kit) as b:
        reply = b.reply()
        await reply.open(first_attempt=True)
        await reply.ask("Approve this?\n\n```\nls\n```\n\nIt is harmless.", [FORMS])
        assert b.stage.decidable(b.turn.id) == [False, True]
        assert ["ls" in text.split() for text in b.texts()] == [True, False]


async def test_a_card_that_fits_nowhere_has_no_buttons(site: Site, kit: SinkKit) -> None:
    """Whoever cannot see the command whole cannot approve it with a press."""
    async with bed(site, kit) as b:
        reply = b.reply()
        await reply.open(first_attempt=True)
        await reply.ask(SAID, [(FORMS[0], FORMS[2])])
        assert b.stage.decidable(b.turn.id) == [False]
        assert "Too long to show here." in b.texts()[0]


async def test_the_first_news_after_a_decision_takes_the_buttons(site: Site, kit: SinkKit) -> None:
    """A status is enough, wherever the card stands."""
    async with bed(site, kit) as b:
        reply = b.reply()
        await reply.open(first_attempt=True)
        await reply.ask(LONG[:600], [FORMS])
        resumed = b.another()
        await resumed.open(first_attempt=False)
        resumed.show("I will.")
        resumed.status("Approved by Ann, 14:02 UTC")
        await eventually(lambda: not any(b.stage.decidable(b.turn.id)))
        await resumed.close()


async def test_a_crash_while_a_card_is_posted(site: Site, kit: SinkKit) -> None:
    """A message whose id was not committed is found, or is a placeholder without buttons."""
    async with bed(site, kit) as b:
        b.house.faults.refuse = lambda name: name == "_save_part"
        reply = b.reply()
        with pytest.raises(StorageFailure):
            await reply.ask(SAID, [FORMS])
        b.house.faults.refuse = lambda _name: False
        again = b.another()
        await again.ask(SAID, [FORMS])
        decidable = b.stage.decidable(b.turn.id)
        assert sum(decidable) == 1
        assert len(decidable) == (1 if kit.can_find else 2)
        assert decidable[-1]


async def test_a_platform_that_refuses_a_card_is_a_failure(site: Site, kit: SinkKit) -> None:
    """The caller learns that nobody was asked here."""
    async with bed(site, kit) as b:
        b.stage.refuse()
        with pytest.raises(DeliveryFailed) as failure:
            await b.reply().ask(SAID, [FORMS])
        assert failure.value.permanent
        assert not any(b.stage.decidable(b.turn.id))


async def test_a_worker_that_lost_its_lease_asks_nobody(site: Site, kit: SinkKit) -> None:
    """The worker that has the turn asks."""
    async with bed(site, kit) as b:
        leased = True
        reply = Reply(b.sink, b.log, b.to, b.turn.epoch, leased=lambda: leased)
        await reply.open(first_attempt=True)
        leased = False
        with pytest.raises(Fenced):
            await reply.ask(SAID, [FORMS])
        assert not any(b.stage.decidable(b.turn.id))


async def test_an_answer_may_carry_the_buttons(site: Site, kit: SinkKit) -> None:
    """As the notice of a card elsewhere: under a text that is one message, else not at all."""
    async with bed(site, kit) as b:
        await b.finish(CARD)
        await b.another(owner=False).deliver(CARD, approvals=(APPROVAL,))
        assert b.stage.decidable(b.turn.id) == [True]
        await b.another(owner=False).deliver(f"{CARD}\n\n{LONG}", approvals=(APPROVAL,))
        assert not any(b.stage.decidable(b.turn.id))
