"""Files by reference, fetched in the turn: on the real core, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from core.inbox import Accepted
from core.intake import CannotTranscribe, FetchFailed
from core.messages import MAX_ATTACHMENT_BYTES, RemoteFile
from tests.fakes.scripted_engine import Say, ScriptedEngine
from tests.support.core_kit import Final, House, Site

LOG = RemoteFile(ref="f1", name="app.log", media_type="text/plain", size=20)


class Shelf:
    """A platform's files."""

    def __init__(self, *answers: bytes | FetchFailed) -> None:
        """Each fetch gets the next answer; the last one stays."""
        self.answers = list(answers)
        self.asked: list[tuple[str, str, int]] = []

    async def fetch(self, workspace: str, file: RemoteFile, limit: int) -> bytes:
        """Answer."""
        self.asked.append((workspace, file.ref, limit))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, FetchFailed):
            raise answer
        return answer


class Ears:
    """Speech recognition of a test."""

    async def transcribe(self, audio: bytes, media_type: str, language: str) -> str:
        """Understand some."""
        if audio == b"noise":
            raise CannotTranscribe("I did not understand a word.")
        return f"{audio.decode()} ({media_type}, {language})"


async def ask(house: House, *files: RemoteFile, text: str = "What is wrong?") -> Final:
    """Send a message with files, and wait for its end."""
    message = replace(house.message(text), files=files)
    accepted = await house.core.inbox.accept(message)
    assert isinstance(accepted, Accepted), accepted
    return await house.final(accepted)


async def test_a_file_is_fetched_checked_and_kept(site: Site) -> None:
    """The engine sees the file; the message holds it from then on, and no reference."""
    shelf = Shelf(b"ERROR: disk full\n")
    engine = ScriptedEngine([Say("Full.")])
    async with site.open(engine, sources={"api": shelf}) as house:
        final = await ask(house, LOG)
        (seen,) = engine.requests[-1].attachments
        assert (seen.name, seen.data) == ("app.log", b"ERROR: disk full\n")
        rows = await house.rows("SELECT files, attachments FROM turns")
        assert rows[0][0] == "[]"
        assert "app.log" in rows[0][1]
    assert final.outcome == "answered"


async def test_a_fetch_is_tried_again(site: Site) -> None:
    """A hiccup of the platform costs nobody an answer; the third failure does."""
    hiccup = FetchFailed("Slack did not answer.", permanent=False)
    async with site.open(sources={"api": Shelf(hiccup, hiccup, b"fine\n")}) as house:
        assert (await ask(house, LOG)).outcome == "answered"
    shelf = Shelf(hiccup)
    async with site.open(sources={"api": shelf}) as house:
        final = await ask(house, LOG)
    assert (final.outcome, final.reply) == ("refused", "Slack did not answer.")
    assert len(shelf.asked) == 3


async def test_what_cannot_be_taken_is_said_and_costs_no_model_call(site: Site) -> None:
    """Too large, gone, a program, a platform that nobody serves: one sentence each."""
    gone = Shelf(FetchFailed("app.log was deleted.", permanent=True))
    cases: list[tuple[Shelf | None, RemoteFile, str]] = [
        (Shelf(b"x"), replace(LOG, size=MAX_ATTACHMENT_BYTES + 1), "too large"),
        (Shelf(b"x" * (MAX_ATTACHMENT_BYTES + 1)), replace(LOG, size=0), "too large"),
        (gone, LOG, "deleted"),
        (Shelf(b"MZ\x90\x00"), LOG, "Windows program"),
        (None, LOG, "cannot be fetched"),
    ]
    for shelf, file, said in cases:
        engine = ScriptedEngine([Say("Never.")])
        sources = {} if shelf is None else {"api": shelf}
        async with site.open(engine, sources=sources) as house:
            final = await ask(house, file)
        assert final.outcome == "refused"
        assert said in final.reply
        assert engine.requests == []
    assert len(gone.asked) == 1


async def test_the_files_of_a_message_share_their_limit(site: Site) -> None:
    """Each file gets the room that the ones before it left."""
    shelf = Shelf(b"a" * 1000, b"b" * 10)
    async with site.open(sources={"api": shelf}) as house:
        await ask(house, LOG, replace(LOG, ref="f2", name="b.log"))
    assert [limit for _w, _ref, limit in shelf.asked] == [
        MAX_ATTACHMENT_BYTES,
        MAX_ATTACHMENT_BYTES - 1000,
    ]


async def test_a_voice_note_becomes_text(site: Site) -> None:
    """What is said is what the engine reads; the audio is not kept."""
    engine = ScriptedEngine([Say("Yes.")])
    note = RemoteFile(ref="v", name="voice.ogg", media_type="audio/ogg")
    async with site.open(engine, sources={"api": Shelf(b"is it up")}, transcriber=Ears()) as house:
        await ask(house, note, text="")
        assert engine.requests[-1].text == "is it up (audio/ogg, )"
        assert await house.rows("SELECT COUNT(*) FROM attachments") == [(0,)]
    async with site.open(sources={"api": Shelf(b"noise")}, transcriber=Ears()) as house:
        assert (await ask(house, note, text="")).reply == "I did not understand a word."


async def test_without_speech_recognition_the_way_to_get_it_is_said(site: Site) -> None:
    """A voice note is not lost in silence."""
    note = RemoteFile(ref="v", name="voice.ogg", media_type="audio/ogg")
    async with site.open(sources={"api": Shelf(b"...")}) as house:
        final = await ask(house, note, text="")
    assert final.outcome == "refused"
    assert "no speech recognition" in final.reply


async def test_a_rerun_fetches_nothing_again(site: Site) -> None:
    """A crash after the files were committed: the next attempt has them."""
    shelf = Shelf(b"line\n", FetchFailed("expired", permanent=True))
    engine = ScriptedEngine([Say("Fine.")])
    fetched = _after(lambda names: "_take_in" in names)
    async with site.open(engine, sources={"api": shelf}) as house:
        house.faults.refuse = fetched(house)
        message = replace(house.message("Look"), files=(LOG,))
        accepted = await house.core.inbox.accept(message)
        assert isinstance(accepted, Accepted)
        await asyncio.sleep(0.3)
        house.faults.refuse = lambda _name: False
        assert (await house.final(accepted)).outcome == "answered"
    assert len(shelf.asked) == 1


def _after(
    reached: Callable[[list[str]], bool],
) -> Callable[[House], Callable[[str], bool]]:
    """Refuse the turn's commits once something was committed."""

    def of(house: House) -> Callable[[str], bool]:
        return lambda name: reached(house.faults.passed[:-1]) and name in {"_finish", "_record"}

    return of
