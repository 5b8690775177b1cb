"""Names and languages of people, as Slack has them; asked once an hour, never waited for long.

Whoever writes much, or whom Slack does not describe, costs no more calls than others.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace

from bots.slack.fields import text
from bots.slack.pace import Pace, shrink
from bots.slack.text import Names
from bots.slack.workspaces import Installation
from core.messages import Actor
from core.sinks import DeliveryFailed

ASK_S = 1.0
FRESH_S = 3600.0
FAILED_S = 60.0
_MOST_KNOWN = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Person:
    name: str
    language: str
    until: float


@dataclass(slots=True)
class People:
    """What this process knows of people."""

    pace: Pace
    _known: OrderedDict[tuple[str, str], _Person] = field(default_factory=OrderedDict)
    _asking: dict[tuple[str, str], asyncio.Lock] = field(default_factory=dict)
    """Messages that come together share one request."""

    async def describe(self, installation: Installation, actor: Actor) -> Actor:
        """The actor with name and language, where Slack tells them quickly."""
        key = (installation.workspace, actor.external_id)
        person = self._fresh(key) or await self._learn(installation, key)
        return replace(actor, name=person.name, language=person.language)

    def _fresh(self, key: tuple[str, str]) -> _Person | None:
        person = self._known.get(key)
        return person if person is not None and time.monotonic() <= person.until else None

    async def _learn(self, installation: Installation, key: tuple[str, str]) -> _Person:
        lock = self._asking.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                person = self._fresh(key)
                if person is None:
                    person = self._known[key] = await self._ask(installation, key[1])
                    self._known.move_to_end(key)
                    shrink(self._known, _MOST_KNOWN)
                return person
        finally:
            if not lock.locked():
                self._asking.pop(key, None)

    def names(self, workspace: str) -> Names:
        """The names that are known already, of people who are mentioned."""

        def name(user: str) -> str:
            person = self._known.get((workspace, user))
            return "" if person is None else person.name

        return name

    async def _ask(self, installation: Installation, user: str) -> _Person:
        if not self.pace.fits(installation.workspace, "users.info"):
            return _unknown(FAILED_S)
        try:
            async with asyncio.timeout(ASK_S):
                answer = await installation.call("users.info", user=user, include_locale="true")
        except DeliveryFailed as failure:
            return _unknown(FRESH_S if failure.permanent else FAILED_S)
        except TimeoutError:
            return _unknown(FAILED_S)
        name = (
            text(answer, "user", "profile", "display_name")
            or text(answer, "user", "real_name")
            or text(answer, "user", "name")
        )
        return _Person(
            name=name,
            language=text(answer, "user", "locale"),
            until=time.monotonic() + FRESH_S,
        )


def _unknown(seconds: float) -> _Person:
    return _Person(name="", language="", until=time.monotonic() + seconds)
