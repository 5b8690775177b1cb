"""The inbox on both databases: once, in order, refused with a sentence, or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from core.inbox import Accepted, ControlDone
from core.messages import MAX_TEXT_CHARS, Actor
from core.refusals import Rejected
from core.tenants import Role
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.support.core_kit import Site


async def test_a_repeated_event_answers_with_the_first_turn(site: Site) -> None:
    """W5: a second delivery of an event, also a day later in another process, makes no turn."""
    async with site.open() as house:
        message = house.message("hello", event="e1")
        first = await house.core.inbox.accept(message)
        again = await house.core.inbox.accept(message)
        assert isinstance(first, Accepted)
        assert isinstance(again, Accepted)
        assert (first.duplicate, again.duplicate) == (False, True)
        assert (again.turn_id, again.conversation_id) == (first.turn_id, first.conversation_id)
        await house.final(first)
    async with site.open() as house:
        later = await house.core.inbox.accept(message)
        assert isinstance(later, Accepted)
        assert (later.turn_id, later.duplicate) == (first.turn_id, True)
        assert (await house.final(later)).reply == "Fine."
        assert house.engine.requests == []
        await house.settled()


async def test_the_same_event_at_the_same_moment_is_one_turn(site: Site) -> None:
    """W5: twenty deliveries at once, each to a place of its own, still make one turn."""
    async with site.open() as house:
        messages = [house.message("hi", event="e1", place=f"p{index}") for index in range(20)]
        answers = await asyncio.gather(*map(house.core.inbox.accept, messages))
        turns = {answer.turn_id for answer in answers if isinstance(answer, Accepted)}
        assert len(turns) == 1
        fresh = [a for a in answers if isinstance(a, Accepted) and not a.duplicate]
        assert len(fresh) == 1
        assert await house.rows("SELECT COUNT(*) FROM turns") == [(1,)]
        await house.final(fresh[0])
        await house.settled()
        assert len(house.engine.requests) == 1


async def test_quick_messages_are_all_answered_in_order(site: Site) -> None:
    """W4, W16: messages that arrive faster than answers are queued, none is lost or swapped."""
    engine = ScriptedEngine(lambda request: [Say(f"You said {request.text}.")])
    async with site.open(engine) as house:
        accepted = [await house.accepted(f"n{index}") for index in range(6)]
        finals = [await house.final(item) for item in accepted]
        assert [final.reply for final in finals] == [f"You said n{n}." for n in range(6)]
        assert len({final.conversation_id for final in finals}) == 1
        asked = [request.text for request in engine.requests]
        assert asked == [f"n{index}" for index in range(6)]
        history = [item.user_text for item in engine.requests[-1].history]
        assert history == asked[:-1]
        await house.settled()


async def test_a_caller_that_is_cancelled_leaves_no_orphan(site: Site) -> None:
    """A caller cancelled at any moment of the commit: the turn is answered, or was not stored."""
    async with site.open(slots=64) as house:
        tasks = []
        for index in range(60):
            message = house.message("hi", event=f"e{index}", place=f"p{index}")
            tasks.append(asyncio.create_task(house.core.inbox.accept(message)))
        for turns in range(60):
            await asyncio.sleep(0)
            tasks[turns].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert any(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        await house.core.inbox.drain()
        await house.settled()
        stored = await house.rows("SELECT COUNT(*), COUNT(reply) FROM turns")
        assert stored[0][0] == stored[0][1] > 0
        assert await house.rows("SELECT COUNT(*) FROM turns WHERE attempt <> 1") == [(0,)]
        assert house.core.scheduler.running == 0


async def test_a_message_accepted_while_the_process_leaves_is_kept(site: Site) -> None:
    """W1: a transaction under way when the core closes is finished and its turn not lost."""
    async with site.open(grace_s=0) as house:
        task = asyncio.create_task(house.say("hello", event="late"))
        await asyncio.sleep(0)
        task.cancel()
    async with site.open() as house:
        await house.settled()
        rows = await house.rows("SELECT reply FROM turns")
        assert rows in ([], [("Fine.",)])
        again = await house.accepted("hello", event="late")
        assert (await house.final(again)).reply == "Fine."
        assert await house.rows("SELECT COUNT(*) FROM turns") == [(1,)]


async def test_a_stranger_is_refused_and_costs_nothing(site: Site) -> None:
    """Someone without an identity gets a sentence; nothing is stored."""
    async with site.open() as house:
        actor = Actor(platform="slack", workspace="T1", external_id="U1")
        for text in ("hello", "/stop", "/whoami"):
            refused = await house.core.inbox.accept(replace(house.message(text), actor=actor))
            assert isinstance(refused, Rejected)
            assert refused.code == "unknown_person"
            assert "invite" in refused.sentence
        for table in ("turns", "conversations", "places", "controls", "attachments"):
            assert await house.rows(f"SELECT COUNT(*) FROM {table}") == [(0,)]


async def test_a_person_who_was_disabled_is_a_stranger(site: Site) -> None:
    """A user whose access ended is refused from the next message on."""
    async with site.open() as house:
        user = await house.user(house.admin.tenant_id, "left@example.com", Role.OPERATOR)
        await house.ask("hello", user)
        await house.write("UPDATE users SET disabled_at = 1 WHERE id = :id", id=user.id)
        refused = await house.say("hello again", user)
        assert isinstance(refused, Rejected)
        assert refused.code == "unknown_person"


async def test_somebody_elses_event_id_is_not_an_answer(site: Site) -> None:
    """W15: an event id that another tenant used reveals nothing of theirs."""
    async with site.open() as house:
        await house.ask("secret plans", event="same")
        other = await house.tenant("other")
        refused = await house.say("mine", other, event="same")
        assert isinstance(refused, Rejected)
        assert refused.code == "event_taken"
        assert "secret" not in refused.sentence


async def test_an_empty_message_is_refused(site: Site) -> None:
    """Nothing but blanks and control characters is not a message."""
    async with site.open() as house:
        for text in ("", "  \n\t ", "\x00", "\x1b\x07\x00 \r\n"):
            refused = await house.say(text)
            assert isinstance(refused, Rejected)
            assert refused.code == "empty_message"
        assert await house.rows("SELECT COUNT(*) FROM turns") == [(0,)]


async def test_the_length_limit_is_exact(site: Site) -> None:
    """The longest accepted text arrives whole; one character more is refused with both numbers."""
    async with site.open() as house:
        longest = "ä" * MAX_TEXT_CHARS
        await house.ask(longest)
        assert house.engine.requests[0].text == longest
        for text in (longest + "b", "x" * 1_000_000):
            refused = await house.say(text)
            assert isinstance(refused, Rejected)
            assert refused.code == "message_too_long"
            assert f"{len(text):,}" in refused.sentence
            assert "100,000" in refused.sentence
        await house.settled()


ODD = (
    ("a\x00b", "ab"),
    ("lone \ud83d surrogate", "lone \ufffd surrogate"),
    ("pair \U0001f600", "pair \U0001f600"),
    ("\x1b[31mred\x1b[0m", "[31mred[0m"),
    ("one\r\ntwo\rthree", "one\ntwo\nthree"),
    ("  tab\tstays  ", "tab\tstays"),
    ("\u202eevil", "\u202eevil"),
    ("\x85next\x9f", "next"),
)


async def test_odd_characters_are_made_safe(site: Site) -> None:
    """NUL, surrogates and controls are cleaned; the rest of the message is kept and answered."""
    async with site.open() as house:
        for text, stored in ODD:
            final = await house.ask(text)
            assert final.outcome == "answered"
            assert house.engine.requests[-1].text == stored
        rows = await house.rows("SELECT text FROM turns ORDER BY seq")
        assert rows == [(stored,) for _, stored in ODD]


async def test_an_odd_event_id_still_refuses_its_repetition(site: Site) -> None:
    """Whatever bytes a client uses as its idempotency key, the second delivery is a duplicate."""
    async with site.open() as house:
        for event in ("nul \x00", "lone \ud83d", "\x1b", "ok"):
            first = await house.accepted("hello", event=event)
            again = await house.accepted("hello", event=event)
            assert (again.turn_id, again.duplicate) == (first.turn_id, True)
            other = await house.accepted("hello", event=event + "\x01")
            assert not other.duplicate
        await house.settled()


async def test_an_odd_conversation_or_engine_is_answered_with_a_sentence(site: Site) -> None:
    """A name that cannot exist is refused as one that does not exist, and never crashes."""
    async with site.open() as house:
        for name in ("nul\x00", "lone\ud83d", "../etc", "x" * 64):
            refused = await house.say("hello", conversation=name)
            assert isinstance(refused, Rejected)
            assert refused.code == "not_found"
            final = await house.ask("hello", engine=name)
            assert final.outcome == "refused"
            assert "Configured: runbook, scripted" in final.reply
        await house.settled()


PATHS = ("/etc/nginx is broken", "/var/log is full", "/home is full", "/srv is full")
NO_COMMANDS = (*PATHS, "/tmp is full", "/opt", "/ is full", "//", "/1", "not /help")


async def test_a_path_is_a_message(site: Site) -> None:
    """Text that begins with a path goes to the engine, not to the commands."""
    async with site.open() as house:
        for text in NO_COMMANDS:
            final = await house.ask(text)
            assert (final.outcome, final.reply) == ("answered", "Fine."), text
        assert [request.text for request in house.engine.requests] == list(NO_COMMANDS)


async def test_a_mistyped_command_is_corrected(site: Site) -> None:
    """A typo costs no model call and names the command that was probably meant."""
    typos = (("/helpp", "help"), ("/halp", "help"), ("/Sesions", "sessions"), ("/nwe", "new"))
    async with site.open() as house:
        for text, meant in typos:
            final = await house.ask(text)
            assert final.outcome == "refused"
            assert f"Did you mean `/{meant}`?" in final.reply
        assert house.engine.requests == []


async def test_stop_is_carried_out_at_ingest(site: Site) -> None:
    """A control command makes no turn, and its repetition repeats the answer alone."""
    async with site.open() as house:
        await house.ask("hello")
        done = await house.say("/stop", event="s1")
        again = await house.say("/stop", event="s1")
        assert isinstance(done, ControlDone)
        assert isinstance(again, ControlDone)
        assert done.reply == again.reply == "Nothing is running in this conversation."
        assert await house.rows("SELECT COUNT(*) FROM turns") == [(1,)]


async def test_a_conversation_named_by_a_stranger_to_it_does_not_exist(site: Site) -> None:
    """W15: another member's conversation, and one that never was, are refused alike."""
    async with site.open() as house:
        theirs = await house.accepted("mine alone")
        colleague = await house.user(house.admin.tenant_id, "b@example.com")
        outsider = await house.tenant("outsider")
        for person in (colleague, outsider):
            for conversation in (theirs.conversation_id, "conv_none"):
                refused = await house.say("hello", person, conversation=conversation)
                assert isinstance(refused, Rejected)
                assert refused.code == "not_found"
        own = await house.accepted("hello", conversation=theirs.conversation_id)
        assert own.conversation_id == theirs.conversation_id
        await house.settled()
