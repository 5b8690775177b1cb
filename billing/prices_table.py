"""The provider's price list as dated rows. Add rows; never change or remove one.

A recorded call names the row set it was priced with (``billing.prices.Tariff.price_id``), so an
old bill can be explained for as long as its rows stand here. A price that changes gets a new
row with the day from which it holds.

Sources, as of November 2026: the list price built into Claude Code 2.1.330, which agrees with
the provider's model pages where those could be read; Sonnet 5.5's cache reads changed on
2026-10-07 (release note of PromptFuel v1.0.23 and LiteLLM's price map). Check the provider's
page before bills depend on it. Absolute prices per bucket, never multipliers: cache reads are
0.1, 0.05 or 0.025 of the input price, depending on the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

FIRST_DAY: Final = date(2026, 1, 1)
"""The table says nothing about earlier days: IT0 made no call before."""


class Bucket(StrEnum):
    """What the provider counts apart. Thinking is output."""

    INPUT = "input"
    OUTPUT = "output"
    CACHE_READ = "cache_read"
    CACHE_WRITE_5M = "cache_write_5m"
    CACHE_WRITE_1H = "cache_write_1h"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """One price: of a bucket of a model, for prompts of a length, from a day on."""

    model: str
    """As ``core.models`` names it."""
    bucket: Bucket
    min_prompt_tokens: int
    """The row is of prompts with at least that many tokens (cached ones included)."""
    effective_from: date
    """From midnight UTC; the provider names no time zone."""
    usd_per_mtok: Decimal
    """US dollars for a million tokens."""


_ORDER: Final = (
    Bucket.INPUT,
    Bucket.OUTPUT,
    Bucket.CACHE_WRITE_5M,
    Bucket.CACHE_WRITE_1H,
    Bucket.CACHE_READ,
)

_OPUS_4_5_TO_5: Final = (
    *("claude-opus-5", "claude-opus-4-8", "claude-opus-4-7"),
    *("claude-opus-4-6", "claude-opus-4-5"),
)

# models; input, output, 5 minute write, 1 hour write, read, in USD per million tokens
_LISTS: Final[tuple[tuple[tuple[str, ...], str], ...]] = (
    (("claude-fable-5-2", "claude-mythos-5-2"), "8 40 10 16 0.20"),
    (("claude-fable-5-1", "claude-mythos-5-1"), "10 50 12.50 20 0.25"),
    (("claude-fable-5", "claude-mythos-5"), "10 50 12.50 20 1"),
    (("claude-opus-5-5",), "4 20 5 8 0.20"),
    (_OPUS_4_5_TO_5, "5 25 6.25 10 0.50"),
    (("claude-sonnet-5-5", "claude-sonnet-5"), "2 10 2.50 4 0.20"),
    (("claude-sonnet-4-6", "claude-sonnet-4-5"), "3 15 3.75 6 0.30"),
    (("claude-haiku-5-5",), "0.10 0.50 0.125 0.20 0.01"),
    (("claude-haiku-4-5",), "1 5 1.25 2 0.10"),
)


def _rows(model: str, prices: str, *, min_prompt_tokens: int = 0) -> tuple[PriceRow, ...]:
    """The five prices of a model, valid from the table's first day."""
    return tuple(
        PriceRow(
            model=model,
            bucket=bucket,
            min_prompt_tokens=min_prompt_tokens,
            effective_from=FIRST_DAY,
            usd_per_mtok=Decimal(price),
        )
        for bucket, price in zip(_ORDER, prices.split(), strict=True)
    )


PRICES: Final[tuple[PriceRow, ...]] = (
    *(row for models, prices in _LISTS for model in models for row in _rows(model, prices)),
    # A prompt of more than 100,000 tokens costs five times as much, all of it.
    *_rows("claude-haiku-5-5", "0.50 2.50 0.625 1 0.05", min_prompt_tokens=100_001),
    PriceRow(
        model="claude-sonnet-5-5",
        bucket=Bucket.CACHE_READ,
        min_prompt_tokens=0,
        effective_from=date(2026, 10, 7),
        usd_per_mtok=Decimal("0.10"),
    ),
)
"""Every price that is known."""
