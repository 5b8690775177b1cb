"""The chat commands: answered without a model, about one's own things alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from core.commands import Command, Commands, ConversationInfo, parse_command
from core.commands_conversations import ConversationCommands, Resumed, Shared, date_group
from core.inbox import Accepted
from core.messages import Attachment, ConversationAddress, Overlap
from core.steps import ToolCall
from core.tenants import Role, User
from core.turns import Turn, TurnKind
from core.words import Words
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.support.core_kit import Probe, Site

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


def test_words_that_are_commands() -> None:
    """A known word with or without a rest, in any case, is a command; its rest is trimmed."""
    assert parse_command("/resume  3 ") == Command(word="resume", rest="3")
    assert parse_command("/HELP") == Command(word="help", rest="")
    assert parse_command("/new\nnow") == Command(word="new", rest="")
    assert parse_command("help") is None
    assert parse_command(" /help") is None
    assert parse_command("/") is None


def test_headings_of_a_list() -> None:
    """Conversations are grouped by the day of their last use, also over months and years."""
    expected = {
        datetime(2026, 3, 15, 0, 0, tzinfo=UTC): "Today",
        datetime(2026, 3, 16, 0, 0, tzinfo=UTC): "Today",
        datetime(2026, 3, 14, 23, 59, tzinfo=UTC): "Yesterday",
        datetime(2026, 3, 13, 12, tzinfo=UTC): "Previous 7 days",
        datetime(2026, 3, 9, 0, 0, tzinfo=UTC): "Previous 7 days",
        datetime(2026, 3, 8, 23, tzinfo=UTC): "Previous 30 days",
        datetime(2026, 2, 14, tzinfo=UTC): "Previous 30 days",
        datetime(2026, 2, 13, tzinfo=UTC): "February 2026",
        datetime(2025, 12, 31, tzinfo=UTC): "December 2025",
    }
    assert {at: date_group(at, NOW, Words()) for at in expected} == expected


@dataclass
class FixedClock:
    """A clock that stands."""

    at: datetime = NOW

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return int(self.at.timestamp() * 1000)


@dataclass
class Listed:
    """A desk with a fixed list."""

    infos: tuple[ConversationInfo, ...]
    resumed: list[str] = field(default_factory=list)

    async def list_conversations(
        self, tenant_id: str, user_id: str, *, limit: int
    ) -> tuple[ConversationInfo, ...]:
        """The list."""
        return self.infos[:limit]

    async def new_conversation(self, turn: Turn) -> str:
        """A new one."""
        return "conv_new"

    async def resume_conversation(self, turn: Turn, conversation_id: str) -> Resumed:
        """Remember which."""
        self.resumed.append(conversation_id)
        return Resumed.DONE

    async def delete_conversation(self, turn: Turn, conversation_id: str) -> str | None:
        """Gone."""
        return None


@dataclass
class NoShares:
    """Nobody shares anything."""

    async def share(self, turn: Turn, conversation_id: str, email: str) -> Shared:
        """Not here."""
        return Shared.NOT_YOURS

    async def unshare(self, turn: Turn, conversation_id: str, email: str) -> Shared:
        """Not here either."""
        return Shared.NOT_YOURS

    async def shared_with(
        self, tenant_id: str, user_id: str, *, limit: int
    ) -> tuple[ConversationInfo, ...]:
        """Nothing."""
        return ()


def _turn(text: str) -> Turn:
    return Turn(
        id="turn_1",
        tenant_id="ten_1",
        conversation_id="conv_aaaa11111111",
        seq=1,
        epoch=1,
        attempt=1,
        failures=0,
        kind=TurnKind.COMMAND,
        event_id="e",
        user=User(id="u", tenant_id="ten_1", email="a@b.c", name="a", role=Role.ADMIN),
        address=ConversationAddress(platform="api", workspace="", channel="", thread=""),
        text=text,
        attachments=(),
        engine=None,
        overlap=Overlap.QUEUE,
        cancelled=False,
        created_at_ms=0,
    )


def _info(number: int, at: datetime, title: str) -> ConversationInfo:
    return ConversationInfo(
        id=f"conv_{chr(96 + number) * 4}{number:08d}",
        title=title,
        platform="api",
        updated_at_ms=int(at.timestamp() * 1000),
        turns=2,
    )


async def test_the_list_is_grouped_and_its_numbers_resume() -> None:
    """Each heading once, newest first; titles cannot break the Markdown; numbers and ids work."""
    infos = (
        _info(1, datetime(2026, 3, 15, 9, tzinfo=UTC), "disk *full* [x](http://evil)"),
        _info(2, datetime(2026, 3, 15, 8, tzinfo=UTC), "nginx"),
        _info(3, datetime(2026, 3, 14, 8, tzinfo=UTC), "certs"),
        _info(4, datetime(2025, 1, 1, tzinfo=UTC), "old"),
    )
    desk = Listed(infos)
    commands = Commands(ConversationCommands(desk, NoShares(), FixedClock()).handlers())
    reply = (await commands.run(_turn("/sessions"))).reply
    order = ["**Today**", "1. ", "2. nginx", "**Yesterday**", "3. certs", "**January 2025**", "4. "]
    positions = [reply.index(part) for part in order]
    assert positions == sorted(positions)
    assert reply.count("**Today**") == 1
    assert "\\*full\\*" in reply
    assert "[x](" not in reply
    for rest in ("2", infos[1].id, f"`{infos[1].id[-8:]}`"):
        ending = await commands.run(_turn(f"/resume {rest}"))
        assert ending.continue_in == infos[1].id, rest
    for rest in ("", "0", "5", "-1", "99999999999999999999", "0002", "b", "nginx", "²"):
        ending = await commands.run(_turn(f"/resume {rest}"))
        assert ending.continue_in in {None, infos[1].id}, rest
        assert (ending.continue_in is None) == (rest != "0002"), rest


async def test_new_and_resume_move_the_place(site: Site) -> None:
    """``/new`` starts afresh where one writes; ``/resume`` goes back, with the history."""
    async with site.open() as house:
        first = await house.ask("about disks")
        fresh = await house.ask("/new")
        assert fresh.conversation_id != first.conversation_id
        second = await house.ask("about nginx")
        assert second.conversation_id == fresh.conversation_id
        assert not house.engine.requests[-1].history
        listed = (await house.ask("/sessions")).reply
        assert "about disks" in listed
        assert "(this one)" in listed
        back = await house.ask(f"/resume {first.conversation_id}")
        assert back.conversation_id == first.conversation_id
        assert "about disks" in back.reply
        third = await house.ask("and now?")
        assert third.conversation_id == first.conversation_id
        asked = [item.user_text for item in house.engine.requests[-1].history]
        assert asked == ["about disks"]
        await house.settled()


async def test_nobody_resumes_or_deletes_what_is_not_theirs(site: Site) -> None:
    """W15: others' ids, ends of ids, titles and numbers lead nowhere, in a tenant and across."""
    async with site.open() as house:
        victim = await house.ask("the canary title")
        colleague = await house.user(house.admin.tenant_id, "b@example.com", Role.ADMIN)
        outsider = await house.tenant("outsider")
        target = victim.conversation_id
        hostile = (
            *(target, target[-8:], target[-6:], f"`{target[-8:]}`", "the canary title", "canary"),
            *("1", "2", "%", "_", "conv_", "' OR 1=1 --", f"{target}\x00", ""),
        )
        for person in (colleague, outsider):
            for word in ("resume", "delete"):
                for rest in hostile:
                    place = f"{word}{rest}"[:20]
                    final = await house.ask(f"/{word} {rest}", person, place=place)
                    assert final.conversation_id != target
                    assert "Fine." not in final.reply
                    text = final.reply.replace(rest or "nothing", "")
                    assert "canary" not in text, (word, rest)
        kept = await house.rows(
            "SELECT user_id, deleted_at, title FROM conversations WHERE id = :id", id=target
        )
        assert kept == [(house.admin.id, None, "the canary title")]
        pointing = await house.rows(
            "SELECT channel FROM places WHERE conversation_id = :id", id=target
        )
        assert pointing == [(house.admin.id,)]
        await house.settled()


async def test_deleting_in_a_shared_place_is_its_owners_right(site: Site) -> None:
    """Somebody who writes in another's conversation is told that it is not theirs to delete."""
    async with site.open() as house:
        await house.ask("shared", platform="api", place="room")
        colleague = await house.user(house.admin.tenant_id, "b@example.com")
        message = house.message("/delete", colleague)
        shared = replace(message, address=house.message("x", place="room").address)
        accepted = await house.core.inbox.accept(shared)
        assert isinstance(accepted, Accepted)
        final = await house.final(accepted)
        assert final.outcome == "refused"
        assert "not yours" in final.reply
        assert await house.rows("SELECT COUNT(*) FROM conversations WHERE deleted_at > 0") == [(0,)]
        await house.settled()


async def test_deleting_erases_every_text(site: Site) -> None:
    """After ``/delete`` no table holds a word of it: messages, steps, events, files, lists."""
    word = "xcanaryx"
    look = Probe("look", output=f"{word} in the output")
    moves = [Say(f"{word} said.", tools=(ToolCall(id="t", name="look"),)), Say(f"More {word}.")]
    files = (Attachment(name=f"{word}.txt", media_type="text/plain", data=f"{word}".encode()),)
    async with site.open(ScriptedEngine(moves), tools=[look.tool()]) as house:
        doomed = await house.ask(f"{word} asked", files=files)
        await house.ask("/new")
        await house.ask("/sessions")
        await house.ask(f"/resume {doomed.conversation_id}")
        await house.ask("/sessions")
        await house.ask("/new")
        assert word in await house.dump()
        final = await house.ask(f"/delete {doomed.conversation_id}")
        assert "erased" in final.reply
        dump = await house.dump()
        assert word not in dump.replace(f"/delete {doomed.conversation_id}", "")
        assert await house.rows("SELECT COUNT(*) FROM attachments") == [(0,)]
        assert await house.rows("SELECT COUNT(*) FROM audit_log") == [(1,)]
        calls = await house.rows("SELECT COUNT(*) FROM model_calls")
        assert calls == [(2,)]
        await house.settled()


async def test_deleting_where_one_is_starts_afresh(site: Site) -> None:
    """``/delete`` without a number erases this conversation; the next message begins a new one."""
    async with site.open() as house:
        first = await house.ask("xcanaryx")
        gone = await house.ask("/delete")
        assert gone.conversation_id != first.conversation_id
        after = await house.ask("hello")
        assert after.conversation_id == gone.conversation_id
        assert not house.engine.requests[-1].history
        assert "xcanaryx" not in await house.dump()
        await house.settled()


async def test_a_file_that_is_used_elsewhere_stays(site: Site) -> None:
    """Erasing a conversation keeps a file that another conversation or tenant sent as well."""
    file = Attachment(name="a.txt", media_type="text/plain", data=b"shared text")
    async with site.open() as house:
        other = await house.tenant("other")
        await house.ask("one", files=[file], place="p1")
        await house.ask("two", files=[file], place="p2")
        await house.ask("theirs", other, files=[file])
        await house.ask("/delete", place="p1")
        assert await house.rows("SELECT COUNT(*) FROM attachments") == [(2,)]
        await house.ask("again", place="p2")
        assert house.engine.requests[-1].history[0].attachments[0].data == b"shared text"
        await house.ask("/delete", place="p2")
        kept = await house.rows("SELECT tenant_id FROM attachments")
        assert kept == [(other.tenant_id,)]


async def test_a_deletion_that_is_run_again_erases_nothing_else(site: Site) -> None:
    """``/delete 1`` cut off after it erased: the re-run must not erase what is number 1 now."""
    async with site.open() as house:
        for name in ("keep me", "erase me"):
            await house.ask(name, place=name)
        await house.ask("hello")
        passed = house.faults.passed
        house.faults.refuse = lambda name: name == "_finish" and "delete_chosen" in passed
        accepted = await house.accepted("/delete 2")
        await house.until("SELECT COUNT(*) FROM conversations WHERE deleted_at > 0", 1)
        await house.until("SELECT attempt FROM turns WHERE id = :id", 2, id=accepted.turn_id)
        house.faults.refuse = lambda _name: False
        await house.final(accepted)
        kept = await house.rows("SELECT title FROM conversations WHERE deleted_at IS NULL")
        assert sorted(title for (title,) in kept) == ["hello", "keep me"]
        await house.settled()


async def test_a_conversation_at_work_is_not_deleted(site: Site) -> None:
    """Deleting what still runs is refused with what to do first."""
    moves = [Say("word " * 2000, pause_s=0.01)]
    async with site.open(ScriptedEngine(moves)) as house:
        running = await house.accepted("go", place="busy")
        final = await house.ask(f"/delete {running.conversation_id}", place="other")
        assert final.outcome == "refused"
        assert "/stop" in final.reply
        await house.say("/stop", place="busy")
        await house.final(running)
        again = await house.ask(f"/delete {running.conversation_id}", place="other")
        assert again.outcome == "answered"
        await house.settled()


async def test_commands_that_tell(site: Site) -> None:
    """Help lists every command, whoami says role and team, servers the tenant's own."""
    async with site.open() as house:
        text = (await house.ask("/help")).reply
        for word in ("new", "sessions", "resume", "delete", "stop", "servers", "whoami"):
            assert f"`/{word}`" in text
        assert (await house.ask("/servers")).reply == (
            "- `local`: production, the machine I run on"
        )
        other = await house.tenant("other", Role.VIEWER)
        assert "No servers" in (await house.ask("/servers", other)).reply
        who = (await house.ask("/whoami", other)).reply
        assert "viewer" in who
        assert other.tenant_id in who
        assert house.engine.requests == []
        assert await house.rows("SELECT COUNT(*) FROM model_calls") == [(0,)]
        await house.settled()


async def test_without_billing_its_commands_say_so(site: Site) -> None:
    """They are not listed, and one that is typed is answered without a model."""
    async with site.open() as house:
        assert "/upgrade" not in (await house.ask("/help")).reply
        final = await house.ask("/upgrade pro")
        assert (final.outcome, final.reply) == (
            "refused",
            "This installation has no plans: nothing is billed here.",
        )
