"""``it0 up`` on both chat platforms, in all four ways of hearing from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.chat_kit import MODES, answer, call, question, shows_output

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Polling, webhook, Socket Mode, signed HTTP."""
    chosen: str = request.param
    return chosen


async def test_the_first_code_opens_the_door_and_answers_are_streamed(
    mode: str, tmp_path: Path
) -> None:
    """Who sends the printed code is let in; an answer is seen while it is written."""
    async with call(mode, tmp_path) as c:
        with shows_output(c.product):
            c.line.ask(question("stream", words=30, pause_ms=80))
            await c.line.wait_for(lambda: c.line.previewed("stream"))
            assert answer("stream", 30) not in c.finals()
            await c.answered("stream", 30)
            assert len(c.about("stream")) == 1


async def test_a_file_a_command_and_the_stop_button(mode: str, tmp_path: Path) -> None:
    """The model reads the file; ``whoami`` knows the person; a stopped answer ends early."""
    async with call(mode, tmp_path) as c:
        with shows_output(c.product):
            c.line.send_file("disk.log", b"web-3: no space left", question("file"))
            await c.answered("file")
            assert "no space left" in c.asked("file")[0]
            c.line.command("whoami")
            await c.line.wait_for(lambda: any("admin@localhost" in text for text in c.finals()))
            c.line.ask(question("halt", words=400, pause_ms=50))
            await c.line.wait_for(lambda: c.line.previewed("halt"))
            c.line.stop("halt0")
            await c.line.wait_for(lambda: any("topped" in text for text in c.about("halt")))
            c.line.ask(question("after"))
            await c.answered("after")
            assert c.line.unfinished() == 0
            assert "halt399" not in " ".join(c.finals())


async def test_what_comes_twice_or_late_is_answered_once(mode: str, tmp_path: Path) -> None:
    """A redelivery changes nothing; messages in the wrong order are each answered once."""
    async with call(mode, tmp_path) as c:
        with shows_output(c.product):
            again = c.line.ask(question("once"))
            again()
            await c.answered("once")
            again()
            c.line.backwards([question("early"), question("late")])
            await c.answered("early")
            await c.answered("late")
            c.line.ask(question("last"))
            await c.answered("last")
            for marker in ("once", "early", "late", "last"):
                assert c.about(marker) == [answer(marker)]
                assert len(c.asked(marker)) == 1


async def test_a_rate_limit_delays_an_answer_and_loses_nothing(mode: str, tmp_path: Path) -> None:
    """A platform that refuses the next calls gets its pause, and then one answer."""
    async with call(mode, tmp_path) as c:
        with shows_output(c.product):
            c.line.refuse(3)
            c.line.ask(question("slow"))
            await c.answered("slow")
            assert c.about("slow") == [answer("slow")]
            assert len(c.asked("slow")) == 1


async def test_a_kill_in_the_middle_of_an_answer(mode: str, tmp_path: Path) -> None:
    """After SIGKILL and a restart there is one final text, and no second answer."""
    async with call(mode, tmp_path) as c:
        with shows_output(c.product):
            c.line.ask(question("phoenix", words=40, pause_ms=100))
            await c.line.wait_for(lambda: c.line.previewed("phoenix"))
            c.product.process.kill()
            await c.product.start()
            assert "First code" not in c.product.process.output()
            await c.answered("phoenix", 40)
            c.line.ask(question("next"))
            await c.answered("next")
            assert c.about("phoenix") == [answer("phoenix", 40)]
            assert c.line.unfinished() == 0
            assert len(c.asked("phoenix")) == 2
