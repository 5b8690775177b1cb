"""Sentences in the reader's language: English in the code, other languages in catalogues.

``Words(language)`` translates a message and fills it in; ``sentence`` makes English text that
remembers how it was made, so that whoever shows it later can still translate it. Catalogues
are gettext files under ``core/locales``, extracted and kept current with Babel (``make words``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

LANGUAGES: Mapping[str, str] = {"en": "English", "zh": "简体中文"}
"""What ``/language`` offers, each by its own name."""

_CATALOGUES = Path(__file__).parent / "locales"
_FOLDERS = {"zh": "zh_Hans"}


def language_of(tag: str) -> str:
    """The language we have for an IETF tag such as ``zh-hans`` or ``en-US``; else English."""
    primary = tag.replace("_", "-").partition("-")[0].casefold()
    return primary if primary in LANGUAGES else "en"


class Sentence(str):
    """English text that remembers its message and values."""

    __slots__ = ("message", "values")
    message: str
    values: dict[str, object]


def sentence(message: str, /, **values: object) -> Sentence:
    """Fill in a message, as ``str.format`` does, and remember how."""
    made = Sentence(message.format(**values))
    made.message, made.values = message, values
    return made


@dataclass(frozen=True, slots=True)
class Words:
    """One language."""

    language: str = ""
    """An IETF tag, or empty for English."""

    def __call__(self, message: str, /, **values: object) -> str:
        """Translate a message and fill it in."""
        return _catalogue(language_of(self.language)).get(message, message).format(**values)

    def of(self, text: str) -> str:
        """The text in this language, if it is a ``Sentence``; else as it is."""
        if not isinstance(text, Sentence):
            return text
        values = {
            name: self.of(value) if isinstance(value, str) else value
            for name, value in text.values.items()
        }
        return self(text.message, **values)

    def day(self, at: datetime) -> str:
        """A day of some year, such as ``15 Mar``."""
        return self._date(at, "%d %b", "MMMd")

    def month(self, at: datetime) -> str:
        """A month and its year, such as ``March 2026``."""
        return self._date(at, "%B %Y", "yMMMM")

    def _date(self, at: datetime, english: str, skeleton: str) -> str:
        folder = _FOLDERS.get(language_of(self.language))
        if folder is None:
            return at.strftime(english)
        from babel.dates import format_skeleton  # noqa: PLC0415  # heavy, and English needs none

        return format_skeleton(skeleton, at, locale=folder)


@cache
def _catalogue(language: str) -> Mapping[str, str]:
    """Read once a process, and only for a language that somebody uses."""
    folder = _FOLDERS.get(language)
    if folder is None:
        return {}
    from babel.messages.pofile import read_po  # noqa: PLC0415  # heavy, and English needs none

    path = _CATALOGUES / folder / "LC_MESSAGES" / "it0.po"
    with path.open("rb") as file:
        catalogue = read_po(file, locale=folder)
    return {
        message.id: message.string
        for message in catalogue
        if isinstance(message.id, str) and message.id and isinstance(message.string, str)
        if message.string and not message.fuzzy
    }
