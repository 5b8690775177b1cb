"""What a turn remembers: everything, of any engine, kept short without losing the original."""

from __future__ import annotations

from core.conversations import Conversations
from core.engines.engine import EngineRequest
from core.messages import Attachment
from core.metering import Usage
from core.steps import ModelStep, ToolCall, ToolStep
from storage.conversations import HISTORY_ATTACHMENT_BYTES
from tests.fakes.scripted_engine import Fail, Move, Say, ScriptedEngine
from tests.support.core_kit import House, Probe, Site

SUMMARY = "- the disk of web-1 is full"


def _is_summary(request: EngineRequest) -> bool:
    return request.text.startswith("Summarise the conversation")


def _shorten(house: House, *, history: int = 3_000, keep: int = 2_000) -> None:
    """Make the memory small, so that a test need not write a book."""
    runner = house.core.scheduler.runner
    memory = getattr(runner, "conversations", None)
    assert isinstance(memory, Conversations)
    memory.history_chars, memory.keep_chars = history, keep


async def test_history_is_the_same_for_every_engine(site: Site) -> None:
    """What one engine said and did is told to the next one, with tools and their results."""
    look = Probe("look", output="93 % used")
    first = ScriptedEngine(
        [Say("Looking.", tools=(ToolCall(id="t1", name="look"),)), Say("It is full.")]
    )
    async with site.open(first, tools=[look.tool()]) as house:
        await house.ask("how full?")
        await house.ask("/whoami")
        await house.ask("how full are the disks?", engine="runbook")
    second = ScriptedEngine([Say("As I said.")], name="other")
    async with site.open(second, tools=[look.tool()]) as house:
        await house.ask("and now?", engine="other")
        history = second.requests[0].history
        assert [item.user_text for item in history] == ["how full?", "how full are the disks?"]
        assert history[0].reply == "Looking.\n\nIt is full."
        kinds = [type(step) for step in history[0].steps]
        assert kinds == [ModelStep, ToolStep, ModelStep]
        assert isinstance(history[0].steps[1], ToolStep)
        assert history[0].steps[1].output == "93 % used"
        assert history[1].reply
        await house.settled()


async def test_a_long_conversation_is_summarised_once_and_stays_whole(site: Site) -> None:
    """Older turns become a summary, recent ones stay; the list of messages keeps every word."""

    def script(request: EngineRequest) -> list[Move]:
        if _is_summary(request):
            return [Say(SUMMARY, usage=Usage(input_tokens=500, output_tokens=9))]
        return [Say("x" * 600)]

    async with site.open(ScriptedEngine(script)) as house:
        _shorten(house)
        finals = [await house.ask(f"question {n}") for n in range(8)]
        summaries = [r for r in house.engine.requests if _is_summary(r)]
        assert summaries
        last = house.engine.requests[-1]
        assert last.summary == SUMMARY
        recent = [item.user_text for item in last.history]
        assert recent == [f"question {n}" for n in range(8 - 1 - len(recent), 7)]
        assert 1 <= len(recent) < 7
        assert not any(_is_summary(request) for request in (last,))
        rows = await house.core.conversations.messages(
            house.admin.tenant_id, house.admin.id, finals[0].conversation_id, limit=100
        )
        assert [row[1] for row in rows] == [f"question {n}" for n in range(8)]
        assert all(row[2] == "x" * 600 for row in rows)
        calls = await house.rows(
            "SELECT COUNT(*) FROM model_calls WHERE input_tokens = 500 AND state = 'settled'"
        )
        assert calls == [(len(summaries),)]
        assert summaries[0].tools.specs() == ()
        assert (await house.rows("SELECT COUNT(*) FROM summaries"))[0][0] == len(summaries)
        await house.settled()


async def test_a_summary_that_fails_costs_the_answer_nothing(site: Site) -> None:
    """The provider refuses to summarise: the recent turns are sent, with a note, and metered."""

    def script(request: EngineRequest) -> list[Move]:
        if not _is_summary(request):
            return [Say("x" * 600)]
        return [Say("half a", fail_after=1)]

    async with site.open(ScriptedEngine(script)) as house:
        _shorten(house)
        for number in range(6):
            final = await house.ask(f"question {number}")
            assert final.outcome == "answered"
        last = house.engine.requests[-1]
        assert "left out" in last.summary
        assert "half a" not in last.summary
        assert len(last.history) >= 1
        states = await house.rows("SELECT state, COUNT(*) FROM model_calls GROUP BY state")
        assert {str(state): int(count) for state, count in states}["estimated"] >= 1
        assert await house.rows("SELECT COUNT(*) FROM summaries") == [(0,)]
        await house.settled()


async def test_a_summary_that_starts_again_holds_its_text_once(site: Site) -> None:
    """A summary whose first try broke off contains only the try that worked."""

    def script(request: EngineRequest) -> list[Move]:
        if _is_summary(request):
            return [Say("one two three", restart_after=2)]
        return [Say("x" * 600)]

    async with site.open(ScriptedEngine(script)) as house:
        _shorten(house)
        for number in range(6):
            await house.ask(f"question {number}")
        assert house.engine.requests[-1].summary == "one two three"
        await house.settled()


async def test_one_giant_turn_is_summarised_too(site: Site) -> None:
    """A memory that is one turn alone, and too long, does not break the next one."""

    def script(request: EngineRequest) -> list[Move]:
        return [Say("short" if _is_summary(request) else "x" * 5_000)]

    async with site.open(ScriptedEngine(script)) as house:
        _shorten(house)
        await house.ask("one")
        final = await house.ask("two")
        assert final.outcome == "answered"
        assert house.engine.requests[-1].summary == "short"
        assert house.engine.requests[-1].history == ()


async def test_files_come_again_within_a_budget(site: Site) -> None:
    """Files of earlier messages are sent again, the newest first, until the budget is used up."""

    def file(name: str, size: int) -> Attachment:
        return Attachment(name=name, media_type="text/plain", data=name[0].encode() * size)

    budget = HISTORY_ATTACHMENT_BYTES
    async with site.open() as house:
        _shorten(house, history=100_000_000)
        await house.ask("first", files=[file("a.txt", budget // 2)])
        await house.ask("second", files=[file("b.txt", budget // 2), file("c.txt", 10)])
        await house.ask("third", files=[file("d.txt", 20)])
        await house.ask("what was in them?")
        history = house.engine.requests[-1].history
        assert [len(item.attachments) for item in history] == [0, 2, 1]
        assert history[1].attachments[0] == file("b.txt", budget // 2)
        assert house.engine.requests[-1].attachments == ()
        await house.settled()


async def test_a_failed_turn_is_remembered_as_it_was(site: Site) -> None:
    """A turn that failed stays in the history with what was said."""

    def script(request: EngineRequest) -> list[Move]:
        return [Say("half said", fail_after=1)] if request.text == "bad" else [Say("Fine.")]

    async with site.open(ScriptedEngine(script)) as house:
        await house.ask("bad")
        await house.ask("good")
        history = house.engine.requests[-1].history
        assert [item.user_text for item in history] == ["bad"]
        assert history[0].reply.startswith("half ")
        await house.settled()


async def test_a_provider_that_is_down_leaves_the_memory_alone(site: Site) -> None:
    """Both the summary and the answer fail: one sentence, and the next message has it all."""
    down = True

    def script(request: EngineRequest) -> list[Move]:
        if request.text.startswith("question"):
            return [Say("x" * 600)]
        return [Fail()] if down else [Say(SUMMARY if _is_summary(request) else "Fine.")]

    async with site.open(ScriptedEngine(script)) as house:
        _shorten(house)
        for number in range(5):
            await house.ask(f"question {number}")
        failed = await house.ask("now?")
        assert failed.outcome == "failed"
        down = False
        assert (await house.ask("and now?")).reply == "Fine."
        assert house.engine.requests[-1].summary == SUMMARY
        await house.settled()
