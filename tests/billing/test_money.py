"""Money: rounded half away from zero, split without a remainder, never mixed."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.money import Money, OtherCurrency, rounded, share, split

AMOUNTS = st.integers(min_value=-(10**12), max_value=10**12)


@pytest.mark.parametrize(
    ("exact", "whole"),
    [("5/2", 3), ("-5/2", -3), ("1/2", 1), ("-1/2", -1), ("49/100", 0), ("-49/100", 0), ("3", 3)],
)
def test_halves_go_away_from_zero(exact: str, whole: int) -> None:
    """Python's own rounding goes to the even neighbour."""
    assert rounded(Fraction(exact)) == whole


@given(AMOUNTS, st.integers(min_value=0, max_value=10**7), st.integers(1, 10**7))
def test_a_share_is_what_decimal_arithmetic_says(amount: int, part: int, whole: int) -> None:
    """Within half a unit of the exact value, and as ROUND_HALF_UP where that is exact."""
    found = share(amount, part, whole)
    assert abs(Fraction(amount * part, whole) - found) <= Fraction(1, 2)
    scaled = Decimal(amount) / 8
    assert share(amount, 1, 8) == int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_UP))


@given(AMOUNTS, st.lists(st.integers(0, 10**6), min_size=1, max_size=8).filter(any))
def test_parts_of_a_split_sum_to_the_amount(amount: int, weights: list[int]) -> None:
    """Each within one unit of its exact part; no weight, no part."""
    parts = split(amount, weights)
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(amount * weight, sum(weights))) < 1
        assert weight or not part


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1, 1]])
def test_a_split_needs_weights(weights: list[int]) -> None:
    """None of them negative, one of them positive."""
    with pytest.raises(ValueError):
        split(1, weights)


def test_currencies_do_not_mix() -> None:
    """Neither added nor subtracted."""
    for mix in (Money.__add__, Money.__sub__):
        with pytest.raises(OtherCurrency):
            mix(Money(1, "USD"), Money(1, "CNY"))
    assert Money(1, "USD") - Money(3, "USD") == -Money(2, "USD")


@pytest.mark.parametrize(
    ("money", "written"),
    [
        (Money(4999, "USD"), "USD 49.99"),
        (Money(-5, "USD"), "USD -0.05"),
        (Money(1234567, "JPY"), "JPY 1,234,567"),
        (Money(1, "KWD"), "KWD 0.001"),
    ],
)
def test_money_is_written_with_its_currencys_digits(money: Money, written: str) -> None:
    """The same for every reader."""
    assert str(money) == written
