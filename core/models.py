"""The models that IT0 knows: how much they take, and until when the provider serves them.

What they cost is in ``billing.prices``, which resolves names with ``resolve``, so that a model
has one name wherever it is counted.

Sources, as of November 2026: context windows and longest answers from the model list inside
Claude Code 2.1.330; ends from ``DEPRECATED_MODELS`` of the anthropic SDK 2.12 (a test compares
them). Successors are the newest model of the same family.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from core.words import Sentence, sentence

WARN_DAYS: Final = 60
"""How long before its end a model is warned about: time to try another one."""

_200K: Final = 200_000
_1M: Final = 1_000_000
_LONG: Final = "[1m]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model of the provider."""

    name: str
    """Without a date: all dated forms of a model are one model."""
    context_window: int | None = None
    """Tokens of prompt and answer together; None for a model that ended before it mattered."""
    max_output: int | None = None
    """The longest answer of one call in tokens; None as above."""
    ends: date | None = None
    """The last day on which the provider answers with it; None while none is announced."""
    successor: str | None = None
    """What to use instead of one that ends."""


def _serving() -> tuple[Model, ...]:
    """The models that answer, or did when this table was written."""
    rows: tuple[tuple[str, int, int], ...] = (
        ("claude-fable-5-2", _1M, 128_000),
        ("claude-fable-5-1", _1M, 128_000),
        ("claude-fable-5", _1M, 128_000),
        ("claude-mythos-5-2", _1M, 128_000),
        ("claude-mythos-5-1", _1M, 128_000),
        ("claude-mythos-5", _1M, 128_000),
        ("claude-opus-5-5", _1M, 128_000),
        ("claude-opus-5", _1M, 128_000),
        ("claude-opus-4-8", _1M, 128_000),
        ("claude-opus-4-7", _1M, 128_000),
        ("claude-opus-4-6", _200K, 128_000),
        ("claude-opus-4-5", _200K, 64_000),
        ("claude-sonnet-5-5", _1M, 128_000),
        ("claude-sonnet-5", _1M, 128_000),
        ("claude-sonnet-4-6", _200K, 128_000),
        ("claude-haiku-5-5", _1M, 128_000),
        ("claude-haiku-4-5", _200K, 64_000),
    )
    ending = Model(
        name="claude-sonnet-4-5",
        context_window=_200K,
        max_output=64_000,
        ends=date(2026, 11, 30),
        successor="claude-sonnet-5-5",
    )
    plain = (Model(name=name, context_window=window, max_output=out) for name, window, out in rows)
    return (*plain, ending)


_ENDED: Final[tuple[tuple[str, date, str], ...]] = (
    ("claude-mythos-preview", date(2026, 6, 30), "claude-mythos-5-2"),
    ("claude-opus-4-0", date(2026, 6, 15), "claude-opus-5-5"),
    ("claude-sonnet-4-0", date(2026, 6, 15), "claude-sonnet-5-5"),
    ("claude-3-7-sonnet", date(2026, 2, 19), "claude-sonnet-5-5"),
    ("claude-3-5-haiku", date(2026, 2, 19), "claude-haiku-5-5"),
    ("claude-3-opus", date(2026, 1, 5), "claude-opus-5-5"),
    ("claude-3-sonnet", date(2025, 7, 21), "claude-sonnet-5-5"),
    ("claude-2.1", date(2025, 7, 21), "claude-sonnet-5-5"),
    ("claude-2.0", date(2025, 7, 21), "claude-sonnet-5-5"),
    ("claude-1.3", date(2024, 11, 6), "claude-sonnet-5-5"),
    ("claude-1.3-100k", date(2024, 11, 6), "claude-sonnet-5-5"),
    ("claude-instant-1.2", date(2024, 11, 6), "claude-haiku-5-5"),
    ("claude-instant-1.1", date(2024, 11, 6), "claude-haiku-5-5"),
    ("claude-instant-1.1-100k", date(2024, 11, 6), "claude-haiku-5-5"),
)

MODELS: Final[Mapping[str, Model]] = {
    model.name: model
    for model in (
        *_serving(),
        *(Model(name=name, ends=ends, successor=after) for name, ends, after in _ENDED),
    )
}
"""Every model that was ever served under the names of this provider, as far as is known."""

ALIASES: Final[Mapping[str, str]] = {
    # What the command-line client understands; they move with its version.
    "default": "claude-opus-5-5",
    "fable": "claude-fable-5-2",
    "opus": "claude-opus-5-5",
    "sonnet": "claude-sonnet-5-5",
    "haiku": "claude-haiku-5-5",
    # Dated forms, one by one: a date that was never served is a typing error, not a model.
    "claude-haiku-4-5-20251001": "claude-haiku-4-5",
    "claude-opus-4-5-20251101": "claude-opus-4-5",
    "claude-sonnet-4-5-20250929": "claude-sonnet-4-5",
    "claude-opus-4-20250514": "claude-opus-4-0",
    "claude-sonnet-4-20250514": "claude-sonnet-4-0",
    "claude-3-7-sonnet-latest": "claude-3-7-sonnet",
    "claude-3-7-sonnet-20250219": "claude-3-7-sonnet",
    "claude-3-5-haiku-latest": "claude-3-5-haiku",
    "claude-3-5-haiku-20241022": "claude-3-5-haiku",
    "claude-3-opus-20240229": "claude-3-opus",
    "claude-3-sonnet-20240229": "claude-3-sonnet",
}
"""Other names of the same models."""


def resolve(name: str) -> Model | None:
    """The model that a name means, or None.

    The suffix ``[1m]`` asks the client for the long context window; the model and its price
    are the same (Claude Code 2.1.330). Names of other clouds (``us.anthropic.claude-...``,
    ``claude-...@20250929``) are not resolved: those clouds have price lists of their own.
    """
    plain = name.removesuffix(_LONG)
    return MODELS.get(ALIASES.get(plain, plain))


_SHORT: Final = frozenset({"default", "fable", "opus", "sonnet", "haiku"})


def api_name(name: str) -> str:
    """The name under which the provider's API knows it: the client's short names are not its."""
    plain = name.removesuffix(_LONG)
    return ALIASES[plain] if plain in _SHORT else plain


def known(name: str) -> bool:
    """Whether IT0 knows the model, under this or another name."""
    return resolve(name) is not None


def ends_soon(
    name: str, today: date, days: int = WARN_DAYS, *, setting: str = "IT0_MODEL"
) -> Sentence | None:
    """What to do about a model that has ended, or ends within ``days`` days; else None.

    ``setting`` is what the reader has to change. Days are those of UTC. An unknown model has
    no known end: ask ``known`` first.
    """
    model = resolve(name)
    if model is None or model.ends is None or (model.ends - today).days > days:
        return None
    day, successor = model.ends.isoformat(), model.successor
    if model.ends < today:
        return sentence(
            "The model {model} ended on {day}: the provider no longer answers with it. Set"
            " {setting} to {successor}.",
            model=name,
            day=day,
            setting=setting,
            successor=successor,
        )
    return sentence(
        "The model {model} ends on {day}. Set {setting} to {successor} before.",
        model=name,
        day=day,
        setting=setting,
        successor=successor,
    )
