"""Sentences in the reader's language; the catalogues are complete and cannot break a sentence."""

from __future__ import annotations

import string
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from hatchling.builders.wheel import WheelBuilder

from core.words import LANGUAGES, Words, language_of, sentence

ROOT = Path(__file__).parents[2]
LOCALES = ROOT / "core" / "locales"
KEYWORDS: dict[str, tuple[int, ...] | None] = {"sentence": None, "words": None}


def extracted() -> Iterator[tuple[str, str]]:
    """Each sentence of the code, with the file it is in."""
    for room in ("core", "billing", "bots", "storage"):
        found = extract_from_dir(
            ROOT / room, method_map=[("**.py", "python")], keywords=KEYWORDS, comment_tags=()
        )
        for name, _line, message, _comments, _context in found:
            assert isinstance(message, str)
            yield message, f"{room}/{name}"


def catalogues() -> list[Path]:
    """Every translation."""
    return sorted(LOCALES.glob("*/LC_MESSAGES/it0.po"))


def read(path: Path) -> Catalog:
    """A catalogue."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parts[-3])


def fields(message: str) -> list[str]:
    """The placeholders of a message, with their format, in any order."""
    return sorted(
        f"{name}:{spec}" for _, name, spec, _ in string.Formatter().parse(message) if name
    )


class Anything:
    """A value that fits every placeholder."""

    def __format__(self, spec: str) -> str:
        """Numbers are formatted as numbers."""
        return format(1234, spec)


@pytest.mark.parametrize("path", catalogues(), ids=lambda path: path.parts[-3])
def test_every_sentence_is_translated(path: Path) -> None:
    """What the code says is in each catalogue, translated and not fuzzy (`make words`)."""
    catalogue = read(path)
    sentences = dict(extracted())
    assert len(sentences) > 50
    problems = []
    for message, where in sentences.items():
        entry = catalogue.get(message)
        if entry is None or not entry.string or entry.fuzzy:
            problems.append(f"{where}: {message}")
    assert problems == []


@pytest.mark.parametrize("path", catalogues(), ids=lambda path: path.parts[-3])
def test_translations_have_the_same_placeholders(path: Path) -> None:
    """A translation is filled in with the same values and shows each; commands stay typed so."""
    for entry in read(path):
        if not entry.id:
            continue
        message, translated = str(entry.id), str(entry.string)
        assert fields(translated) == fields(message), message
        values = {name.partition(":")[0]: Anything() for name in fields(message)}
        assert translated.format(**values)
        assert message.count("`") == translated.count("`"), message
        assert message.count("**") == translated.count("**"), message
        for part in message.split("`")[1::2]:
            word = part.split()[0]
            assert f"`{word}" in translated, message


def test_every_language_has_a_catalogue_that_ships() -> None:
    """Each language but English has one, and the wheel carries it."""
    assert len(catalogues()) == len(LANGUAGES) - 1
    shipped = {file.relative_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert {str(path.relative_to(ROOT)) for path in catalogues()} <= shipped
    assert {path.parent.parent.name for path in catalogues()} == {"zh_Hans"}


def test_the_language_of_a_tag() -> None:
    """The primary subtag decides; what we do not have is English."""
    tags = {"zh-hans": "zh", "zh_CN": "zh", "ZH": "zh", "en-US": "en", "de": "en", "": "en"}
    assert {tag: language_of(tag) for tag in tags} == tags


def test_a_sentence_is_english_and_can_still_be_translated() -> None:
    """It is a string for whoever knows nothing of languages; its values are translated too."""
    inner = sentence("This place is not linked to a team yet.")
    said = sentence("{problem} They let you in with `/invite {code}`. If you have a code already, send `/link CODE`.", problem=inner, code="AB")  # fmt: skip
    assert said.startswith("This place is not linked to a team yet. They let you in")
    chinese = Words("zh-hans").of(said)
    assert chinese.startswith("此处尚未与任何团队关联。")
    assert "`/invite AB`" in chinese
    assert Words("en").of(said) == said
    assert Words("zh").of("no sentence of ours") == "no sentence of ours"


def test_values_are_never_read_as_messages() -> None:
    """Braces in what people write stay braces, in every language."""
    for language in LANGUAGES:
        said = Words(language)("Hello {name}!", name="{0.__class__} {x}")
        assert "{0.__class__} {x}" in said


def test_dates_are_written_as_in_the_language() -> None:
    """Days and months follow the reader's language."""
    at = datetime(2026, 3, 5, tzinfo=UTC)
    assert (Words("en").day(at), Words("en").month(at)) == ("05 Mar", "March 2026")
    assert (Words("zh").day(at), Words("zh").month(at)) == ("3月5日", "2026年3月")
