"""What was said and done, read back by the owner of a conversation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.errors import NotFound
from core.messages import Attachment
from core.reading import ToolState
from core.steps import ModelStep, ToolCall, ToolStartedStep, ToolStep
from core.tenants import Role, User
from core.turns import Turn, TurnKind
from storage.database import Database
from storage.people import SqlPeople
from storage.turn_reads import SqlTurnReads
from storage.turnlog import SqlTurnLog
from tests.storage.kit import WORKER, accept, answer, install, message, write

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20


@pytest.fixture
async def admin(db: Database) -> User:
    """Of an installation."""
    return await install(db)


async def begun(db: Database, user: User, number: int, place: str | None = None) -> Turn:
    """A turn that runs; in the conversation of another message where that is named."""
    said = message(
        user, number, attachments=(Attachment(name="a b.png", media_type="image/png", data=PNG),)
    )
    if place is not None:
        said = replace(said, conversation_id=place)
    accepted = await accept(db, said)
    assert accepted.leased is not None
    return accepted.leased


async def test_turns_come_in_pages_oldest_first(db: Database, admin: User) -> None:
    """The newest page first; each says where the one before it ends."""
    turn = await begun(db, admin, 1)
    await answer(db, turn)
    for number in range(2, 6):
        await answer(db, await begun(db, admin, number, turn.conversation_id))
    reads = SqlTurnReads(db)
    seen: list[int] = []
    before = None
    while True:
        page = await reads.turns(
            admin.tenant_id, admin.id, turn.conversation_id, before=before, limit=2
        )
        seen = [entry.seq for entry in page.turns] + seen
        before = page.earlier
        if before is None:
            break
    assert seen == [1, 2, 3, 4, 5]
    entry = page.turns[0]
    assert (entry.status, entry.outcome, entry.own, entry.tokens) == ("done", "answered", True, 18)
    assert [file.name for file in entry.attachments] == ["a b.png"]


async def test_tools_show_what_became_of_each_call(db: Database, admin: User) -> None:
    """A call that only runs has no end yet; one cut by a crash is unknown; secrets are out."""
    turn = await begun(db, admin, 1)
    log = SqlTurnLog(db, b"k" * 32, WORKER)
    calls = (
        ToolCall(id="a", name="disk_usage", arguments={"server": "web-1"}),
        ToolCall(id="b", name="run_command", arguments={"command": "x --password=hunter2secret"}),
        ToolCall(id="c", name="run_command", arguments={"command": "reboot"}),
        ToolCall(id="d", name="never_begun"),
    )
    step = ModelStep(call_id="m1", engine="e", model="m", text="", tool_calls=calls)
    await log.record(turn, step)
    await log.record(turn, ToolStep(tool_call_id="a", name="disk_usage", output="12 %"))
    await log.record(turn, ToolStep(tool_call_id="b", name="x", output="no", is_error=True))
    await log.record(turn, ToolStartedStep(tool_call_id="c", name="run_command"))
    reads = SqlTurnReads(db)

    async def states() -> list[tuple[str, ToolState]]:
        page = await reads.turns(
            admin.tenant_id, admin.id, turn.conversation_id, before=None, limit=5
        )
        assert "hunter2secret" not in repr(page)
        return [(tool.call_id, tool.state) for tool in page.turns[0].tools]

    running = [("a", ToolState.OK), ("b", ToolState.FAILED)]
    assert await states() == [*running, ("c", ToolState.RUNNING), ("d", ToolState.RUNNING)]
    await answer(db, turn)
    ended = [*running, ("c", ToolState.UNKNOWN), ("t", ToolState.OK)]
    assert await states() == ended  # `answer` has a call of its own
    output = await reads.output(admin.tenant_id, admin.id, turn.id, "a")
    assert (output.output, output.state, "web-1" in output.arguments) == (
        "12 %",
        ToolState.OK,
        True,
    )
    hidden = await reads.output(admin.tenant_id, admin.id, turn.id, "b")
    assert "hunter2secret" not in hidden.arguments
    for call in ("d", "x"):
        with pytest.raises(NotFound):
            await reads.output(admin.tenant_id, admin.id, turn.id, call)


async def test_calls_without_a_model_are_told_as_well(db: Database, admin: User) -> None:
    """The offline engine asks no model; what it looked at stays with its answer."""
    turn = await begun(db, admin, 1)
    log = SqlTurnLog(db, b"k" * 32, WORKER)
    await log.record(turn, ToolStartedStep(tool_call_id="a", name="service_control"))
    await log.record(turn, ToolStep(tool_call_id="b", name="disk_usage", output="12 %"))
    await log.record(turn, ToolStep(tool_call_id="a", name="service_control", output="restarted"))
    reads = SqlTurnReads(db)
    page = await reads.turns(admin.tenant_id, admin.id, turn.conversation_id, before=None, limit=5)
    told = [(line.call_id, line.summary, line.state) for line in page.turns[0].tools]
    assert told == [
        ("a", "service_control", ToolState.OK),
        ("b", "disk_usage", ToolState.OK),
    ]
    output = await reads.output(admin.tenant_id, admin.id, turn.id, "b")
    assert output.output == "12 %"


async def test_nothing_is_read_by_others(db: Database, admin: User) -> None:
    """Not by a colleague, not by another team; not others' commands in one's own conversation."""
    colleague = await SqlPeople(db).add_user(
        admin.tenant_id, email="b@example.org", name="b", role=Role.ADMIN
    )
    assert isinstance(colleague, User)
    turn = await begun(db, admin, 1)
    await answer(db, turn)
    reads = SqlTurnReads(db)
    sha256 = turn.attachments[0].sha256
    assert (await reads.file(admin.tenant_id, admin.id, turn.conversation_id, sha256)).data == PNG
    for tenant, user in ((admin.tenant_id, colleague.id), ("ten_x", admin.id)):
        with pytest.raises(NotFound):
            await reads.turns(tenant, user, turn.conversation_id, before=None, limit=5)
        with pytest.raises(NotFound):
            await reads.calls(tenant, user, turn.id)
        with pytest.raises(NotFound):
            await reads.output(tenant, user, turn.id, "t")
        with pytest.raises(NotFound):
            await reads.file(tenant, user, turn.conversation_id, sha256)
    await write(
        db,
        "UPDATE turns SET kind = :kind, user_id = :other",
        kind=TurnKind.COMMAND,
        other=colleague.id,
    )
    page = await reads.turns(admin.tenant_id, admin.id, turn.conversation_id, before=None, limit=5)
    assert page.turns == ()
    with pytest.raises(NotFound):
        await reads.file(admin.tenant_id, admin.id, turn.conversation_id, sha256)


async def test_the_calls_of_a_turn_are_its_bill(db: Database, admin: User) -> None:
    """Every model call with its tokens, in order."""
    turn = await begun(db, admin, 1)
    await answer(db, turn)
    conversation, status, calls = await SqlTurnReads(db).calls(admin.tenant_id, admin.id, turn.id)
    assert (conversation, status) == (turn.conversation_id, "done")
    assert [(call.model, call.usage.input_tokens, call.usage.output_tokens) for call in calls] == [
        ("m", 11, 7)
    ]
