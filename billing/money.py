"""Money: whole minor units and an ISO 4217 currency. Never a float, rounded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

EXPONENTS: Final = {"USD": 2, "CNY": 2, "EUR": 2, "JPY": 0, "KWD": 3}
"""Digits of the minor unit (ISO 4217)."""


class OtherCurrency(ValueError):
    """Two amounts of different currencies were mixed."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of its currency."""

    minor: int
    currency: str

    def __add__(self, other: Money) -> Money:
        """Raises ``OtherCurrency``."""
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        """Raises ``OtherCurrency``."""
        return Money(self.minor - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor, self.currency)

    def __str__(self) -> str:
        """As ``USD 49.99``: the same for every reader."""
        digits = EXPONENTS[self.currency]
        whole, part = divmod(abs(self.minor), 10**digits)
        sign = "-" if self.minor < 0 else ""
        decimals = f".{part:0{digits}}" if digits else ""
        return f"{self.currency} {sign}{whole:,}{decimals}"

    def _same(self, other: Money) -> int:
        if other.currency != self.currency:
            message = f"{self.currency} and {other.currency} cannot be added."
            raise OtherCurrency(message)
        return other.minor


def rounded(exact: Fraction) -> int:
    """To a whole number, half away from zero: 2.5 becomes 3, -2.5 becomes -3.

    Python's ``round`` and default decimal context go to the even neighbour, which bills
    half of all such cents differently from every invoice that people check by hand.
    """
    doubled = 2 * abs(exact)
    whole = (doubled.numerator + doubled.denominator) // (2 * doubled.denominator)
    return whole if exact >= 0 else -whole


def share(amount: int, part: int, whole: int) -> int:
    """``amount * part / whole``, rounded. ``whole`` must be positive."""
    return rounded(Fraction(amount * part, whole))


def split(amount: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Whole numbers in the ratio of the weights whose sum is ``amount``: largest remainder.

    Among equal remainders the first gets the rest. Raises ``ValueError`` without a positive
    weight.
    """
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        message = "the weights must be positive"
        raise ValueError(message)
    sign = -1 if amount < 0 else 1
    shares = [divmod(abs(amount) * weight, total) for weight in weights]
    missing = abs(amount) - sum(whole for whole, _ in shares)
    order = sorted(range(len(shares)), key=lambda i: -shares[i][1])
    extra = set(order[:missing])
    return tuple(sign * (whole + (i in extra)) for i, (whole, _) in enumerate(shares))
