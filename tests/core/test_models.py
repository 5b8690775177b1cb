"""The models that IT0 knows, and the warnings about those that end."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import get_args

import pytest
from anthropic.resources.messages.messages import DEPRECATED_MODELS
from anthropic.types.model import Model as SdkModel
from hypothesis import given
from hypothesis import strategies as st

from core.models import ALIASES, MODELS, Model, api_name, ends_soon, known, resolve
from core.words import Sentence, Words
from settings import Settings
from variables import VARIABLES

END = date(2026, 11, 30)


def sdk_end(text: str) -> date:
    """``November 30th, 2026`` as a date."""
    month, day, year = text.replace(",", "").split()
    return datetime.strptime(f"{month} {day[:-2]} {year}", "%B %d %Y").replace(tzinfo=UTC).date()


@pytest.mark.parametrize("name", DEPRECATED_MODELS)
def test_ends_are_those_of_the_provider(name: str) -> None:
    """Every model that the provider's library warns about ends here on the same day."""
    model = resolve(name)
    assert model is not None
    assert model.ends == sdk_end(DEPRECATED_MODELS[name])


@pytest.mark.parametrize("name", get_args(get_args(SdkModel)[0]))
def test_every_model_of_the_providers_library_is_known(name: str) -> None:
    """A new version of the library with a new model fails here."""
    assert known(name)


def test_only_announced_ends_are_in_the_table() -> None:
    """No model is said to end of which the provider does not say so."""
    assert {m.name for m in MODELS.values() if m.ends} == {
        model.name for name in DEPRECATED_MODELS if (model := resolve(name)) is not None
    }


@pytest.mark.parametrize("found", MODELS.values(), ids=lambda model: model.name)
def test_a_model_is_complete(found: Model) -> None:
    """One that ends names another that does not; one that serves says how much it takes."""
    if found.ends is not None:
        assert found.successor is not None
        assert MODELS[found.successor].ends is None
    if found.ends is None or found.ends >= END:
        assert found.context_window is not None
        assert found.max_output is not None
        assert 0 < found.max_output <= found.context_window


@pytest.mark.parametrize("alias", ALIASES)
def test_other_names_resolve(alias: str) -> None:
    """Each alias is another name of one model, also with the suffix of the long context."""
    assert alias not in MODELS
    assert resolve(alias) is MODELS[ALIASES[alias]]
    assert resolve(f"{alias}[1m]") is MODELS[ALIASES[alias]]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "m",
        "[1m]",
        "claude-opus-4-8[2m]",
        "claude-opus-4-8-20991231",
        "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        "claude-sonnet-4-5@20250929",
        "Claude-Opus-5",
    ],
)
def test_a_name_that_the_provider_does_not_serve_is_unknown(name: str) -> None:
    """Nothing is guessed: an invented date or another cloud's name is no model."""
    assert not known(name)
    assert ends_soon(name, END) is None


def test_the_default_model_is_known_and_stays() -> None:
    """What an installation runs with when it chose nothing."""
    model = resolve(Settings.from_environment({}).model)
    assert model is not None
    assert model.ends is None
    purpose = next(variable.purpose for variable in VARIABLES if variable.name == "IT0_MODEL")
    assert model.name in purpose


@pytest.mark.parametrize(
    ("today", "said"),
    [
        (date(2026, 9, 30), None),
        (
            date(2026, 10, 1),
            (
                "The model claude-sonnet-4-5 ends on 2026-11-30."
                " Set IT0_MODEL to claude-sonnet-5-5 before."
            ),
        ),
        (
            END,
            (
                "The model claude-sonnet-4-5 ends on 2026-11-30."
                " Set IT0_MODEL to claude-sonnet-5-5 before."
            ),
        ),
        (
            date(2026, 12, 1),
            (
                "The model claude-sonnet-4-5 ended on 2026-11-30: the provider no longer answers"
                " with it. Set IT0_MODEL to claude-sonnet-5-5."
            ),
        ),
    ],
)
def test_the_end_is_announced_sixty_days_before(today: date, said: str | None) -> None:
    """Nothing earlier; on the last day it still ends, on the next it has ended."""
    assert ends_soon("claude-sonnet-4-5", today) == said


def test_the_sentence_names_what_the_reader_wrote() -> None:
    """The dated name, the setting that has to be changed, and it can be translated."""
    said = ends_soon("claude-sonnet-4-5-20250929", END, setting="the model")
    assert isinstance(said, Sentence)
    assert said.values["model"] == "claude-sonnet-4-5-20250929"
    assert "Set the model to claude-sonnet-5-5" in said
    assert Words("en").of(said) == said


@given(st.sampled_from(sorted(MODELS)), st.dates(), st.integers(0, 4000))
def test_a_warning_comes_exactly_in_time(name: str, today: date, days: int) -> None:
    """From ``days`` days before the end, for ever; never for a model without an end."""
    ends = MODELS[name].ends
    due = ends is not None and (ends - today).days <= days
    assert (ends_soon(name, today, days) is not None) == due


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("opus", "claude-opus-5-5"),
        ("claude-sonnet-5-5[1m]", "claude-sonnet-5-5"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5-20251001"),
        ("us.anthropic.claude-x", "us.anthropic.claude-x"),
    ],
)
def test_the_api_gets_names_that_it_knows(name: str, sent: str) -> None:
    """Short names and the suffix are the client's own; every other name is sent as it is."""
    assert api_name(name) == sent
