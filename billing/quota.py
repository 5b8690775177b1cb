"""How many tokens a tenant may use in a month, and what is said when they are gone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Tokens of one calendar month, already weighted where the plan changed in it."""

    soft: int
    """What is included."""
    hard: int | None
    """What is refused beyond; None where only ``cap`` holds."""
    cap: int | None = None
    """The operator's safety cap where there is no hard limit: reaching it raises an alarm."""

    @property
    def most(self) -> int | None:
        """What is refused beyond, whichever it is."""
        return self.hard if self.hard is not None else self.cap
