"""What a person, or a script, is asked in a chat where a call waits for a human."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from bots.console import ChatOptions, ConsoleClient, ExitCode, run_chat
from bots.console_approvals import how_to_decide, plain_card, read_decision
from bots.console_events import ApprovalWanted
from tests.bots.console_api import ConsoleApi, Step, completed
from tests.bots.test_console import Screen, Typist

CARD = "**Approve?** service on web-1\n\n```\nsystemctl restart nginx\n```"


def wanted(approval: str = "appr_0001abc123", text: str = CARD) -> Step:
    """The event of a card."""
    data: dict[str, object] = {
        "id": approval,
        "tool": "service",
        "action": "systemctl restart nginx",
    }
    return "approval", {**data, "servers": ["web-1"], "text": text}


def over(approval: str = "appr_0001abc123", status: str = "approved", by: str = "Ann") -> Step:
    """The event of a decision."""
    return "approval_settled", {"id": approval, "status": status, "decided_by": by, "comment": ""}


@pytest.fixture
async def api() -> AsyncIterator[ConsoleApi]:
    """A running server."""
    server = ConsoleApi()
    await server.start()
    yield server
    await server.stop()


async def chat(api: ConsoleApi, screen: Screen, options: ChatOptions | None = None) -> int:
    """A chat until its person leaves, or one question."""
    async with ConsoleClient(api.url, lambda: "token", first_wait_s=0.01) as client:
        async with asyncio.timeout(20):
            return await run_chat(client, options or ChatOptions(), screen.terminal)


@pytest.mark.parametrize(
    ("typed", "decision", "comment"),
    [
        ("y", "approve", ""),
        ("YES ", "approve", ""),
        ("", "deny", ""),
        ("n", "deny", ""),
        ("yes, but tomorrow", "deny", "yes, but tomorrow"),
        ("not now", "deny", "not now"),
    ],
)
async def test_a_person_is_shown_the_card_and_decides(
    api: ConsoleApi, typed: str, decision: str, comment: str
) -> None:
    """Only a plain yes approves; other words deny and are the reason."""
    api.scripts["go"] = [wanted(), ("decision", {}), over(), completed("Done.")]
    screen = Screen(Typist("go", typed))
    await chat(api, screen)
    assert api.decisions == [("appr_0001abc123", {"decision": decision, "comment": comment})]
    shown = screen.out.getvalue()
    assert shown.index("systemctl restart nginx") < shown.index("Approved by Ann")
    assert "Done." in shown


class Undecided(Typist):
    """Types what the person sends, and never answers a question."""

    asked = 0
    withdrawn = 0

    async def ask(self, question: str) -> str:
        """Wait for ever."""
        self.asked += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.withdrawn += 1
        return ""


async def test_a_question_goes_when_somebody_else_decides(api: ConsoleApi) -> None:
    """What came meanwhile is shown then, and the chat goes on."""
    typist = Undecided("go", "next")
    api.scripts["go"] = [
        wanted(),
        ("pause", {"seconds": 0.1}),
        ("notice", {"text": "meanwhile"}),
        over(by="Bob"),
        completed("Done."),
    ]
    screen = Screen(typist)
    await chat(api, screen)
    shown = screen.out.getvalue()
    assert (typist.asked, typist.withdrawn, api.decisions) == (1, 1, [])
    assert shown.index("meanwhile") < shown.index("Approved by Bob") < shown.index("Done.")
    assert "You said: next" in shown


async def test_a_question_goes_with_its_turn(api: ConsoleApi) -> None:
    """A turn that ends leaves nobody in front of a question about it."""
    typist = Undecided("go")
    api.scripts["go"] = [
        wanted(),
        ("pause", {"seconds": 0.1}),
        completed("", outcome="cancelled"),
    ]
    await chat(api, Screen(typist))
    assert (typist.asked, typist.withdrawn) == (1, 1)


async def test_two_questions_come_one_after_the_other(api: ConsoleApi) -> None:
    """Each has its card and its own answer."""
    api.scripts["go"] = [
        wanted("appr_1"),
        wanted("appr_2", "**Approve?** the second"),
        wanted("appr_1"),
        ("decision", {}),
        ("pause", {"seconds": 0.2}),
        completed("Done."),
    ]
    screen = Screen(Typist("go", "y", "no"))
    await chat(api, screen)
    assert [(name, body["decision"]) for name, body in api.decisions] == [
        ("appr_1", "approve"),
        ("appr_2", "deny"),
    ]
    assert screen.out.getvalue().count("systemctl restart nginx") == 1


async def test_a_refused_decision_is_a_sentence(api: ConsoleApi) -> None:
    """Who may not decide reads why; the turn goes on waiting."""
    api.not_yours = {"code": "four_eyes", "detail": "You asked for it yourself."}
    api.scripts["go"] = [
        wanted(),
        ("decision", {}),
        ("pause", {"seconds": 0.2}),
        completed("Done."),
    ]
    screen = Screen(Typist("go", "y"))
    await chat(api, screen)
    shown = screen.out.getvalue()
    assert shown.index("You asked for it yourself.") < shown.index("Done.")


async def test_ctrl_c_at_the_question_stops_the_turn(api: ConsoleApi) -> None:
    """Nothing is decided by it."""
    api.scripts["go"] = [wanted(), ("hold", {}), completed("", outcome="cancelled")]
    await chat(api, Screen(Typist("go", KeyboardInterrupt)))
    assert api.stopped.is_set()
    assert api.decisions == []


async def test_ctrl_d_at_the_question_says_how_to_decide_later(api: ConsoleApi) -> None:
    """It goes on waiting."""
    api.scripts["go"] = [wanted(), ("pause", {"seconds": 0.1}), completed("Done.")]
    screen = Screen(Typist("go", EOFError))
    await chat(api, screen)
    assert "/approve abc123" in " ".join(screen.out.getvalue().split())
    assert api.decisions == []


async def test_a_script_gets_the_card_and_the_command(api: ConsoleApi) -> None:
    """On the error output; the answer stays alone on the output."""
    api.scripts["go"] = [wanted(text=f"{CARD}\x1b[2J\u202e"), over(), completed("Done.")]
    screen = Screen()
    code = await chat(api, screen, ChatOptions(once="go"))
    assert (code, screen.out.getvalue()) == (ExitCode.ANSWERED, "Done.\n")
    said = screen.err.getvalue()
    assert "systemctl restart nginx" in said
    assert 'it0 chat --once "/approve abc123"' in said
    assert "\x1b" not in said
    assert "\u202e" not in said


async def test_json_has_the_card_and_the_decision(api: ConsoleApi) -> None:
    """A line for each, with all fields."""
    api.scripts["go"] = [wanted(), over(), completed("Done.")]
    screen = Screen()
    await chat(api, screen, ChatOptions(once="go", json_output=True))
    lines = [json.loads(line) for line in screen.out.getvalue().splitlines()]
    asked = next(line for line in lines if line["event"] == "approval")
    assert (asked["id"], asked["action"]) == ("appr_0001abc123", "systemctl restart nginx")
    assert asked["servers"] == ["web-1"]
    settled = next(line for line in lines if line["event"] == "approval_settled")
    assert (settled["status"], settled["decided_by"]) == ("approved", "Ann")


def test_a_yes_needs_no_more_and_no_less() -> None:
    """What only contains a yes does not approve."""
    assert read_decision("y") == (True, "")
    assert not any(read_decision(text)[0] for text in ("yy", "ye", "y n", "ok", "approve", "是"))


def test_nobody_is_told_to_approve_what_they_may_not() -> None:
    """Under four eyes it is another person who does; the card above says who."""
    told = how_to_decide(ApprovalWanted(id="appr_abc123", tool="t", action="a"))
    assert told.startswith("Whoever decides (see above) approves it with: ")
    assert '"/deny abc123 reason"' in told


def test_a_card_without_markdown_can_be_read() -> None:
    """Escapes and bold go from the words; the command stays to the letter."""
    code = "````\necho '**' \\_ \\* \n```\n\\_\n````"
    card = f"**Approve?** edit\\_file on web\\*\\*1\n\n{code}\n\n- **Risk:** L2: a \\\\ b"
    assert plain_card(card) == f"Approve? edit_file on web**1\n\n{code}\n\n- Risk: L2: a \\ b"
