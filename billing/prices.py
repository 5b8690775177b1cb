"""What a model call cost, exactly: each call priced by itself, at the prices of its day.

Never from a monthly sum: the price depends on the length of each prompt and on the day. A
model or a price that is not in the table makes the cost ``Unknown``, which is not zero.

Token prices only. Web searches and batches have prices of their own; IT0 uses neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Final

from billing.prices_table import PRICES, Bucket, PriceRow
from core import models
from core.metering import Usage

_PICO_PER_TOKEN: Final = 10**6
"""1 USD per million tokens is 10**-6 USD, a million pico-USD, per token."""

MAX_PICO: Final = 2**63 - 1
"""What a column holds: 9.2 million USD. A provider that tells more tokens is not believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """What a call cost."""

    pico: int
    """Pico-USD (1e-12 USD), exact. Rounding comes once, on the line of an invoice."""
    price_id: str
    """The prices it was computed with: ``Tariff.price_id``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A cost that cannot be told. It is recorded as such and raises an alarm."""

    reason: str
    """A static label for logs: unknown_model, no_price or impossible_usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """The prices of a model, for prompts of a length, as they stood from a moment on."""

    price_id: str
    """``MODEL/DAY/LENGTH+``: the day of the last change before the call, the band's first length.

    It stands for the same prices for ever, as rows are only added to the table.
    """
    from_ms: int
    min_prompt_tokens: int
    pico: Mapping[Bucket, int]
    """Pico-USD per token; a bucket that is missing has no known price."""


def cost_of(model: str, usage: Usage, at_ms: int) -> Priced | Unknown:
    """The cost of one call that was made at ``at_ms``.

    The whole call is priced by the length of its prompt: fresh, read from and written to the
    cache. A call from before the table's first day is ``Unknown``: nobody knows what held then,
    and such a time comes from a clock that is wrong. A bucket without a price matters only to a
    call that used it. Usage that nobody can have had (negative, or beyond ``MAX_PICO``) is
    ``Unknown`` too, so that a provider's nonsense cannot stop a turn from being settled.
    """
    known = models.resolve(model)
    if known is None:
        return Unknown(reason="unknown_model")
    amounts = buckets(usage)
    if min(amounts.values()) < 0:
        return Unknown(reason="impossible_usage")
    tariff = tariff_of(known.name, prompt_tokens(usage), at_ms)
    used = {bucket for bucket, tokens in amounts.items() if tokens}
    if tariff is None or not used <= tariff.pico.keys():
        return Unknown(reason="no_price")
    pico = sum(tariff.pico[bucket] * amounts[bucket] for bucket in used)
    if pico > MAX_PICO:
        return Unknown(reason="impossible_usage")
    return Priced(pico=pico, price_id=tariff.price_id)


def buckets(usage: Usage) -> Mapping[Bucket, int]:
    """The tokens by bucket of the price list."""
    return {
        Bucket.INPUT: usage.input_tokens,
        Bucket.OUTPUT: usage.output_tokens,
        Bucket.CACHE_READ: usage.cache_read_tokens,
        Bucket.CACHE_WRITE_5M: usage.cache_write_5m_tokens,
        Bucket.CACHE_WRITE_1H: usage.cache_write_1h_tokens,
    }


def prompt_tokens(usage: Usage) -> int:
    """The length of the prompt: everything but the answer."""
    return usage.total - usage.output_tokens


def tariff_of(model: str, prompt: int, at_ms: int) -> Tariff | None:
    """The prices for a prompt of that length at that time, or None.

    ``model`` is a name of ``core.models``. The longest band that fits counts, in it the newest.
    """
    fitting = (
        tariff
        for tariff in _table().get(model, ())
        if tariff.min_prompt_tokens <= prompt and tariff.from_ms <= at_ms
    )
    return max(fitting, key=lambda tariff: (tariff.min_prompt_tokens, tariff.from_ms), default=None)


def pico_per_token(usd_per_mtok: Decimal) -> int:
    """The price of one token. Raises ``ValueError`` when that is no whole number of pico-USD.

    No price so far has more than three decimals; six are exact. A finer one would need a
    smaller unit, and must not be rounded here.
    """
    pico = usd_per_mtok * _PICO_PER_TOKEN
    if pico != int(pico) or pico < 0:
        message = f"{usd_per_mtok} USD per million tokens is no whole number of pico-USD a token"
        raise ValueError(message)
    return int(pico)


@cache
def _table() -> Mapping[str, tuple[Tariff, ...]]:
    """The tariffs of each model, made of the rows once."""
    return tariffs(PRICES)


def tariffs(rows: Iterable[PriceRow]) -> Mapping[str, tuple[Tariff, ...]]:
    """Each model's prices, one tariff for every band and every day on which one changed."""
    bands: dict[tuple[str, int], list[PriceRow]] = {}
    for row in sorted(rows, key=lambda row: row.effective_from):
        bands.setdefault((row.model, row.min_prompt_tokens), []).append(row)
    found: dict[str, tuple[Tariff, ...]] = {}
    for (model, length), prices in bands.items():
        found[model] = (*found.get(model, ()), *_history(model, length, prices))
    return found


def _history(model: str, length: int, rows: list[PriceRow]) -> Iterable[Tariff]:
    """One band's tariffs; ``rows`` are in the order of their days."""
    standing: dict[Bucket, int] = {}
    for day in sorted({row.effective_from for row in rows}):
        standing |= {
            row.bucket: pico_per_token(row.usd_per_mtok)
            for row in rows
            if row.effective_from == day
        }
        yield Tariff(
            price_id=f"{model}/{day.isoformat()}/{length}+",
            from_ms=_midnight_ms(day),
            min_prompt_tokens=length,
            pico=dict(standing),
        )


def _midnight_ms(day: date) -> int:
    return (day - date(1970, 1, 1)).days * 86_400_000
