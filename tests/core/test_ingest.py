"""What is carried out at ingest on the real core: buttons, edits, deletions, moves, groups."""

from __future__ import annotations

from dataclasses import replace

from core.buttons import Action, Press
from core.inbox import Accepted, ControlDone
from core.messages import ConversationAddress, InboundMessage, RemoteFile
from core.refusals import Rejected
from core.tenants import Role, User
from storage.access import SqlGate
from tests.core.test_drafts import Platform
from tests.core.test_intake import Shelf
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.support.core_gate import Gate
from tests.support.core_kit import House, Probe, Site


def gate_of(house: House) -> SqlGate:
    """The codes of the installation."""
    return SqlGate(house.core.storage.db, house.core.storage.keys.derive("audit"))


def press_of(
    house: House, accepted: Accepted, action: Action, who: User | None = None, event: str = "p1"
) -> Press:
    """A press on a button under a turn's reply."""
    message = house.message("", who)
    return Press(
        event_id=f"test:{event}",
        actor=message.actor,
        address=message.address,
        group=None,
        action=action,
        subject=accepted.turn_id,
    )


async def test_a_stop_button_ends_its_turn_alone(site: Site) -> None:
    """The pressed turn ends as cancelled; what waits behind it goes on. Twice is once."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()]) as house:
        running = await house.accepted("hold")
        await gate.reached.wait()
        waiting = await house.accepted("next")
        done = await house.core.inbox.press(press_of(house, running, Action.STOP))
        assert isinstance(done, ControlDone)
        assert (done.reply, done.stopped) == ("Stopped.", (running.turn_id,))
        assert (await house.final(running)).outcome == "cancelled"
        assert (await house.final(waiting)).reply == "Answer to next."
        again = await house.core.inbox.press(press_of(house, running, Action.STOP))
        late = await house.core.inbox.press(press_of(house, running, Action.STOP, event="p2"))
    assert isinstance(again, ControlDone)
    assert (again.reply, again.stopped) == ("Stopped.", ())
    assert isinstance(late, ControlDone)
    assert late.reply == "This is over already."


async def test_who_may_press_stop(site: Site) -> None:
    """The writer and operators may; a viewer of the team may not, other teams see nothing."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()]) as house:
        viewer = await house.user(house.admin.tenant_id, "v@example.com", Role.VIEWER)
        operator = await house.user(house.admin.tenant_id, "o@example.com", Role.OPERATOR)
        stranger = await house.tenant("elsewhere")
        running = await house.accepted("hold")
        await gate.reached.wait()
        refused = await house.core.inbox.press(press_of(house, running, Action.STOP, viewer, "1"))
        unseen = await house.core.inbox.press(press_of(house, running, Action.STOP, stranger, "2"))
        assert isinstance(refused, Rejected)
        assert refused.code == "not_allowed"
        assert isinstance(unseen, Rejected)
        assert unseen.code == "not_found"
        done = await house.core.inbox.press(press_of(house, running, Action.STOP, operator, "3"))
        assert isinstance(done, ControlDone)
        assert (await house.final(running)).outcome == "cancelled"


async def test_feedback_is_kept_once_a_person(site: Site) -> None:
    """The last of a person's presses counts."""
    async with site.open() as house:
        accepted = await house.accepted("hello")
        await house.final(accepted)
        await house.core.inbox.press(press_of(house, accepted, Action.GOOD, event="1"))
        await house.core.inbox.press(press_of(house, accepted, Action.BAD, event="2"))
        assert await house.rows("SELECT turn_id, good FROM feedback") == [(accepted.turn_id, 0)]


async def test_an_edit_of_a_waiting_message_replaces_it(site: Site) -> None:
    """Nobody began with it: the engine reads the new text alone, one answer comes."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()]) as house:
        await house.accepted("hold")
        await gate.reached.wait()
        message = house.message("wrong", event="m2")
        accepted = await house.core.inbox.accept(message)
        assert isinstance(accepted, Accepted)
        assert await house.core.inbox.edit(replace(message, text="right")) is None
        gate.opened.set()
        assert (await house.final(accepted)).reply == "Answer to right."
        assert await house.rows("SELECT COUNT(*) FROM turns") == [(2,)]


async def test_an_edit_of_a_running_message_joins_its_turn(site: Site) -> None:
    """The engine reads the correction at its next step; one answer covers both. Twice is once."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()]) as house:
        message = house.message("hold", event="m1")
        running = await house.core.inbox.accept(message)
        assert isinstance(running, Accepted)
        await gate.reached.wait()
        edited = replace(message, text="hold on")
        joined = await house.core.inbox.edit(edited)
        assert isinstance(joined, Accepted)
        again = await house.core.inbox.edit(edited)
        assert isinstance(again, Accepted)
        assert again.duplicate
        gate.opened.set()
        await house.final(running)
        assert (await house.final(joined)).outcome == "steered"
        steps = await house.rows("SELECT payload FROM turn_steps WHERE kind = 'steer'")
        assert "hold on" in str(steps)


async def test_an_edit_back_to_the_first_text_counts(site: Site) -> None:
    """A, then B, then A again while it runs: the engine reads A last."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()]) as house:
        message = house.message("hold", event="m1")
        running = await house.core.inbox.accept(message)
        assert isinstance(running, Accepted)
        await gate.reached.wait()
        for number, text in enumerate(("hold b", "hold", "hold b")):
            edited = replace(message, text=text, edit=str(number))
            joined = await house.core.inbox.edit(edited)
            assert isinstance(joined, Accepted)
            assert not joined.duplicate
        gate.opened.set()
        await house.final(running)
        steps = await house.rows("SELECT payload FROM turn_steps WHERE kind = 'steer' ORDER BY n")
        assert len(steps) == 3


async def test_an_edit_that_changes_nothing_or_comes_late_is_ignored(site: Site) -> None:
    """An answered message stays answered; a stranger's edit of it changes nothing either."""
    async with site.open() as house:
        other = await house.tenant("elsewhere")
        message = house.message("hello", event="m1")
        accepted = await house.core.inbox.accept(message)
        assert isinstance(accepted, Accepted)
        await house.final(accepted)
        assert await house.core.inbox.edit(replace(message, text="bye")) is None
        theirs = house.message("bye", other)
        assert await house.core.inbox.edit(replace(theirs, event_id=message.event_id)) is None
        assert await house.rows("SELECT text FROM turns") == [("hello",)]


async def test_a_deleted_message_is_not_answered(site: Site) -> None:
    """Deleted while it runs or waits, its turn ends as cancelled; the others go on."""
    gate = Gate()
    async with site.open(gate.engine(), tools=[Probe("look").tool()]) as house:
        first = house.message("hold", event="m1")
        running = await house.core.inbox.accept(first)
        assert isinstance(running, Accepted)
        await gate.reached.wait()
        second = house.message("next", event="m2")
        waiting = await house.core.inbox.accept(second)
        assert isinstance(waiting, Accepted)
        await house.core.inbox.retract(second.event_id)
        await house.core.inbox.retract(first.event_id)
        await house.core.inbox.retract("test:unknown")
        assert (await house.final(running)).outcome == "cancelled"
        assert (await house.final(waiting)).outcome == "cancelled"


async def test_a_group_that_gets_another_id_keeps_its_conversation(site: Site) -> None:
    """A Telegram group that becomes a supergroup: link and history follow."""
    async with site.open(sink=Platform()) as house:
        old = await _in_group(house, "-100")
        accepted = await house.core.inbox.accept(old)
        assert isinstance(accepted, Accepted)
        await house.final(accepted)
        moved = replace(old.address, channel="-1007")
        await house.core.inbox.move(old.address, moved)
        after = replace(old, address=moved, group="-1007", event_id="test:after")
        again = await house.core.inbox.accept(after)
        assert isinstance(again, Accepted)
        assert again.conversation_id == accepted.conversation_id


async def test_the_group_decides_the_tenant(site: Site) -> None:
    """A member of two teams is, in a linked group, whoever they are in that team."""
    async with site.open(sink=Platform()) as house:
        other = await house.tenant("elsewhere")
        message = await _in_group(house, "-100")
        code = await gate_of(house).link_code(other)
        private = replace(message, group=None, text=f"/link {code} confirm", event_id="test:l")
        assert isinstance(await house.core.inbox.accept(private), Accepted)
        await house.write(
            "UPDATE identities SET chosen_at = chosen_at + 1000000000000000 WHERE tenant_id = :t",
            t=other.tenant_id,
        )
        here = await house.core.inbox.accept(replace(message, event_id="test:1"))
        alone = replace(message.address, channel="7")
        there = await house.core.inbox.accept(
            replace(message, group=None, address=alone, event_id="test:2")
        )
        assert isinstance(here, Accepted)
        assert isinstance(there, Accepted)
        assert here.tenant_id == house.admin.tenant_id
        assert there.tenant_id == other.tenant_id


async def test_an_unlinked_group_starts_nothing(site: Site) -> None:
    """Also for somebody known: their role elsewhere means nothing there. An admin links it."""
    async with site.open(sink=Platform()) as house:
        message = await _in_group(house, "-100")
        elsewhere = replace(message, group="-200", event_id="test:x")
        refused = await house.core.inbox.accept(elsewhere)
        assert isinstance(refused, Rejected)
        assert refused.code == "group_not_linked"
        assert "/link" in refused.sentence
        again = await house.core.inbox.accept(elsewhere)
        assert isinstance(again, Rejected)
        assert again.quiet
        linked = await house.core.inbox.accept(replace(elsewhere, text="/link"))
        assert isinstance(linked, Accepted)
        assert isinstance(
            await house.core.inbox.accept(replace(elsewhere, event_id="test:y")), Accepted
        )


async def _in_group(house: House, group: str) -> InboundMessage:
    """A message of the admin, as a person of a chat platform, in a group that is linked."""
    code = await gate_of(house).link_code(house.admin)
    message = house.message("hello")
    message = replace(
        message,
        actor=replace(message.actor, platform="chat", external_id="u7"),
        address=ConversationAddress(platform="chat", workspace="", channel=group, thread=""),
        group=group,
    )
    linked = await house.core.inbox.accept(
        replace(message, text=f"/link {code}", event_id=f"test:link{group}")
    )
    assert isinstance(linked, Accepted)
    return message


async def test_a_conversation_is_named_after_its_first_question(site: Site) -> None:
    """Commands before it, such as the welcome, name nothing."""
    async with site.open(sink=Platform()) as house:
        message = await _in_group(house, "-100")
        assert await house.rows("SELECT title FROM conversations") == [("",)]
        accepted = await house.core.inbox.accept(replace(message, text="How full is web-3?"))
        assert isinstance(accepted, Accepted)
        assert await house.rows("SELECT title FROM conversations") == [("How full is web-3?",)]


async def test_the_model_knows_who_of_a_group_wrote(site: Site) -> None:
    """Messages of others come with their name, one's own without."""
    engine = ScriptedEngine([Say("Fine.")])
    async with site.open(engine) as house:
        colleague = await house.user(house.admin.tenant_id, "grace@example.com")
        await house.ask("is web-3 up?", place="g")
        conversation = (await house.rows("SELECT id FROM conversations"))[0][0]
        theirs = house.message("and web-4?", colleague)
        shared = replace(theirs, address=house.message("", place="g").address)
        accepted = await house.core.inbox.accept(shared)
        assert isinstance(accepted, Accepted)
        assert accepted.conversation_id == conversation
        await house.final(accepted)
        await house.ask("thanks", place="g")
    said = [exchange.user_text for exchange in engine.requests[-1].history]
    assert said == ["is web-3 up?", '("grace" wrote:)\n> and web-4?']


def _part(house: House, number: int, text: str = "") -> InboundMessage:
    file = RemoteFile(ref=f"f{number}", name=f"{number}.log", media_type="text/plain")
    message = house.message(text, event=f"part{number}")
    return replace(message, files=(file,), album="chat:album:1")


async def test_an_album_is_one_turn(site: Site) -> None:
    """Its parts, each acknowledged on its own, join the first; in any number of deliveries."""
    engine = ScriptedEngine([Say("Nice.")])
    async with site.open(engine, sources={"api": Shelf(b"line\n")}) as house:
        parts = [_part(house, n, "look" if n == 2 else "") for n in range(3)]
        taken = [await house.core.inbox.accept(part) for part in (*parts, *parts)]
        assert all(isinstance(one, Accepted) for one in taken)
        first = taken[0]
        assert isinstance(first, Accepted)
        assert {one.turn_id for one in taken if isinstance(one, Accepted)} == {first.turn_id}
        await house.final(first)
        assert await house.rows("SELECT COUNT(*) FROM turns") == [(1,)]
    (request,) = engine.requests
    assert request.text == "look"
    assert [file.name for file in request.attachments] == ["0.log", "1.log", "2.log"]


async def test_an_album_of_too_many_files_says_so(site: Site) -> None:
    """Five are taken; the model, and so the person, is told of the others."""
    engine = ScriptedEngine([Say("Nice.")])
    async with site.open(engine, sources={"api": Shelf(b"line\n")}) as house:
        taken = [await house.core.inbox.accept(_part(house, n)) for n in range(7)]
        assert isinstance(taken[0], Accepted)
        await house.final(taken[0])
    (request,) = engine.requests
    assert len(request.attachments) == 5
    assert request.text.count("only the first 5") == 1


async def test_a_part_that_comes_too_late_is_a_message_of_its_own(site: Site) -> None:
    """Nothing of an album is lost because its first parts were answered already."""
    engine = ScriptedEngine([Say("Nice.")])
    async with site.open(engine, sources={"api": Shelf(b"line\n")}) as house:
        first = await house.core.inbox.accept(_part(house, 1))
        assert isinstance(first, Accepted)
        await house.final(first)
        late = await house.core.inbox.accept(_part(house, 2))
        assert isinstance(late, Accepted)
        assert late.turn_id != first.turn_id
        assert (await house.final(late)).outcome == "answered"
