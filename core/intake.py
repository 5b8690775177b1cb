"""Files of a message that are still at its platform: fetched and checked in the turn.

A message is stored with references, so that the platform is acknowledged at once. The turn
fetches the bytes, checks them as every file is checked, has voice notes transcribed, and
commits the result before the engine sees it: a re-run after a crash fetches nothing again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from core.attachments import check_in_background
from core.errors import BadAttachment, It0Error
from core.markdown import plain
from core.messages import MAX_ATTACHMENT_BYTES, Attachment, RemoteFile
from core.refusals import Rejected
from core.turns import Turn
from core.words import sentence

TRIES = 3
PAUSE_S = 0.5
FETCH_S = 60.0
"""All files of a message together, tries included."""


class FetchFailed(It0Error):
    """A file could not be fetched from its platform."""

    code = "fetch_failed"

    def __init__(self, sentence: str, *, permanent: bool) -> None:
        """``permanent``: asking again cannot help (deleted, too large, not allowed)."""
        super().__init__(sentence)
        self.permanent = permanent


class CannotTranscribe(It0Error):
    """A voice note could not be turned into text; the sentence says what to do instead."""

    code = "cannot_transcribe"


class FileSource(Protocol):
    """A platform's files."""

    async def fetch(self, workspace: str, file: RemoteFile, limit: int) -> bytes:
        """The bytes of a file, at most ``limit`` of them. Raises ``FetchFailed``."""


class Transcriber(Protocol):
    """Speech to text."""

    async def transcribe(self, audio: bytes, media_type: str, language: str) -> str:
        """What is said, in the language of the tag if it is known. Raises ``CannotTranscribe``."""


class NoTranscriber:
    """There is no speech recognition in this installation."""

    async def transcribe(self, audio: bytes, media_type: str, language: str) -> str:  # noqa: ARG002
        """Say so."""
        raise CannotTranscribe(
            sentence(
                "I cannot listen to voice notes: this installation has no speech recognition. "
                "Write your message as text. The operator's manual says how voice is added "
                "(docs/manual.md, Voice notes)."
            )
        )


class IntakeLog(Protocol):
    """What the fetched files become."""

    async def take_in(self, turn: Turn, files: tuple[Attachment, ...], text: str) -> Turn:
        """Commit the files and the message's text; the turn with both. Raises ``Fenced``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Brings a turn's files in."""

    sources: Mapping[str, FileSource]
    """By platform."""
    log: IntakeLog
    transcriber: Transcriber

    async def bring(self, turn: Turn) -> Turn | Rejected:
        """The turn with its files, or why they cannot be taken. Raises ``Fenced``."""
        try:
            async with asyncio.timeout(FETCH_S):
                return await self._bring(turn)
        except TimeoutError:
            said = sentence("Your files took too long to arrive. Send the message again.")
            return Rejected(code="fetch_failed", sentence=said)
        except (FetchFailed, BadAttachment, CannotTranscribe) as problem:
            return Rejected(code=problem.code, sentence=problem.sentence)

    async def _bring(self, turn: Turn) -> Turn:
        room = MAX_ATTACHMENT_BYTES
        files: list[Attachment] = []
        text = turn.text
        for file in turn.files:
            data = await self._fetch(turn, file, room)
            room -= len(data)
            if file.media_type.startswith("audio/"):
                said = await self.transcriber.transcribe(data, file.media_type, turn.language)
                text = f"{text}\n\n{said}".strip()
            else:
                files.append(Attachment(name=file.name, media_type=file.media_type, data=data))
        checked = await check_in_background(files)
        return await self.log.take_in(turn, checked, text)

    async def _fetch(self, turn: Turn, file: RemoteFile, room: int) -> bytes:
        source = self.sources.get(turn.address.platform)
        if source is None:
            said = sentence("{name} cannot be fetched by this process.", name=plain(file.name))
            raise FetchFailed(said, permanent=True)
        if file.size > room:
            raise _too_large(file)
        for tries_left in range(TRIES - 1, -1, -1):
            try:
                data = await source.fetch(turn.address.workspace, file, room)
            except FetchFailed as failure:
                if failure.permanent or not tries_left:
                    raise
                await asyncio.sleep(PAUSE_S)
            else:
                if len(data) > room:
                    raise _too_large(file)
                return data
        raise AssertionError


def _too_large(file: RemoteFile) -> FetchFailed:
    said = sentence(
        "{name} is too large: the files of a message may have {most} MB together.",
        name=plain(file.name),
        most=MAX_ATTACHMENT_BYTES // 2**20,
    )
    return FetchFailed(said, permanent=True)
