from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.prices import (
    MAX_PICO,
    Priced,
    Unknown,
    buckets,
    cost_of,
    prompt_tokens,
    tariff_of,
    tariffs,
)
from billing.prices_table import PRICES, Bucket
from core.metering import Usage
from core.models import resolve

BUCKETS = [field.name for field in fields(Usage)]
MODELS = sorted({row.model for row in PRICES})
EDGE = 100_000


def ms(*when: int) -> int:
    """A moment in UTC."""
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc]


NOW = ms(2026, 11, 22)
FIRST = ms(2026, 1, 1)

tokens = st.integers(0, 25_000) | st.integers(0, 400_000)
usages = st.builds(Usage, **dict.fromkeys(BUCKETS, tokens))
models = st.sampled_from(MODELS)
moments = st.integers(FIRST, ms(2028, 1, 1))


def priced(model: str, usage: Usage, at_ms: int = NOW) -> Priced:
    """The cost of a call that has one."""
    cost = cost_of(model, usage, at_ms)
    assert isinstance(cost, Priced)
    return cost


def pico(model: str, usage: Usage, at_ms: int = NOW) -> int:
    """The amount alone."""
    return priced(model, usage, at_ms).pico


@given(models, usages, moments)
def test_the_cost_is_the_sum_of_its_buckets(model: str, usage: Usage, at_ms: int) -> None:
    """Each bucket's tokens times its price in the call's band: exact, and never a float."""
    cost = priced(model, usage, at_ms)
    tariff = tariff_of(model, prompt_tokens(usage), at_ms)
    assert tariff is not None
    assert type(cost.pico) is int
    rows = [
        row
        for row in PRICES
        if row.model == model
        and row.min_prompt_tokens == tariff.min_prompt_tokens
        and ms(*row.effective_from.timetuple()[:3]) <= at_ms
    ]
    newest = {row.bucket: row for row in sorted(rows, key=lambda row: row.effective_from)}
    exact = sum(newest[bucket].usd_per_mtok * count for bucket, count in buckets(usage).items())
    assert Decimal(cost.pico) == exact * 10**6
    assert cost.price_id == tariff.price_id


@given(models, usages, usages, moments)
def test_costs_add_up_within_a_band(model: str, one: Usage, other: Usage, at_ms: int) -> None:
    """Two calls of one band cost together what one call with all their tokens would cost in it."""
    both = one + other
    if len({priced(model, usage, at_ms).price_id for usage in (one, other, both)}) == 1:
        assert pico(model, both, at_ms) == pico(model, one, at_ms) + pico(model, other, at_ms)
    else:
        assert model == "claude-haiku-5-5"


@given(models, usages, st.sampled_from(BUCKETS), st.integers(1, 400_000), moments)
def test_one_more_token_never_costs_less(
    model: str, usage: Usage, bucket: str, more: int, at_ms: int
) -> None:
    """The cost grows with every bucket, also across the edge of a band."""
    larger = replace(usage, **{bucket: getattr(usage, bucket) + more})
    assert pico(model, larger, at_ms) > pico(model, usage, at_ms)


@given(usages, st.sampled_from(["m", "", "claude-opus-9", "gpt-5", "claude-opus-4-0"]), moments)
def test_an_unknown_model_has_an_unknown_cost(usage: Usage, model: str, at_ms: int) -> None:
    """Never zero, also when nothing was used."""
    assert isinstance(cost_of(model, usage, at_ms), Unknown)
    assert isinstance(cost_of(model, Usage(), at_ms), Unknown)


@pytest.mark.parametrize("model", MODELS)
def test_a_call_that_used_nothing_costs_nothing(model: str) -> None:
    """Zero is a cost when the price is known."""
    assert pico(model, Usage()) == 0


@pytest.mark.parametrize("model", MODELS)
def test_the_table_begins_on_its_first_day(model: str) -> None:
    """A call from before costs an unknown amount: its time comes from a wrong clock."""
    assert cost_of(model, Usage(input_tokens=1), FIRST - 1) == Unknown(reason="no_price")
    assert pico(model, Usage(input_tokens=1), FIRST) > 0


def test_cache_reads_of_sonnet_5_5_became_cheaper_on_a_day() -> None:
    """Until 2026-10-06 they cost 0.20 USD per million, from the 7th at midnight UTC 0.10."""
    read = Usage(cache_read_tokens=1_000_000)
    change = ms(2026, 10, 7)
    assert cost_of("claude-sonnet-5-5", read, change - 1) == Priced(
        pico=200_000_000_000, price_id="claude-sonnet-5-5/2026-01-01/0+"
    )
    assert cost_of("claude-sonnet-5-5", read, change) == Priced(
        pico=100_000_000_000, price_id="claude-sonnet-5-5/2026-10-07/0+"
    )
    written = Usage(cache_write_1h_tokens=5, cache_write_5m_tokens=7, input_tokens=1)
    costs = {pico("claude-sonnet-5-5", written, at) for at in (change - 1, change)}
    assert costs == {5 * 4_000_000 + 7 * 2_500_000 + 2_000_000}


@pytest.mark.parametrize("bucket", [name for name in BUCKETS if name != "output_tokens"])
def test_every_part_of_the_prompt_counts_for_the_band(bucket: str) -> None:
    """100,000 tokens are a short prompt, one more makes all of it five times as dear."""
    short = Usage(**{bucket: EDGE}, output_tokens=3)
    longer = replace(short, **{bucket: EDGE + 1})
    unit = pico("claude-haiku-5-5", Usage(**{bucket: 1}))
    output = 500_000
    assert pico("claude-haiku-5-5", short) == EDGE * unit + 3 * output
    assert pico("claude-haiku-5-5", longer) == 5 * ((EDGE + 1) * unit + 3 * output)


def test_the_answer_does_not_count_for_the_band() -> None:
    """A long answer to a short prompt is priced as short."""
    usage = Usage(input_tokens=EDGE, output_tokens=EDGE)
    cost = cost_of("claude-haiku-5-5", usage, NOW)
    assert cost == Priced(
        pico=EDGE * 100_000 + EDGE * 500_000, price_id="claude-haiku-5-5/2026-01-01/0+"
    )


def test_pricing_a_sum_is_wrong_where_pricing_calls_is_right() -> None:
    """Two short prompts are not one long prompt: what a month used has no price of its own."""
    call = Usage(input_tokens=60_000)
    assert pico("claude-haiku-5-5", call + call) == 5 * 2 * pico("claude-haiku-5-5", call)


def test_input_and_output_alone_are_64_percent_too_low() -> None:
    """The two-price formula forgets the cache: of this call it sees 36 % of the cost."""
    call = Usage(
        input_tokens=2_000,
        output_tokens=500,
        cache_read_tokens=40_000,
        cache_write_5m_tokens=3_200,
    )
    formula = 2_000 * 3_000_000 + 500 * 15_000_000
    cost = pico("claude-sonnet-4-5", call)
    assert cost == formula + 40_000 * 300_000 + 3_200 * 3_750_000
    assert (cost - formula) * 100 == cost * 64


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-opus-4-5-20251101", "claude-opus-4-5"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-opus-4-8[1m]", "claude-opus-4-8"),
        ("sonnet[1m]", "claude-sonnet-5-5"),
        ("opus", "claude-opus-5-5"),
        ("haiku", "claude-haiku-5-5"),
        ("fable", "claude-fable-5-2"),
        ("default", "claude-opus-5-5"),
    ],
)
def test_other_names_of_a_model_cost_the_same(name: str, same: str) -> None:
    """The identifier of the price names the model itself."""
    usage = Usage(input_tokens=1, output_tokens=2, cache_read_tokens=3)
    cost = cost_of(name, usage, NOW)
    assert cost == cost_of(same, usage, NOW)
    assert isinstance(cost, Priced)
    model = resolve(name)
    assert model is not None
    assert cost.price_id.startswith(f"{model.name}/")


def test_a_missing_price_matters_only_to_a_call_that_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bucket without a price makes the calls that used it unknown, and no others."""
    tariff = tariff_of("claude-opus-5", 0, NOW)
    assert tariff is not None
    known: dict[Bucket, int] = {
        b: price for b, price in tariff.pico.items() if b is not Bucket.CACHE_WRITE_1H
    }
    gap = {"claude-opus-5": (replace(tariff, pico=known),)}
    monkeypatch.setattr("billing.prices._table", lambda: gap)
    assert pico("claude-opus-5", Usage(input_tokens=1)) == 5_000_000
    assert cost_of("claude-opus-5", Usage(cache_write_1h_tokens=1), NOW) == Unknown(
        reason="no_price"
    )


@pytest.mark.parametrize("bucket", BUCKETS)
def test_usage_that_nobody_had_is_unknown(bucket: str) -> None:
    """Negative tokens, and costs that fit no column, are not believed and do not raise."""
    for count in (-1, MAX_PICO):
        usage = Usage(**{bucket: count})
        assert cost_of("claude-opus-5", usage, NOW) == Unknown(reason="impossible_usage")
    most = Usage(output_tokens=MAX_PICO // 25_000_000)
    assert 0 < pico("claude-opus-5", most) <= MAX_PICO


def test_a_change_of_short_prompts_leaves_long_ones_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The band counts before the day: a newer price of shorter prompts is not that of long ones."""
    row = next(row for row in PRICES if row.model == "claude-haiku-5-5")
    newer = replace(row, effective_from=date(2026, 11, 1), usd_per_mtok=Decimal("0.09"))
    monkeypatch.setattr("billing.prices._table", lambda: tariffs((*PRICES, newer)))
    short, long = Usage(input_tokens=EDGE), Usage(input_tokens=EDGE + 1)
    assert priced("claude-haiku-5-5", short).price_id == "claude-haiku-5-5/2026-11-01/0+"
    assert pico("claude-haiku-5-5", short) == EDGE * 90_000
    assert pico("claude-haiku-5-5", long) == (EDGE + 1) * 500_000
