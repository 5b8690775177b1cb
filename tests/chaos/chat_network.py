"""A chat platform as the chaos run sees it: places to write in, what stands there, weather."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from tests.chaos.chat_history import Shown
from tests.chaos.chat_messages import Planned

LOG = b"12:00 started\n12:01 disk is 91 % full\n"
"""The file that some messages carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message that a person wrote; the functions do what else may happen to it."""

    place: str
    """Where its answer must stand."""
    edit: Callable[[str], None]
    redeliver: Callable[[], None]


class Place(Protocol):
    """A chat, group, topic, channel or thread with its people."""

    def say(self, planned: Planned, rng: random.Random) -> Sent:
        """Somebody writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    """Somebody or something to be let in, in this order: ``/link CODE``, or an admin's ``/link``."""

    name: str
    admin: bool
    needs_code: bool
    link: Callable[[str], None]
    """Write it, with the code."""
    welcomed: Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What has happened so far; each only grows."""

    said: int
    posts: int
    edits: int


class Network(Protocol):
    """A platform."""

    @property
    def name(self) -> str:
        """As the product names it."""

    @property
    def environ(self) -> Mapping[str, str]:
        """How the product reaches it."""

    @property
    def ordered(self) -> bool:
        """Whether it delivers the messages of a place one after another."""

    def connected(self) -> bool:
        """The product listens."""

    def populate(self, places: int) -> tuple[Sequence[Newcomer], Sequence[Place]]:
        """Make people and places."""

    def turned_round(self) -> AbstractContextManager[None]:
        """What is said inside reaches the product last first."""

    def shown(self) -> list[Shown]:
        """The bot's messages, as they stand now."""

    def leftovers(self) -> Mapping[str, int]:
        """What else stands there and should not for long, counted by kind."""

    def counts(self) -> Counts:
        """For kills that are aimed."""

    async def wait_for(self, predicate: Callable[[], bool], timeout_s: float) -> None:
        """Wait until it holds; asked after each change. Raises TimeoutError."""

    def refused(self) -> int:
        """How many calls were refused, failed or never answered."""

    def drizzle(self) -> None:
        """From now on the platform refuses one call in a hundred."""

    async def gust(self, rng: random.Random) -> None:
        """Some bad weather, which ends by itself."""

    def calm(self) -> None:
        """No more bad weather."""
