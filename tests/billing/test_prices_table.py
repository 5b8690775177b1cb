from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.prices import pico_per_token, tariffs
from billing.prices_table import FIRST_DAY, PRICES, Bucket
from core.models import MODELS

NEXT_WEEK = datetime(2026, 11, 29, tzinfo=UTC).date()

# model: input, output, 5 minute write, 1 hour write, read; as the sources print them
PRINTED = {
    "claude-fable-5-2": "8 40 10 16 0.2",
    "claude-mythos-5-2": "8 40 10 16 0.2",
    "claude-fable-5-1": "10 50 12.5 20 0.25",
    "claude-mythos-5-1": "10 50 12.5 20 0.25",
    "claude-fable-5": "10 50 12.5 20 1",
    "claude-mythos-5": "10 50 12.5 20 1",
    "claude-opus-5-5": "4 20 5 8 0.2",
    "claude-opus-5": "5 25 6.25 10 0.5",
    "claude-opus-4-8": "5 25 6.25 10 0.5",
    "claude-opus-4-7": "5 25 6.25 10 0.5",
    "claude-opus-4-6": "5 25 6.25 10 0.5",
    "claude-opus-4-5": "5 25 6.25 10 0.5",
    "claude-sonnet-5-5": "2 10 2.5 4 0.1",
    "claude-sonnet-5": "2 10 2.5 4 0.2",
    "claude-sonnet-4-6": "3 15 3.75 6 0.3",
    "claude-sonnet-4-5": "3 15 3.75 6 0.3",
    "claude-haiku-5-5": "0.1 0.5 0.125 0.2 0.01",
    "claude-haiku-4-5": "1 5 1.25 2 0.1",
}
ORDER = (
    Bucket.INPUT,
    Bucket.OUTPUT,
    Bucket.CACHE_WRITE_5M,
    Bucket.CACHE_WRITE_1H,
    Bucket.CACHE_READ,
)


@pytest.mark.parametrize("model", PRINTED)
def test_today_is_priced_as_printed(model: str) -> None:
    """The newest prices of short prompts are those of the provider's list, digit by digit."""
    newest = [tariff for tariff in tariffs(PRICES)[model] if tariff.min_prompt_tokens == 0][-1]
    printed = [Decimal(price) for price in PRINTED[model].split()]
    assert [Decimal(newest.pico[bucket]).scaleb(-6) for bucket in ORDER] == printed


def test_every_model_that_answers_has_a_price() -> None:
    """A model that IT0 knows and the provider still serves never has an unknown cost."""
    serving = {m.name for m in MODELS.values() if m.ends is None or m.ends > NEXT_WEEK}
    assert serving == {row.model for row in PRICES} == set(PRINTED)


def test_every_model_has_all_buckets_from_its_first_day() -> None:
    """In each band, at each change, all five prices are known."""
    for model, known in tariffs(PRICES).items():
        for tariff in known:
            assert set(tariff.pico) == set(Bucket), tariff.price_id
            assert min(tariff.pico.values()) > 0, tariff.price_id
        assert min(tariff.min_prompt_tokens for tariff in known) == 0, model


def test_no_two_rows_say_the_price_of_the_same_thing() -> None:
    """A day, a model, a bucket and a length have one price; none is before the first day."""
    keys = Counter(
        (row.model, row.bucket, row.min_prompt_tokens, row.effective_from) for row in PRICES
    )
    assert max(keys.values()) == 1
    assert min(row.effective_from for row in PRICES) == FIRST_DAY


def test_a_price_identifier_names_one_set_of_prices() -> None:
    """It tells model, day and band, and no two tariffs share one."""
    known = [tariff for each in tariffs(PRICES).values() for tariff in each]
    assert len({tariff.price_id for tariff in known}) == len(known)
    assert "claude-sonnet-5-5/2026-10-07/0+" in {tariff.price_id for tariff in known}
    assert "claude-haiku-5-5/2026-01-01/100001+" in {tariff.price_id for tariff in known}


def test_a_later_row_changes_nothing_earlier() -> None:
    """Identifiers and prices of the past stay as they are when a price is added."""
    newest = next(row for row in PRICES if row.effective_from > FIRST_DAY)
    before = tariffs(row for row in PRICES if row is not newest)[newest.model]
    after = tariffs(PRICES)[newest.model]
    assert after[: len(before)] == before
    assert len(after) == len(before) + 1


@pytest.mark.parametrize("price", ["0.0000001", "1.2345678", "-1"])
def test_a_price_that_would_be_rounded_is_refused(price: str) -> None:
    """What is no whole number of pico-USD a token is an error, not an approximation."""
    with pytest.raises(ValueError, match="whole number"):
        pico_per_token(Decimal(price))


def test_six_decimals_are_exact() -> None:
    """The finest price that fits is one pico-USD a token."""
    assert pico_per_token(Decimal("0.000001")) == 1
    assert pico_per_token(Decimal("12.50")) == 12_500_000
